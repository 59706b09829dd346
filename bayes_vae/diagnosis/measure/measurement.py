"""One measured number with its standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bayes_vae.vocabulary.number_text import with_error

__all__ = ["Measurement", "deviation"]


@dataclass(frozen=True)
class Measurement:
    """One measured number.

    Attributes:
        value: the estimate.
        error: its standard error; 0 where it is exact, NaN where it is unknown.
        unit: "nats", or "" for a number without one.
        name: of the number, where a finding rests on it.
        threshold: beyond which it counts for that finding; None where it is shown beside the others.
    """

    value: float
    error: float = 0.0
    unit: str = "nats"
    name: str = ""
    threshold: float | None = None

    @classmethod
    def of(cls, value: Tensor | float, error: Tensor | float = 0.0, unit: str = "") -> Measurement:
        """A number without a unit, from tensors."""
        return cls(float(torch.as_tensor(value)), float(torch.as_tensor(error)), unit)

    @classmethod
    def mean(cls, values: Tensor, unit: str = "nats") -> Measurement:
        """Mean over observations and its standard error.

        Args:
            values: shape (N,).
            unit: of the values.
        """
        values = values.detach().double()
        error = float(values.std() / math.sqrt(len(values))) if len(values) > 1 else math.nan
        return cls(float(values.mean()), error, unit)

    def __sub__(self, other: Measurement) -> Measurement:
        """The difference of two independent measurements."""
        return Measurement(self.value - other.value, (self.error**2 + other.error**2) ** 0.5, self.unit)

    def __str__(self) -> str:
        """Name, value with error, unit and threshold."""
        plain = not self.error > 0 or abs(self.value) >= 1e5
        shown = f"{self.value:.3g}" if plain else with_error(self.value, self.error)
        unit = f" {self.unit}" if self.unit else ""
        beyond = "" if self.threshold is None else f" (threshold {self.threshold:.3g})"
        return f"{self.name.replace('_', ' ')} {shown}{unit}{beyond}"


def deviation(numbers: Tensor) -> Tensor:
    """Standard deviation of all numbers that are not missing."""
    return numbers[~numbers.isnan()].std()
