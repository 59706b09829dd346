"""Positive numbers from any numbers: the one softplus of scales, whose floor is passed in."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

__all__ = ["positive", "raw_of_positive", "raw_of_positives"]


def positive(raw: Tensor, floor: float, offset: float = 0.0) -> Tensor:
    r"""A number above a floor from any number.

    .. math:: \log(1 + e^{u + o}) + f

    Args:
        raw: u, any shape.
        floor: f; nothing that comes back is smaller.
        offset: o, which places the value at u = 0.

    Returns:
        the shape of ``raw``.
    """
    return softplus(raw + offset if offset else raw) + floor


def raw_of_positive(value: float, floor: float) -> float:
    """The number from which :func:`positive` makes a value above the floor.

    >>> import torch
    >>> round(float(positive(torch.tensor(raw_of_positive(0.5, 0.01)), 0.01)), 6)
    0.5
    """
    return math.log(math.expm1(value - floor))


def raw_of_positives(values: Tensor, floor: float) -> Tensor:
    """The same of several values; one at the floor or below it becomes a value just above."""
    above = (values - floor).clamp(min=max(floor, 1e-6))
    return torch.where(above > 20, above, above.expm1().log())
