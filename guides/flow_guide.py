"""What flow guides share: a normal of the encoder's, its noise first bent by transforms that the encoder steers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from bayes_vae.distributions import diagonal_normal
from bayes_vae.distributions.flow_transform import PlacedFlow
from bayes_vae.distributions.normal_outputs import positive_scale
from bayes_vae.errors import SettingsError
from bayes_vae.guides.amortized import AmortizedGuide

__all__ = ["FlowGuide"]

SMALL = 0.1
"""Factor on the weights behind a transform's parameters, so that it starts near the identity."""


class FlowGuide(AmortizedGuide):
    r"""A guide that need not be a normal: z = m(x) + s(x) f(ε; h(x)) with ε standard normal and f invertible.

    .. math:: \log q(z \mid x) = \log N(\epsilon; 0, I) - \sum_d \log s_d(x)
        - \log \Big| \det \frac{\partial f}{\partial \epsilon} \Big|

    m, s and h are outputs of one encoder. f starts near the identity, so the guide starts as
    :class:`AmortizedNormalGuide`. Draws, and the density at draws, are fast; the density at any other z inverts f,
    which takes D passes of its networks one after another.

    Args:
        latent_dim: D, the size of z.
        data_shape: shape of one observation.
        hidden_dims: widths (of ``conv``: channels) of the encoder's hidden layers, from the data's side.
        activation: name of the activation between layers.
        network: "mlp" or "conv".
        num_transforms: T, transforms one after another, the order of the dimensions reversed between two of them.
        context_dim: size of h(x).
        mask_input: whether the encoder reads which numbers of x were observed, beside x with 0 where one is missing.

    Raises:
        SettingsError: no transform, or too few dimensions.
    """

    base_loc: Tensor
    base_scale: Tensor

    def __init__(
        self,
        latent_dim: int,
        data_shape: Sequence[int],
        hidden_dims: Sequence[int] = (200, 200),
        activation: str = "tanh",
        network: str = "mlp",
        num_transforms: int = 2,
        context_dim: int = 16,
        mask_input: bool = False,
    ) -> None:
        for name, value in (("num_transforms", num_transforms), ("context_dim", context_dim)):
            if value < 1:
                raise SettingsError(f"{name} must be at least 1, got {value}.")
        super().__init__(
            latent_dim,
            data_shape,
            hidden_dims,
            activation,
            network,
            num_outputs=2 * latent_dim + context_dim,
            num_transforms=num_transforms,
            context_dim=context_dim,
            mask_input=mask_input,
        )
        self.context_dim = context_dim
        self.steps = nn.ModuleList([self._step(latent_dim, context_dim) for _ in range(num_transforms)])
        self.register_buffer("base_loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("base_scale", torch.ones(latent_dim), persistent=False)

    @abstractmethod
    def _step(self, latent_dim: int, context_dim: int) -> Any:
        """One of Pyro's conditional transforms, near the identity."""

    def variational_posterior(self, x: Tensor) -> dist.TorchDistribution:
        """q(z given x), a transformed normal.

        Raises:
            ShapeError: x is not of shape (N, *data_shape).
        """
        size = self.latent_dim
        loc, raw_scale, context = self.encode(x).split([size, size, self.context_dim], dim=-1)
        steps: Any = self.steps
        flow = PlacedFlow([step.condition(context) for step in steps], loc, positive_scale(raw_scale))
        base = diagonal_normal(self.base_loc.expand_as(loc), self.base_scale.expand_as(loc))
        q: dist.TorchDistribution = dist.TransformedDistribution(base, [flow], validate_args=False)
        return q


@torch.no_grad()
def shrink(layer: Any) -> None:
    """Make a last layer output numbers near zero."""
    layer.weight.mul_(SMALL)
    layer.bias.zero_()
