"""Columns of a table brought to mean 0 and deviation 1, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bayes_vae.errors import DataError

__all__ = ["Standardization", "standardization_of", "unscaled_columns", "unscaled_note"]

LARGE, APART = 30.0, 100.0
"""Root mean square of a column, and ratio of two columns' deviations, above which networks hardly train."""


@dataclass(frozen=True, eq=False)
class Standardization:
    r"""x as a model sees it, :math:`(x - m) / s`, with mean and deviation of the training rows.

    A density of the standardized x is one of x with

    .. math:: \log p(x) = \log p\left(\frac{x - m}{s}\right) - \sum_d \log s_d

    Attributes:
        mean: m, shape ``data_shape``, float64.
        scale: s, shape ``data_shape``, float64; 1 where a column is constant.
    """

    mean: Tensor
    scale: Tensor

    def apply(self, values: Tensor) -> Tensor:
        """Values (N, *event) as the model sees them, float32.

        Raises:
            DataError: observations of another shape.
        """
        if values.shape[1:] != self.mean.shape:
            raise DataError(
                f"observations have the shape {tuple(values.shape[1:])}, but mean and deviation were taken of "
                f"observations of shape {tuple(self.mean.shape)}. Bring them into that shape."
            )
        return ((values.double() - self.mean) / self.scale).float()

    def undo(self, x: Tensor) -> Tensor:
        """What the model sees or draws, (…, *event), in the units of the data."""
        mean, scale = (part.to(x.device) for part in (self.mean, self.scale))
        return (x.double() * scale + mean).to(x.dtype)

    @property
    def log_evidence_offset(self) -> float:
        """What to add to log p(x) of the standardized x for the density in the data's units, nats: −Σ log s.

        Of observations without missing values; see ``Data.log_evidence_offsets`` for others.
        """
        return -float(self.scale.log().sum())

    def to_json(self) -> dict[str, Any]:
        """Mean and scale as nested lists."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Standardization:
        """As a run stored it."""
        return cls(*(torch.tensor(stored[name], dtype=torch.float64) for name in ("mean", "scale")))


def standardization_of(values: Tensor, columns: Sequence[int] | None = None) -> Standardization:
    """Mean and deviation of training rows, shape (N, *event), NaN where a number is missing.

    Args:
        values: of the training rows.
        columns: of a table (N, P), those that are standardized; the others stay as they are. All when None.

    Raises:
        DataError: no rows, or a column without an observed value.
    """
    if len(values) == 0:
        raise DataError("there are no training rows to take mean and deviation from: give some, or do not standardize.")
    mean, scale = _moments(values.double())
    if bool(mean.isnan().any()):
        raise DataError(
            "a column has no observed value among the training rows, so there is nothing to standardize it by. Remove "
            "it, or choose other training rows."
        )
    left = torch.zeros_like(mean, dtype=torch.bool)
    if columns is not None:
        left = left.fill_(True).index_fill(0, torch.tensor(columns), False)
    return Standardization(mean.masked_fill(left, 0.0), torch.where((scale > 0) & ~left, scale, 1.0))


def _moments(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each column, of what was observed."""
    mean = numbers.nanmean(0)
    return mean, (numbers - mean).square().nanmean(0).sqrt()


def unscaled_columns(values: Tensor, columns: Sequence[str] = ()) -> list[str]:
    """Columns of a table (N, D) that are much larger, or vary much less, than the others: each in words.

    A column counts whose root mean square is above 30, or whose deviation is a hundredth of the largest one's.
    """
    if values.dim() != 2 or len(values) == 0:
        return []
    numbers = values.double()
    (mean, deviation), size = _moments(numbers), numbers.square().nanmean(0).sqrt()
    small = (deviation > 0) & (deviation * APART < deviation.max())
    names = columns or [str(place) for place in range(values.shape[1])]
    order = size.argsort(descending=True)
    return [
        f"{names[place]} (mean {float(mean[place]):.3g}, deviation {float(deviation[place]):.3g})"
        for place in order.tolist()
        if bool(size[place] > LARGE) or bool(small[place])
    ]


def unscaled_note(values: Tensor, columns: Sequence[str] = ()) -> str | None:
    """What to say of the columns of a table that networks hardly train on as they are; None where all are well.

    Args:
        values: training rows, shape (N, D), NaN where a number is missing; of other shapes nothing is said.
        columns: their names, or none.
    """
    found = unscaled_columns(values, columns)
    if not found:
        return None
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return (
        f"columns far from mean 0 and deviation 1: {'; '.join(found[:3])}{more}. Training on them is slow or "
        "fails, and log p(x) is ruled by the largest. Standardize them: load_data(..., standardize=True), "
        "--standardize on the command line."
    )
