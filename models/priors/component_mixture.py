"""A mixture of distributions of one family, whatever the family is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import pyro.distributions as dist
import torch
from torch import Size, Tensor
from torch.distributions import constraints

__all__ = ["ComponentMixture"]

NUMBERS_AT_ONCE = 2**22
"""Draws times components times dimensions in one pass (16 MiB of float32)."""


class ComponentMixture(dist.TorchDistribution):
    r"""A weighted mean of densities over vectors.

    .. math:: p(z) = \sum_{c=1}^C w_c \, p_c(z)

    Draws have no gradient: which component a draw is from is a choice. torch's ``MixtureSameFamily`` draws from all C
    components for each draw, and ``biject_to`` lacks its support.

    Args:
        components: batch shape (C,), event shape (D,), the same support for each.
        log_weights: log w, shape (C,), normalized.
        batch_shape: of the mixture; the components are the same throughout it.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(
        self, components: dist.TorchDistribution, log_weights: Tensor, batch_shape: Sequence[int] = ()
    ) -> None:
        self.components, self.log_weights = components, log_weights
        super().__init__(Size(batch_shape), components.event_shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """That of the components."""
        return cast(constraints.Constraint, self.components.support)

    @property
    def mean(self) -> Tensor:
        """Weighted mean of the components' means, shape (*batch, D)."""
        return self._weighted(self.components.mean).expand(self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Tensor:
        """Mean of the variances plus variance of the means, dimension by dimension, shape (*batch, D)."""
        means = self.components.mean
        spread = (means - self._weighted(means)).square()
        return self._weighted(self.components.variance + spread).expand(self.batch_shape + self.event_shape)

    def _weighted(self, values: Tensor) -> Tensor:
        return (self.log_weights.exp().unsqueeze(-1) * values).sum(0)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw components, then one draw of each, shape (*sample_shape, *batch, D)."""
        shape = Size(sample_shape) + self.batch_shape
        chosen = torch.multinomial(self.log_weights.exp(), shape.numel(), replacement=True)
        counts = chosen.bincount(minlength=len(self.log_weights))
        order = chosen.argsort(stable=True)
        first = counts.cumsum(0) - counts  # place in the sorted list of each component's first draw
        turn = torch.empty_like(chosen)
        turn[order] = torch.arange(len(chosen), device=chosen.device) - first[chosen[order]]
        drawn: Tensor = self.components.sample((int(counts.max()),))[turn, chosen]
        return drawn.reshape(shape + self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of z of shape (*, D), shape (*) broadcast against the batch; bounded memory without gradients."""
        rows = value.reshape(-1, *self.event_shape)
        step = max(1, NUMBERS_AT_ONCE // (len(self.log_weights) * self.event_shape.numel()))
        pieces = [(self.components.log_prob(z.unsqueeze(1)) + self.log_weights).logsumexp(-1) for z in rows.split(step)]
        log_density = torch.cat(pieces).reshape(value.shape[: value.dim() - len(self.event_shape)])
        return log_density.expand(torch.broadcast_shapes(log_density.shape, self.batch_shape))

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> ComponentMixture:
        """The same mixture with a larger batch shape."""
        return ComponentMixture(self.components, self.log_weights, batch_shape)
