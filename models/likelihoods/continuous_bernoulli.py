"""The likelihood of gray pixels that a Bernoulli is often misused for."""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
from torch import Tensor

from bayes_vae.distributions.continuous_bernoulli_logits import ContinuousBernoulliLogits, logits_of_mean
from bayes_vae.models.likelihoods.likelihood import Likelihood

__all__ = ["ContinuousBernoulliLikelihood"]


class ContinuousBernoulliLikelihood(Likelihood):
    r"""Gray pixels in [0, 1]: the decoder outputs the logit of each pixel.

    .. math:: \log p(x \mid z) = \sum_i x_i f_i(z) - \log \frac{e^{f_i(z)} - 1}{f_i(z)}

    The second term is what cross-entropy on gray pixels leaves out. A density, so it may exceed 1 and the sum may be
    positive. Fits the data policy ``none`` on gray pixels; zeros and ones are refused.

    Args:
        data_shape: shape of one observation.

    Reference: Loaiza-Ganem, Cunningham (2019), "The continuous Bernoulli: fixing a pervasive error in variational
    autoencoders", eq. 8.
    """

    def __init__(self, data_shape: Sequence[int]) -> None:
        super().__init__(data_shape)

    def forward(self, parameters: Tensor) -> dist.TorchDistribution:
        """p(x given z): independent continuous Bernoulli pixels."""
        return ContinuousBernoulliLogits(self._only(parameters), event_dim=len(self.data_shape))

    def initial_outputs(self, mean: Tensor) -> Tensor:
        """Logits whose mean is the data's, clipped to [0.05, 0.95]; the mean is not the logistic of the logit."""
        return logits_of_mean(mean.clamp(0.05, 0.95)).unsqueeze(0)
