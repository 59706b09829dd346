"""The likelihood of zeros and ones."""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
from torch import Tensor

from bayes_vae.distributions import BernoulliLogits
from bayes_vae.models.likelihoods.likelihood import Likelihood

__all__ = ["BernoulliLikelihood"]


class BernoulliLikelihood(Likelihood):
    r"""Zeros and ones: the decoder outputs the logit of each pixel.

    .. math:: \log p(x \mid z) = \sum_i x_i f_i(z) - \log(1 + e^{f_i(z)})

    On gray pixels it is not a normalized likelihood, and is refused; the data policies ``stochastic``, ``static`` and
    ``threshold`` make zeros and ones of them.

    Args:
        data_shape: shape of one observation.

    Reference: Kingma, Welling (2014), "Auto-encoding variational Bayes", appendix C.1.
    """

    def __init__(self, data_shape: Sequence[int]) -> None:
        super().__init__(data_shape)

    def forward(self, parameters: Tensor) -> dist.TorchDistribution:
        """p(x given z): independent Bernoulli pixels."""
        return BernoulliLogits(self._only(parameters), event_dim=len(self.data_shape))

    def initial_outputs(self, mean: Tensor) -> Tensor:
        """Logits of the mean, clipped to [0.01, 0.99]."""
        return mean.clamp(0.01, 0.99).logit().unsqueeze(0)
