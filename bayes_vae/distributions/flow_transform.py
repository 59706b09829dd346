"""Pyro's learnable transforms, one after another, without what they remember of a call."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Transform, constraints

__all__ = ["FlowTransform", "PlacedFlow"]


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


class PlacedFlow(FlowTransform):
    r"""A flow, then moved and rescaled: z = m + s f(ε).

    The last draw is remembered with its noise, so that its density costs nothing more; a z that is another tensor is
    inverted. A draw that was made without gradients is not reused where gradients are wanted.

    Args:
        steps: as in :class:`FlowTransform`.
        loc: m, shape (*batch, D).
        scale: s, above 0, the same shape.
    """

    def __init__(self, steps: Sequence[Any], loc: Tensor, scale: Tensor) -> None:
        super().__init__(steps)
        self.loc, self.scale = loc, scale
        self._last: tuple[Tensor, Tensor, Tensor] | None = None

    def _call(self, x: Tensor) -> Tensor:
        start, log_det = x, self.scale.log().sum(-1)
        for place, step in enumerate(self._fresh()):
            before = x.flip(-1) if place else x
            x = step(before)
            part = step.log_abs_det_jacobian(before, x)
            log_det = log_det + (part.sum(-1) if part.dim() == x.dim() else part)
        y = self.loc + self.scale * x
        self._last = (start, y, log_det)
        return y

    def _remembers(self, y: Tensor) -> bool:
        if self._last is None or self._last[1] is not y:
            return False
        return self._last[2].requires_grad or not torch.is_grad_enabled()

    def _inverse(self, y: Tensor) -> Tensor:
        if self._remembers(y):
            assert self._last is not None
            return self._last[0]
        return super()._inverse((y - self.loc) / self.scale)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """log |det dz/dε|, shape (*)."""
        if self._remembers(y):
            assert self._last is not None
            return self._last[2]
        return super().log_abs_det_jacobian(x, y) + self.scale.log().sum(-1)
