"""Measured numbers by name, and what could not be measured, with the reason."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

import torch
from torch import Tensor

__all__ = ["Number", "Numbers", "as_number", "mean_number", "probability_above"]


@dataclass(frozen=True)
class Number:
    """One measured number.

    Attributes:
        value: the estimate.
        error: its standard error; 0 where it is exact, NaN where it is unknown.
        unit: "nats", or "" for a number without one.
    """

    value: float
    error: float = 0.0
    unit: str = "nats"


@dataclass
class Numbers(Mapping[str, Number]):
    """What was measured, by name.

    Attributes:
        found: the numbers.
        reasons: name of a number → why it could not be measured.
    """

    found: dict[str, Number] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Number:
        return self.found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def value(self, name: str) -> float:
        """The value of a number; NaN where it is not there."""
        return self.found[name].value if name in self.found else math.nan


def mean_number(values: Tensor, unit: str = "nats") -> Number:
    """Mean over observations and its standard error.

    Args:
        values: shape (N,).
        unit: of the values.
    """
    values = values.detach().double()
    error = float(values.std() / math.sqrt(len(values))) if len(values) > 1 else math.nan
    return Number(float(values.mean()), error, unit)


def probability_above(value: float, error: float, threshold: float) -> float:
    r"""How sure it is that a measured number lies above a threshold.

    .. math:: \Phi\big((v - t) / s\big)

    Args:
        value: v.
        error: s, its standard error; 0 for a number taken as exact, and NaN where it is unknown, so that nothing is
            sure.
        threshold: t.

    >>> probability_above(2.0, 0.5, 1.5) > 0.84, probability_above(2.0, 0.0, 1.5)
    (True, 1.0)
    """
    if math.isnan(value):
        return 0.0
    if math.isinf(value) or error == 0:
        return 1.0 if value > threshold else 0.0
    if not math.isfinite(error):
        return 0.0
    return NormalDist().cdf((value - threshold) / error)


def as_number(value: Tensor | float, error: Tensor | float = 0.0, unit: str = "") -> Number:
    """A number without a unit, from tensors."""
    return Number(float(torch.as_tensor(value)), float(torch.as_tensor(error)), unit)
