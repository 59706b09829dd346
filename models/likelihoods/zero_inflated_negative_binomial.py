"""The likelihood of counts with more zeros than a negative binomial has."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from torch import Tensor

from bayes_vae.distributions.zero_inflated import ZeroInflatedNegativeBinomial
from bayes_vae.models.likelihoods.negative_binomial import NegativeBinomialLikelihood

__all__ = ["ZeroInflatedNegativeBinomialLikelihood"]

INITIAL_SHARE = 0.1
"""Probability of an extra zero at the start."""


class ZeroInflatedNegativeBinomialLikelihood(NegativeBinomialLikelihood):
    r"""Counts that may be zero for a reason of its own: the decoder outputs log μ and the logit g of that probability.

    .. math:: p(x \mid z) = \prod_i \pi_i 1[x_i = 0] + (1 - \pi_i) \, \mathrm{NB}(x_i; \mu_i, r_i), \qquad
        \mu_i = e^{f_i(z)}, \quad \pi_i = \sigma(g_i(z))

    Each number has a learned dispersion r, as in :class:`NegativeBinomialLikelihood`, which is this with π = 0. A
    probability, so it has bits per dimension. Fits counts, under the data policy ``none``.

    Args:
        data_shape: shape of one observation.

    Reference: Lopez, Regier, Cole, Jordan, Yosef (2018), "Deep generative modeling for single-cell transcriptomics",
    methods.
    """

    outputs_per_number = 2

    def forward(self, parameters: Tensor) -> dist.TorchDistribution:
        """p(x given z): independent zero-inflated negative binomials."""
        log_mean, gate = parameters.unbind(parameters.dim() - len(self.data_shape) - 1)
        return ZeroInflatedNegativeBinomial(log_mean, self.log_dispersion, gate, event_dim=len(self.data_shape))

    def initial_outputs(self, mean: Tensor) -> Tensor:
        """A tenth of extra zeros, and log μ for which the mean is the data's."""
        log_mean = super().initial_outputs(mean)[0] - math.log1p(-INITIAL_SHARE)
        return torch.stack([log_mean, torch.full_like(mean, math.log(INITIAL_SHARE / (1 - INITIAL_SHARE)))])
