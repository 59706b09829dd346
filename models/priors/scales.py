"""Positive scales from any numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["SCALE_FLOOR", "raw_of_scale", "scale_of_raw"]

SCALE_FLOOR = 1e-3
"""No scale of a prior is smaller: a component cannot shrink onto a point."""


def scale_of_raw(raw: Tensor) -> Tensor:
    """The scale of an unconstrained number: softplus, and never below ``SCALE_FLOOR``."""
    return torch.nn.functional.softplus(raw) + SCALE_FLOOR


def raw_of_scale(scale: float) -> float:
    """The unconstrained number of a scale above ``SCALE_FLOOR``.

    >>> round(float(scale_of_raw(torch.tensor(raw_of_scale(0.5)))), 6)
    0.5
    """
    return math.log(math.expm1(scale - SCALE_FLOOR))
