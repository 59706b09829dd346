"""Normals whose means and scales a network outputs."""

from __future__ import annotations

import pyro.distributions as dist
from torch import Tensor

from bayes_vae.distributions.positive import positive
from bayes_vae.distributions.properties import diagonal_normal

__all__ = ["SCALE_FLOOR", "normal_of_outputs", "positive_scale"]

SCALE_FLOOR = 1e-5
"""No scale is smaller."""

SCALE_OFFSET = 0.5413248546129181
"""log(e − 1): softplus of it is 1, so scales start near one."""


def positive_scale(raw: Tensor) -> Tensor:
    """A scale from any number: softplus, one at zero and never below ``SCALE_FLOOR``."""
    return positive(raw, SCALE_FLOOR, SCALE_OFFSET)


def normal_of_outputs(outputs: Tensor) -> dist.Independent:
    """The factorized normal of a network's outputs, shape (*batch, 2 D): D means, then D numbers of its scales.

    >>> import torch
    >>> normal_of_outputs(torch.zeros(3, 4)).event_shape
    torch.Size([2])
    """
    loc, raw_scale = outputs.chunk(2, dim=-1)
    return diagonal_normal(loc, positive_scale(raw_scale))
