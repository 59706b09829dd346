"""A prior of any shape: a normal, bent by learned transforms."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.transforms import AffineCoupling, Spline
from pyro.nn import DenseNN
from torch import Tensor, nn
from torch.distributions import AffineTransform

from bayes_vae.distributions import diagonal_normal
from bayes_vae.distributions.flow_transform import FlowTransform
from bayes_vae.distributions.positive import positive, raw_of_positive, raw_of_positives
from bayes_vae.models.priors.prior import SCALE_FLOOR, Prior

__all__ = ["FlowPrior"]

HIDDEN = 64
"""Width of the networks behind a coupling."""

SMALL = 0.1
"""Factor on the weights behind a transform's parameters, so that it starts near the identity."""


class FlowPrior(Prior):
    r"""A normalizing flow: z = s · f(ε) + m with ε standard normal and f invertible.

    .. math:: \log p(z) = \log N(\epsilon; 0, I) - \log \Big| \det \frac{\partial z}{\partial \epsilon} \Big|

    f is made of affine couplings (RealNVP), whose two directions are equally cheap: draws need one, the density of the
    guide's draws the other. A coupling shifts and rescales one half of the dimensions by a network of the other half.
    In one dimension there is no other half, and f is a monotone rational spline. The start is near the standard normal.

    Args:
        latent_dim: D, the size of z.
        num_transforms: T; each moves both halves once.

    Reference: Dinh, Sohl-Dickstein, Bengio (2017), "Density estimation using Real NVP", eqs. 7 and 8; one dimension:
    Dolatabadi, Erfani, Leckie (2020), "Invertible generative modeling using linear rational splines"; as a prior:
    Xu et al. (2019), "On the necessity and effectiveness of learning the prior of variational auto-encoder".
    """

    base_loc: Tensor
    base_scale: Tensor

    def __init__(self, latent_dim: int, num_transforms: int = 2) -> None:
        super().__init__(latent_dim, num_transforms=num_transforms)
        self.steps = nn.ModuleList([step for _ in range(num_transforms) for step in _transform(latent_dim)])
        self.loc = nn.Parameter(torch.zeros(latent_dim))
        self.raw_scale = nn.Parameter(torch.full((latent_dim,), raw_of_positive(1.0, SCALE_FLOOR)))
        self.register_buffer("base_loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("base_scale", torch.ones(latent_dim), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        """p(z), a transformed normal."""
        placed = AffineTransform(self.loc, positive(self.raw_scale, SCALE_FLOOR), event_dim=1)
        base = diagonal_normal(self.base_loc, self.base_scale)
        transforms = [FlowTransform(list(self.steps)), placed]
        flow: dist.TorchDistribution = dist.TransformedDistribution(base, transforms, validate_args=False)
        return flow

    @torch.no_grad()
    def start_at_codes(self, z: Tensor) -> None:
        """Start with the mean and the deviations of draws of q, shape (M, D)."""
        self.loc.copy_(z.mean(0))
        self.raw_scale.copy_(raw_of_positives(z.std(0), SCALE_FLOOR))


def _transform(size: int) -> list[Any]:
    """The steps that move each dimension once; before the second the order is reversed, so it keeps what has moved."""
    if size == 1:
        return [_spline()]
    return [_coupling(size, size // 2), _coupling(size, size - size // 2)]


def _coupling(size: int, kept: int) -> Any:
    network = DenseNN(kept, [HIDDEN], [size - kept, size - kept], nonlinearity=nn.Tanh())
    last: Any = network.layers[-1]
    with torch.no_grad():
        last.weight.mul_(SMALL)
        last.bias.zero_()
    return AffineCoupling(kept, network)


def _spline() -> Any:
    spline = Spline(1)
    with torch.no_grad():
        for parameter in spline.parameters():
            parameter.mul_(SMALL)
        spline.unnormalized_derivatives.add_(raw_of_positive(1.0, SCALE_FLOOR))
    return spline
