"""Counts with more zeros than their family explains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Size, Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from bayes_vae.distributions.negative_binomial_log_mean import NegativeBinomialLogMean

__all__ = ["ZeroInflatedNegativeBinomial"]


class ZeroInflatedNegativeBinomial(dist.TorchDistribution):
    r"""Independent counts: zero with probability π, else a negative binomial, which may be zero too.

    .. math:: p(x) = \pi \, 1[x = 0] + (1 - \pi) \, \mathrm{NB}(x; \mu, r), \qquad \pi = \sigma(g)

    Args:
        log_mean: log μ, shape (*batch, *event).
        log_dispersion: log r, broadcast against ``log_mean``.
        gate_logits: g, broadcast likewise.
        event_dim: number of event dimensions.

    Reference: Lambert (1992), "Zero-inflated Poisson regression", section 2, with a negative binomial.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "log_mean": constraints.real,
        "log_dispersion": constraints.real,
        "gate_logits": constraints.real,
    }

    takes = (
        "a zero-inflated negative-binomial likelihood takes counts, whole numbers from 0",
        "Gray pixels have the likelihoods 'discretized-logistic' and 'continuous-bernoulli', real values 'normal'.",
    )
    """What observations are, and what to do with others, for :func:`bayes_vae.distributions.check_support`."""

    def __init__(self, log_mean: Tensor, log_dispersion: Tensor, gate_logits: Tensor, event_dim: int = 1) -> None:
        parts = torch.broadcast_tensors(log_mean, log_dispersion, gate_logits)
        self.log_mean, self.log_dispersion, self.gate_logits = parts
        split = self.log_mean.dim() - event_dim
        super().__init__(self.log_mean.shape[:split], self.log_mean.shape[split:], validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """Whole numbers from 0."""
        return constraints.independent(constraints.nonnegative_integer, len(self.event_shape))

    def numbers(self) -> ZeroInflatedNegativeBinomial:
        """The same with each count in the batch shape."""
        return ZeroInflatedNegativeBinomial(self.log_mean, self.log_dispersion, self.gate_logits, 0)

    @property
    def _counts(self) -> NegativeBinomialLogMean:
        return NegativeBinomialLogMean(self.log_mean, self.log_dispersion, 0)

    @property
    def mean(self) -> Tensor:
        """(1 − π) μ."""
        mean: Tensor = torch.sigmoid(-self.gate_logits) * self._counts.mean
        return mean

    @property
    def variance(self) -> Tensor:
        r"""(1 − π) (v + π μ²), v the negative binomial's."""
        counts = self._counts
        open_share = torch.sigmoid(-self.gate_logits)
        return open_share * (counts.variance + (1 - open_share) * counts.mean.square())

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw a count, then whether it is replaced by zero, shape (*sample_shape, *batch, *event)."""
        counts = self._counts.sample(sample_shape)
        return counts * torch.bernoulli(torch.sigmoid(-self.gate_logits).expand(counts.shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log probability, summed over the event dimensions."""
        counted = logsigmoid(-self.gate_logits) + self._counts.log_prob(value)
        log_mass = torch.where(value == 0, torch.logaddexp(logsigmoid(self.gate_logits), counted), counted)
        size = len(self.event_shape)
        return log_mass.flatten(log_mass.dim() - size).sum(-1) if size else log_mass

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> ZeroInflatedNegativeBinomial:
        """The same distribution with a larger batch shape."""
        shape = Size(batch_shape)
        if shape == self.batch_shape:
            return self
        parts = (self.log_mean, self.log_dispersion, self.gate_logits)
        log_mean, log_dispersion, gate = (part.expand(shape + self.event_shape) for part in parts)
        return ZeroInflatedNegativeBinomial(log_mean, log_dispersion, gate, len(self.event_shape))
