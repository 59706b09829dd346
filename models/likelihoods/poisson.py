"""The likelihood of counts whose variance is their mean."""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
from torch import Tensor

from bayes_vae.distributions.poisson_log_rate import PoissonLogRate
from bayes_vae.models.likelihoods.likelihood import Likelihood

__all__ = ["PoissonLikelihood"]


class PoissonLikelihood(Likelihood):
    r"""Counts: the decoder outputs the logarithm of each rate.

    .. math:: \log p(x \mid z) = \sum_i x_i f_i(z) - e^{f_i(z)} - \log x_i!

    Given z the variance is the mean; counts that scatter more have ``negative-binomial``. A probability, so it has bits
    per dimension. Fits counts, under the data policy ``none``.

    Args:
        data_shape: shape of one observation.
    """

    def __init__(self, data_shape: Sequence[int]) -> None:
        super().__init__(data_shape)

    def forward(self, parameters: Tensor) -> dist.TorchDistribution:
        """p(x given z): independent Poisson counts."""
        return PoissonLogRate(self._only(parameters), event_dim=len(self.data_shape))

    def initial_outputs(self, mean: Tensor) -> Tensor:
        """The logarithm of the mean, which is taken as at least 0.01."""
        return mean.clamp(min=0.01).log().unsqueeze(0)
