"""The negative binomial: counts that scatter more than a Poisson's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Size, Tensor
from torch.distributions import constraints
from torch.nn.functional import softplus

__all__ = ["NegativeBinomialLogMean"]


class NegativeBinomialLogMean(dist.TorchDistribution):
    r"""Independent counts, given by the logarithms of their means μ and of their dispersions r.

    .. math:: p(x) = \frac{\Gamma(x + r)}{\Gamma(r) \, x!} \Big(\frac{r}{r + \mu}\Big)^{r}
        \Big(\frac{\mu}{r + \mu}\Big)^{x}, \qquad \operatorname{Var} x = \mu + \frac{\mu^2}{r}

    torch's ``NegativeBinomial`` subtracts log Γ(r) from log Γ(x + r) in float32: at r = 10⁶ it is off by 0.2 nats for
    each count. Here both are float64 wherever the device has it.

    Args:
        log_mean: log μ, shape (*batch, *event).
        log_dispersion: log r, broadcast against ``log_mean``.
        event_dim: number of event dimensions.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"log_mean": constraints.real, "log_dispersion": constraints.real}

    takes = (
        "a negative-binomial likelihood takes counts, whole numbers from 0",
        "Gray pixels have the likelihoods 'discretized-logistic' and 'continuous-bernoulli', real values 'normal'.",
    )
    """What observations are, and what to do with others, for :func:`bayes_vae.distributions.check_support`."""

    def __init__(self, log_mean: Tensor, log_dispersion: Tensor, event_dim: int = 1) -> None:
        self.log_mean, self.log_dispersion = torch.broadcast_tensors(log_mean, log_dispersion)
        split = self.log_mean.dim() - event_dim
        super().__init__(self.log_mean.shape[:split], self.log_mean.shape[split:], validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """Whole numbers from 0."""
        return constraints.independent(constraints.nonnegative_integer, len(self.event_shape))

    def numbers(self) -> NegativeBinomialLogMean:
        """The same with each count in the batch shape."""
        return NegativeBinomialLogMean(self.log_mean, self.log_dispersion, 0)

    @property
    def mean(self) -> Tensor:
        """μ."""
        mean: Tensor = self.log_mean.exp()
        return mean

    @property
    def variance(self) -> Tensor:
        r"""μ + μ²/r."""
        spread: Tensor = (2 * self.log_mean - self.log_dispersion).exp()
        return self.mean + spread

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw a rate from a gamma distribution, then a count of that rate, shape (*sample_shape, *batch, *event)."""
        shape = Size(sample_shape) + self.log_mean.shape
        dispersion = self.log_dispersion.exp().expand(shape)
        rate = torch._standard_gamma(dispersion) * (self.log_mean - self.log_dispersion).exp()
        return torch.poisson(rate)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log probability, summed over the event dimensions."""
        precise = torch.float32 if self.log_mean.device.type == "mps" else torch.float64
        x, log_dispersion = value.to(precise), self.log_dispersion.to(precise)
        logits, r = self.log_mean.to(precise) - log_dispersion, log_dispersion.exp()
        ways = torch.lgamma(x + r) - torch.lgamma(r) - torch.lgamma(x + 1)
        log_mass = ways - r * softplus(logits) - x * softplus(-logits)
        size = len(self.event_shape)
        total = log_mass.flatten(log_mass.dim() - size).sum(-1) if size else log_mass
        rounded: Tensor = total.to(self.log_mean.dtype)
        return rounded

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> NegativeBinomialLogMean:
        """The same distribution with a larger batch shape."""
        shape = Size(batch_shape)
        if shape == self.batch_shape:
            return self
        log_mean, log_dispersion = (
            part.expand(shape + self.event_shape) for part in (self.log_mean, self.log_dispersion)
        )
        return NegativeBinomialLogMean(log_mean, log_dispersion, len(self.event_shape))
