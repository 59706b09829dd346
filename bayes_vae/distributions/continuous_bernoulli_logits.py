"""The continuous Bernoulli: a density on [0, 1] whose logarithm is linear in x."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Size, Tensor
from torch.distributions import constraints

__all__ = ["ContinuousBernoulliLogits"]

SMALL = 0.05
"""Logits nearer to 0 are treated by a series; its remainder is below 1e-11."""


class ContinuousBernoulliLogits(dist.TorchDistribution):
    r"""Independent pixels in [0, 1], given by their logits.

    .. math:: \log p(x \mid \ell) = \sum_i x_i \ell_i - A(\ell_i), \qquad A(\ell) = \log \frac{e^\ell - 1}{\ell}

    torch's ``ContinuousBernoulli`` clamps the probability :math:`\sigma(\ell)`, so that beyond logits of about 16 its
    density no longer integrates to one in float32. Here it does for every logit.

    Args:
        logits: shape (*batch, *event).
        event_dim: number of event dimensions.

    Reference: Loaiza-Ganem, Cunningham (2019), "The continuous Bernoulli: fixing a pervasive error in variational
    autoencoders", eqs. 5–8.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"logits": constraints.real}
    has_rsample = True

    takes = (
        "a continuous Bernoulli likelihood takes gray pixels in [0, 1]",
        "Divide pixels by 255; of counts choose the likelihood 'negative-binomial', of real values 'normal'.",
    )
    """What observations are, and what to do with others, for :func:`bayes_vae.distributions.check_support`."""

    def __init__(self, logits: Tensor, event_dim: int = 1) -> None:
        self.logits = logits
        split = logits.dim() - event_dim
        super().__init__(logits.shape[:split], logits.shape[split:], validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """The unit interval, both ends included."""
        return constraints.independent(constraints.unit_interval, len(self.event_shape))

    def numbers(self) -> ContinuousBernoulliLogits:
        """The same with each pixel in the batch shape."""
        return ContinuousBernoulliLogits(self.logits, 0)

    @property
    def mean(self) -> Tensor:
        r"""Mean of each pixel, :math:`1 / (1 - e^{-\ell}) - 1 / \ell`."""
        return mean_of_logits(self.logits)

    @property
    def variance(self) -> Tensor:
        r"""Variance of each pixel, :math:`1 / \ell^2 - 1 / (4 \sinh^2(\ell / 2))`."""
        small, near, far = _split(self.logits)
        sinh = torch.sinh((far / 2).clamp(-40, 40))
        series = 1 / 12 - near.square() / 240
        return torch.where(small, series, far.square().reciprocal() - (4 * sinh.square()).reciprocal())

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw by the inverse of the distribution function, shape (*sample_shape, *batch, *event)."""
        logits = self.logits.expand(Size(sample_shape) + self.logits.shape)
        small, near, far = _split(logits)
        u = torch.rand(logits.shape, dtype=logits.dtype, device=logits.device)
        u = torch.where(logits > 0, 1 - u, u)  # p(x | l) is p(1 − x | −l): draw for −|l|, which cannot overflow
        negative = -far.abs()
        drawn = torch.log1p(u * torch.expm1(negative)) / negative
        drawn = torch.where(small, u + near.abs() / 2 * u * (u - 1), drawn).clamp(0, 1)
        return torch.where(logits > 0, 1 - drawn, drawn)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density, summed over the event dimensions."""
        density = value.to(self.logits.dtype) * self.logits - log_normalizer(self.logits)
        size = len(self.event_shape)
        return density.flatten(density.dim() - size).sum(-1) if size else density

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> ContinuousBernoulliLogits:
        """The same distribution with a larger batch shape."""
        shape = Size(batch_shape)
        if shape == self.batch_shape:
            return self
        return ContinuousBernoulliLogits(self.logits.expand(shape + self.event_shape), len(self.event_shape))


def _split(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which logits are near 0; those with 0 for the others, and the others with 1 for those: no branch can overflow."""
    small = logits.abs() < SMALL
    return small, torch.where(small, logits, 0.0), torch.where(small, 1.0, logits)


def log_normalizer(logits: Tensor) -> Tensor:
    r""":math:`A(\ell) = \log((e^\ell - 1) / \ell)`, for every logit; its derivative is the mean."""
    small, near, far = _split(logits)
    series = near / 2 + near.square() / 24 - near.pow(4) / 2880
    closed = far.clamp(min=0) + torch.log(-torch.expm1(-far.abs())) - far.abs().log()
    return torch.where(small, series, closed)


def mean_of_logits(logits: Tensor) -> Tensor:
    """Mean of each pixel, the derivative of :func:`log_normalizer`."""
    small, near, far = _split(logits)
    series = 0.5 + near / 12 - near.pow(3) / 720
    return torch.where(small, series, -torch.expm1(-far).reciprocal() - far.reciprocal())


def logits_of_mean(mean: Tensor, steps: int = 60) -> Tensor:
    """The logits whose mean is given, by halving an interval; means within [0.01, 0.99].

    >>> mean = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    >>> torch.allclose(mean_of_logits(logits_of_mean(mean)), mean)
    True
    """
    target = mean.double().clamp(0.01, 0.99)
    low, high = torch.full_like(target, -128.0), torch.full_like(target, 128.0)
    for _ in range(steps):
        middle = (low + high) / 2
        below = mean_of_logits(middle) < target
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return ((low + high) / 2).to(mean.dtype)
