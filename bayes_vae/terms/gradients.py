"""Gradients at coordinates that a program may not use, such as z of a likelihood that ignores it: zero there."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["gradients_at"]


def gradients_at(values: Tensor, *places: Tensor, retain_graph: bool = False) -> tuple[Tensor, ...]:
    """d sum(values) / d place, of the shape of each place; zero where the values do not depend on it.

    Args:
        values: of any shape, computed from the places with gradients enabled.
        places: leaves that require gradients.
        retain_graph: whether another gradient of the same computation is still to come.
    """
    if not values.requires_grad:
        return tuple(map(torch.zeros_like, places))
    return torch.autograd.grad(
        values.sum(), places, retain_graph=retain_graph, allow_unused=True, materialize_grads=True
    )
