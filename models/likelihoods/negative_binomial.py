"""The likelihood of counts that scatter more than a Poisson."""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from bayes_vae.distributions.negative_binomial_log_mean import NegativeBinomialLogMean
from bayes_vae.models.likelihoods.likelihood import Likelihood

__all__ = ["NegativeBinomialLikelihood"]

LARGEST_LOG_DISPERSION = 14.0
"""At r = 1.2 million the scatter is a Poisson's; without a bound, r of counts that scatter less would grow for ever."""


class NegativeBinomialLikelihood(Likelihood):
    r"""Counts: the decoder outputs the logarithm of each mean μ; each number has a learned dispersion r of its own.

    .. math:: p(x \mid z) = \prod_i \frac{\Gamma(x_i + r_i)}{\Gamma(r_i) \, x_i!}
        \Big(\frac{r_i}{r_i + \mu_i}\Big)^{r_i} \Big(\frac{\mu_i}{r_i + \mu_i}\Big)^{x_i}, \qquad \mu_i = e^{f_i(z)}

    The variance is μ + μ²/r: a Poisson's for large r, never less. r is the same for every z, starts at 1, and is at
    most 1.2 million. A probability, so it has bits per dimension. Fits counts, under the data policy ``none``.

    Args:
        data_shape: shape of one observation.

    Reference: Lopez, Regier, Cole, Jordan, Yosef (2018), "Deep generative modeling for single-cell transcriptomics",
    methods.
    """

    def __init__(self, data_shape: Sequence[int]) -> None:
        super().__init__(data_shape)
        self.raw_dispersion = nn.Parameter(torch.zeros(self.data_shape))

    @property
    def log_dispersion(self) -> Tensor:
        """log r, shape ``data_shape``; near the raw parameter where that is well below the largest."""
        return LARGEST_LOG_DISPERSION - softplus(LARGEST_LOG_DISPERSION - self.raw_dispersion)

    def forward(self, parameters: Tensor) -> dist.TorchDistribution:
        """p(x given z): independent negative binomials."""
        return NegativeBinomialLogMean(self._only(parameters), self.log_dispersion, event_dim=len(self.data_shape))

    def initial_outputs(self, mean: Tensor) -> Tensor:
        """The logarithm of the mean, which is taken as at least 0.01."""
        return mean.clamp(min=0.01).log().unsqueeze(0)
