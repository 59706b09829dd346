"""The likelihood of 8-bit pixels that gives probabilities, not densities."""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor

from bayes_vae.distributions.logistic_bins import DiscretizedLogistic, loc_of_mean
from bayes_vae.distributions.positive import positive, raw_of_positive
from bayes_vae.models.likelihoods.likelihood import Likelihood

__all__ = ["DiscretizedLogisticLikelihood"]

SCALE_FLOOR, INITIAL_SCALE = 1e-3, 0.1
"""A quarter of a level, in units of x; and the scale at the start."""


class DiscretizedLogisticLikelihood(Likelihood):
    r"""8-bit gray pixels v/255: the decoder outputs location and scale of a logistic for each.

    .. math:: \log p(x \mid z) = \sum_i \log\Big(\sigma\big((x_i + \tfrac{1}{510} - \mu_i) / s_i\big)
        - \sigma\big((x_i - \tfrac{1}{510} - \mu_i) / s_i\big)\Big)

    The scale is a softplus of the decoder's second output and at least 0.001, a quarter of a level. A probability, so
    log p(x given z) is at most 0 and has bits per dimension. Fits the data policy ``none`` on gray pixels of 8 bits.

    Args:
        data_shape: shape of one observation.

    Reference: Salimans, Karpathy, Chen, Kingma (2017), "PixelCNN++", section 2.1.
    """

    outputs_per_number = 2

    def __init__(self, data_shape: Sequence[int]) -> None:
        super().__init__(data_shape)

    def forward(self, parameters: Tensor) -> dist.TorchDistribution:
        """p(x given z): independent pixels of 256 levels."""
        loc, raw = parameters.unbind(parameters.dim() - len(self.data_shape) - 1)
        return DiscretizedLogistic(loc, positive(raw, SCALE_FLOOR), event_dim=len(self.data_shape))

    def initial_outputs(self, mean: Tensor) -> Tensor:
        """The location at which the mean is the data's, clipped to [0.05, 0.95], and a scale of 0.1."""
        loc = loc_of_mean(mean.clamp(0.05, 0.95), INITIAL_SCALE)
        return torch.stack([loc, torch.full_like(mean, raw_of_positive(INITIAL_SCALE, SCALE_FLOOR))])
