"""A normal prior whose place and width are learned."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from bayes_vae.distributions import diagonal_normal
from bayes_vae.distributions.positive import positive, raw_of_positive, raw_of_positives
from bayes_vae.models.priors.prior import SCALE_FLOOR, Prior

__all__ = ["LearnedNormalPrior"]


class LearnedNormalPrior(Prior):
    r"""A normal with independent dimensions, its means and deviations learned with the rest of the model.

    .. math:: p(z) = N\big(z; m, \operatorname{diag}(s)^2\big)

    It starts as the standard normal; no deviation falls below 0.001. With a decoder that can shift and rescale z it
    adds nothing but another course of training: it is the closed-form yardstick of the priors that do.

    Args:
        latent_dim: D, the size of z.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.loc = nn.Parameter(torch.zeros(latent_dim))
        self.raw_scale = nn.Parameter(torch.full((latent_dim,), raw_of_positive(1.0, SCALE_FLOOR)))

    def forward(self) -> dist.TorchDistribution:
        """p(z), a normal with independent dimensions."""
        return diagonal_normal(self.loc, positive(self.raw_scale, SCALE_FLOOR))

    @torch.no_grad()
    def start_at_codes(self, z: Tensor) -> None:
        """Start with the mean and the deviations of draws of q, shape (M, D)."""
        self.loc.copy_(z.mean(0))
        self.raw_scale.copy_(raw_of_positives(z.std(0), SCALE_FLOOR))
