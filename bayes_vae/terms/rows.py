"""Rows: the observations that an estimator is given, made and checked when they are read."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from bayes_vae.errors import DataError, SettingsError, ShapeError
from bayes_vae.terms.program import Observations, prepare_guide, take_rows
from bayes_vae.terms.traits import Program, traits_of

__all__ = [
    "RowSource",
    "Rows",
    "TensorRows",
    "X",
    "as_index",
    "as_observations",
    "as_rows",
    "policy_text",
    "prepare_for",
]

Selection: TypeAlias = slice | Tensor
"""Which rows: a slice, or their places as whole numbers."""


class Rows(Protocol):
    """N observations as the programs of one pair take them.

    What stands behind them, tensors or a data set whose pixels are drawn when they are read, is their own business:
    an estimator asks for a batch of rows, and gets what it calls the programs with.
    """

    @property
    def index(self) -> Tensor:
        """The observations' indices, which key their noise, shape (N,), int64."""

    @property
    def labels(self) -> Tensor | None:
        """Their labels, for the record, shape (N,); None where there are none."""

    @property
    def data_policy(self) -> str:
        """How pixels became observations; "unstated" where nobody said."""

    @property
    def pixel_seed(self) -> int | None:
        """Seed of the zeros and ones that pixels became; None where none were drawn."""

    def take(self, rows: Selection) -> Rows:
        """Some of them."""

    def read(self) -> Observations:
        """All of them, as the tuple that the programs are called with: x, then labels or covariates."""


@runtime_checkable
class RowSource(Protocol):
    """What rows come from: a split of a data set, or anything else that can say how a model takes it."""

    def rows_for(self, model: Program) -> Rows:
        """These rows with what the model is called with, on its device and in its precision."""


X: TypeAlias = Tensor | tuple[Tensor, ...] | RowSource
"""What an estimator takes: a tensor of shape (N, *event), a tuple of them, or rows such as ``data.test[:500]``."""


@dataclass(frozen=True, eq=False)
class TensorRows:
    """Observations that are there already.

    Attributes:
        x: what the programs are called with.
        index: of each observation, shape (N,).
        data_policy: as the caller said.
    """

    x: Observations
    index: Tensor
    data_policy: str = "unstated"
    labels: Tensor | None = None
    pixel_seed: int | None = None

    @property
    def missing_share(self) -> float:
        """Share of the numbers of x that are missing, NaN."""
        return float(self.x[0].isnan().double().mean()) if self.x[0].is_floating_point() else 0.0

    def take(self, rows: Selection) -> TensorRows:
        """Some of them."""
        return TensorRows(take_rows(self.x, rows), self.index[rows], self.data_policy)

    def read(self) -> Observations:
        """All of them."""
        return self.x


def policy_text(data_policy: str | None) -> str:
    """What was said of how pixels became observations; "unstated" where nothing was.

    Raises:
        SettingsError: something else than text.
    """
    if not isinstance(data_policy, str | None):
        raise SettingsError(f"data_policy must be text, such as 'stochastic', got {reprlib.repr(data_policy)}.")
    return data_policy or "unstated"


def as_rows(x: X, model: Program, index: Tensor | None = None, data_policy: str | None = None) -> Rows:
    """The rows that an estimator was given.

    Args:
        x: a tensor, a tuple of tensors, or a source of rows.
        model: what takes them.
        index: of tensors, the observations' indices; 0…N−1 when None.
        data_policy: of tensors, how pixels became observations.

    Raises:
        ShapeError: as :func:`as_observations` and :func:`as_index`.
        SettingsError: an index or a policy beside rows that bring their own.
    """
    if isinstance(x, RowSource):
        rows = x.rows_for(model)
        if index is not None or data_policy not in (None, rows.data_policy):
            raise SettingsError(
                f"these rows bring their own index and data policy ({rows.data_policy!r}): leave index= and "
                "data_policy= out, or pass a tensor."
            )
        as_index(rows.index, len(rows.index), rows.index.device)
        return rows
    parts = as_observations(x)
    return TensorRows(parts, as_index(index, len(parts[0]), parts[0].device), policy_text(data_policy))


def prepare_for(model: Program, guide: Program, rows: RowSource) -> None:
    """Let a guide with parameters for each observation fit them to these rows; others have nothing to do."""
    if traits_of(guide).prepare is not None:
        taken = rows.rows_for(model)
        prepare_guide(model, guide, taken.read()[0], taken.index)


def as_observations(x: Tensor | tuple[Tensor, ...], name: str = "x") -> Observations:
    """x as a tuple of tensors with a common first dimension N ≥ 1.

    Args:
        x: a tensor, or a tuple of them.
        name: of the argument, for the message.

    Raises:
        ShapeError: no observation, or first dimensions that differ.
        DataError: complex, sparse, nested, meta, quantized or batched tensors.
    """
    parts = x if isinstance(x, tuple) else (x,)
    if not all(isinstance(part, Tensor) and part.dim() > 0 for part in parts) or not parts:
        kinds = ", ".join(type(part).__name__ for part in parts)
        raise ShapeError(
            f"{name} must be a tensor of shape (N, *event) or a tuple of tensors with a common first dimension, "
            f"got ({kinds}). Of data in other forms pass rows of a data set, such as load_data(...).test."
        )
    for part in parts:
        strange = _strange(part)
        if strange:
            raise DataError(
                f"{name} must be a dense tensor of real numbers, got {strange}. Pass its values as such a tensor, "
                "outside torch.func.vmap."
            )
    parts = tuple(part.clone() if part.is_inference() else part for part in parts)  # which autograd refuses
    sizes = {len(part) for part in parts}
    if len(sizes) > 1:
        raise ShapeError(
            f"the tensors of {name} must share their first dimension, N, got {sorted(sizes)}. "
            "Pass one row for each observation in each of them."
        )
    if sizes == {0}:
        raise ShapeError(f"{name} holds no observation: expected shape (N, *event) with N of at least 1.")
    return parts


def _strange(part: Tensor) -> str:
    """What makes a tensor one that no estimator can read; empty for others."""
    if torch._C._functorch.is_functorch_wrapped_tensor(part):
        return "a tensor of torch.func, as inside vmap, whose values cannot be looked at"
    if part.layout != torch.strided or part.is_nested:
        return f"one of layout {part.layout}"
    if part.is_meta:
        return "one on the meta device, which holds no values"
    if part.is_complex() or part.is_quantized:
        return f"one of {part.dtype}"
    return ""


def as_index(index: Tensor | None, num_observations: int, device: torch.device) -> Tensor:
    """The observations' indices, 0…N−1 unless given.

    Raises:
        ShapeError: not one index for each observation.
    """
    if index is None:
        return torch.arange(num_observations, device=device)
    try:
        index = torch.as_tensor(index, device=device)
    except (OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise ShapeError(
            f"index must hold one integer for each of the {num_observations} observations, got {reprlib.repr(index)}."
        ) from error
    if index.shape != (num_observations,) or index.is_floating_point() or index.dtype == torch.bool:
        raise ShapeError(
            f"index must hold one integer for each of the {num_observations} observations, got shape "
            f"{tuple(index.shape)} of {index.dtype}."
        )
    if len(index.unique()) < len(index):
        raise ShapeError(
            "index must name each observation once: two with the same index would share their noise, and the error of "
            "their mean would be understated. Pass different numbers, or leave index out."
        )
    return index
