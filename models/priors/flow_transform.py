"""Pyro's learnable transforms, one after another, without what they remember of a call."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.distributions import Transform, constraints

__all__ = ["FlowTransform"]


class FlowTransform(Transform):
    r"""A composition of couplings, the order of the dimensions reversed between two of them.

    .. math:: z = f_T(R \, f_{T-1}(\dots R \, f_1(\epsilon)))

    Pyro's transforms keep the last x and y, so that the inverse of a draw is at hand. A density of a z that was drawn
    without gradients, or with other weights, would then get that stale inverse: it would have no gradient, or be wrong.
    So each call runs on shallow copies, which share the parameters and remember nothing.

    Args:
        steps: Pyro transforms over vectors with cheap inverses, shape (*, D) to (*, D).
    """

    domain = constraints.independent(constraints.real, 1)
    codomain = constraints.independent(constraints.real, 1)
    bijective = True

    def __init__(self, steps: Sequence[Any]) -> None:
        super().__init__(cache_size=0)
        self._steps = tuple(steps)

    def _fresh(self) -> list[Any]:
        return [copy.copy(step) for step in self._steps]

    def _call(self, x: Tensor) -> Tensor:
        for place, step in enumerate(self._fresh()):
            x = step(x.flip(-1) if place else x)
        return x

    def _inverse(self, y: Tensor) -> Tensor:
        steps = self._fresh()
        for place, step in reversed(list(enumerate(steps))):
            y = step.inv(y)
            y = y.flip(-1) if place else y
        return y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """log |det dy/dx|, shape (*)."""
        total = x.new_zeros(x.shape[:-1])
        for place, step in enumerate(self._fresh()):
            x = x.flip(-1) if place else x
            y = step(x)
            part = step.log_abs_det_jacobian(x, y)
            total = total + (part.sum(-1) if part.dim() == x.dim() else part)
            x = y
        return total
