"""The usual guide of a VAE: a normal with independent dimensions, its parameters from an encoder."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Size, Tensor
from torch.nn.functional import softplus

from bayes_vae.distributions import diagonal_normal
from bayes_vae.errors import ShapeError
from bayes_vae.guides.base import SingleLatentGuide
from bayes_vae.networks import mlp

__all__ = ["AmortizedNormalGuide"]

SCALE_FLOOR = 1e-5


class AmortizedNormalGuide(SingleLatentGuide):
    r"""Factorized normal guide; "amortized" because one encoder serves all observations.

    .. math:: q(z \mid x) = N\big(z; m(x), \operatorname{diag}(s(x))^2\big)

    The scale s(x) is a softplus of the encoder's output, one at the start and never below 1e-5.

    Args:
        latent_dim: D, the size of z.
        data_shape: shape of one observation.
        hidden_dims: widths of the encoder's hidden layers, from the data's side.
        activation: name of the activation between layers.

    Reference: Kingma, Welling (2014), "Auto-encoding variational Bayes", eq. 9.
    """

    _scale_offset: Tensor

    def __init__(
        self,
        latent_dim: int,
        data_shape: Sequence[int],
        hidden_dims: Sequence[int] = (200, 200),
        activation: str = "tanh",
    ) -> None:
        super().__init__(
            latent_dim=latent_dim,
            data_shape=tuple(data_shape),
            hidden_dims=tuple(hidden_dims),
            activation=activation,
        )
        self.latent_dim, self.data_shape = latent_dim, Size(data_shape)
        self.encoder = mlp([math.prod(data_shape), *hidden_dims, 2 * latent_dim], activation)
        self.register_buffer("_scale_offset", torch.tensor(math.log(math.e - 1)), persistent=False)

    def variational_posterior(self, x: Tensor) -> dist.TorchDistribution:
        """q(z given x).

        Raises:
            ShapeError: x is not of shape (N, *data_shape).
        """
        if x.shape[1:] != self.data_shape:
            raise ShapeError(
                f"AmortizedNormalGuide takes observations of shape (N, {', '.join(map(str, self.data_shape))}), "
                f"got {tuple(x.shape)}. Reshape x, or build the guide with data_shape={tuple(x.shape[1:])}."
            )
        rows = x.flatten(1) if x.dim() > 1 else x.unsqueeze(1)  # an observation may be a single number
        output = self.encoder(rows.to(self._scale_offset.dtype))
        loc, raw_scale = output.chunk(2, dim=-1)
        return diagonal_normal(loc, softplus(raw_scale + self._scale_offset) + SCALE_FLOOR)
