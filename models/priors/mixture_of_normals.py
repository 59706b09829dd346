"""A prior with several modes: a learned mixture of normals."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from bayes_vae.distributions import diagonal_normal
from bayes_vae.distributions.positive import positive, raw_of_positive, raw_of_positives
from bayes_vae.models.priors.component_mixture import ComponentMixture
from bayes_vae.models.priors.prior import SCALE_FLOOR, Prior

__all__ = ["MixtureOfNormalsPrior"]


class MixtureOfNormalsPrior(Prior):
    r"""A mixture of normals with independent dimensions; weights, means and deviations are learned.

    .. math:: p(z) = \sum_{c=1}^C w_c \, N\big(z; m_c, \operatorname{diag}(s_c)^2\big)

    It starts with equal weights, means drawn from N(0, 1/2) and variances of 1/2, so that the whole is about as wide as
    the standard normal and no two components are the same. No deviation falls below 0.001.

    Args:
        latent_dim: D, the size of z.
        num_components: C.

    Reference: Dilokthanakul et al. (2016), "Deep unsupervised clustering with Gaussian mixture variational
    autoencoders", section 3, has such a prior; Tomczak, Welling (2018), "VAE with a VampPrior", section 4.2, learns it
    as here.
    """

    def __init__(self, latent_dim: int, num_components: int = 20) -> None:
        super().__init__(latent_dim, num_components=num_components)
        self.logits = nn.Parameter(torch.zeros(num_components))
        self.loc = nn.Parameter(math.sqrt(0.5) * torch.randn(num_components, latent_dim))
        self.raw_scale = nn.Parameter(
            torch.full((num_components, latent_dim), raw_of_positive(math.sqrt(0.5), SCALE_FLOOR))
        )

    def forward(self) -> dist.TorchDistribution:
        """p(z), a mixture of C normals."""
        components = diagonal_normal(self.loc, positive(self.raw_scale, SCALE_FLOOR))
        return ComponentMixture(components, self.logits.log_softmax(-1))

    @torch.no_grad()
    def start_at_codes(self, z: Tensor) -> None:
        """Start with means at C of the draws of q, shape (M, D), and widths with which C components cover all of them.

        A single component starts with the mean and the deviations of the draws.
        """
        count, size = self.loc.shape
        chosen = torch.linspace(0, len(z) - 1, count).round().long()
        self.loc.copy_(z[chosen.to(z.device)] if count > 1 else z.mean(0, keepdim=True))
        self.raw_scale.copy_(raw_of_positives(z.std(0) * count ** (-1 / size), SCALE_FLOOR).expand(count, size))
