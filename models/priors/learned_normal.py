"""A normal prior whose place and width are learned."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import nn

from bayes_vae.distributions import diagonal_normal
from bayes_vae.models.priors.base import Prior
from bayes_vae.models.priors.scales import raw_of_scale, scale_of_raw

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
        self.raw_scale = nn.Parameter(torch.full((latent_dim,), raw_of_scale(1.0)))

    def forward(self) -> dist.TorchDistribution:
        """p(z), a normal with independent dimensions."""
        return diagonal_normal(self.loc, scale_of_raw(self.raw_scale))
