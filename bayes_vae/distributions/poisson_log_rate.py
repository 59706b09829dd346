"""The Poisson distribution, given by the logarithms of its rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Size, Tensor
from torch.distributions import constraints

__all__ = ["PoissonLogRate"]


class PoissonLogRate(dist.TorchDistribution):
    r"""Independent counts, given by the logarithms of their rates.

    .. math:: \log p(x) = x \ell - e^\ell - \log x!

    In float64 wherever the device has it: for large counts the three terms cancel.

    Args:
        log_rate: ℓ, shape (*batch, *event).
        event_dim: number of event dimensions.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"log_rate": constraints.real}

    takes = (
        "a Poisson likelihood takes counts, whole numbers from 0",
        "Gray pixels have the likelihoods 'discretized-logistic' and 'continuous-bernoulli', real values 'normal'.",
    )
    """What observations are, and what to do with others, for :func:`bayes_vae.distributions.check_support`."""

    def __init__(self, log_rate: Tensor, event_dim: int = 1) -> None:
        self.log_rate = log_rate
        split = log_rate.dim() - event_dim
        super().__init__(log_rate.shape[:split], log_rate.shape[split:], validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """Whole numbers from 0."""
        return constraints.independent(constraints.nonnegative_integer, len(self.event_shape))

    def numbers(self) -> PoissonLogRate:
        """The same with each count in the batch shape."""
        return PoissonLogRate(self.log_rate, 0)

    @property
    def mean(self) -> Tensor:
        """The rate."""
        return self.log_rate.exp()

    @property
    def variance(self) -> Tensor:
        """The rate."""
        return self.mean

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw counts, shape (*sample_shape, *batch, *event)."""
        return torch.poisson(self.mean.expand(Size(sample_shape) + self.log_rate.shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log probability, summed over the event dimensions."""
        precise = torch.float32 if self.log_rate.device.type == "mps" else torch.float64
        x, log_rate = value.to(precise), self.log_rate.to(precise)
        log_mass = x * log_rate - log_rate.exp() - torch.lgamma(x + 1)
        size = len(self.event_shape)
        total = log_mass.flatten(log_mass.dim() - size).sum(-1) if size else log_mass
        rounded: Tensor = total.to(self.log_rate.dtype)
        return rounded

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> PoissonLogRate:
        """The same distribution with a larger batch shape."""
        shape = Size(batch_shape)
        if shape == self.batch_shape:
            return self
        return PoissonLogRate(self.log_rate.expand(shape + self.event_shape), len(self.event_shape))
