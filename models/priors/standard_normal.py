"""The usual prior of a VAE."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor

from bayes_vae.distributions import diagonal_normal
from bayes_vae.models.priors.prior import Prior

__all__ = ["StandardNormalPrior"]


class StandardNormalPrior(Prior):
    r"""Mean 0 and deviation 1 in each dimension, nothing to learn.

    .. math:: p(z) = N(z; 0, I)

    Args:
        latent_dim: D, the size of z.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        """p(z), a normal with independent dimensions."""
        return diagonal_normal(self.loc, self.scale)
