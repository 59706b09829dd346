"""The guide of two stochastic layers, from the bottom up."""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
from torch import Size, Tensor

from bayes_vae.distributions.normal_outputs import normal_of_outputs
from bayes_vae.guides.guide import Guide
from bayes_vae.guides.observation_rows import observation_rows
from bayes_vae.networks.perceptron import mlp

__all__ = ["TwoLayerNormalGuide"]


class TwoLayerNormalGuide(Guide):
    r"""Factorized normals, z1 from x and z2 from z1.

    .. math:: q(z_1, z_2 \mid x) = q(z_1 \mid x) \, q(z_2 \mid z_1), \quad
        q(z_1 \mid x) = N\big(m(x), \operatorname{diag}(s(x))^2\big), \quad
        q(z_2 \mid z_1) = N\big(m'(z_1), \operatorname{diag}(s'(z_1))^2\big)

    That z2 is drawn from z1 alone costs nothing in itself: in the model z2 and x are independent given z1, so the exact
    posterior factorizes in the same way.

    Args:
        latent_dim: size of z1.
        top_latent_dim: size of z2.
        data_shape: shape of one observation.
        hidden_dims: widths of the hidden layers between x and z1, from the data's side.
        top_hidden_dims: widths of the hidden layers between z1 and z2, from z1's side.
        activation: name of the activation between layers.
        mask_input: whether the encoder reads which numbers of x were observed, beside x with 0 where one is missing.

    Reference: Burda, Grosse, Salakhutdinov (2016), "Importance weighted autoencoders", section 2 and appendix C.
    """

    def __init__(
        self,
        latent_dim: int,
        top_latent_dim: int,
        data_shape: Sequence[int],
        hidden_dims: Sequence[int] = (200, 200),
        top_hidden_dims: Sequence[int] = (100, 100),
        activation: str = "tanh",
        mask_input: bool = False,
    ) -> None:
        super().__init__(
            latent_dim=latent_dim,
            top_latent_dim=top_latent_dim,
            data_shape=tuple(data_shape),
            hidden_dims=tuple(hidden_dims),
            top_hidden_dims=tuple(top_hidden_dims),
            activation=activation,
            mask_input=mask_input,
        )
        self.data_shape = Size(data_shape)
        self.encoder = mlp([self.input_size, *hidden_dims, 2 * latent_dim], activation)
        self.top_encoder = mlp([latent_dim, *top_hidden_dims, 2 * top_latent_dim], activation)

    def first_layer(self, x: Tensor) -> dist.TorchDistribution:
        """q(z1 given x); batch shape (N,), event shape (latent_dim,).

        Raises:
            ShapeError: x is not of shape (N, *data_shape).
        """
        dtype = next(self.encoder.parameters()).dtype
        return normal_of_outputs(self.encoder(observation_rows(self, x, dtype)))

    def top_layer(self, z1: Tensor) -> dist.TorchDistribution:
        """q(z2 given z1) for z1 of shape (*batch, latent_dim); event shape (top_latent_dim,)."""
        return normal_of_outputs(self.top_encoder(z1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The Pyro program of q(z1, z2 given x).

        Args:
            x: observations, shape (N, *data_shape).

        Returns:
            one draw of z1, shape (N, latent_dim), and of z2, shape (N, top_latent_dim).
        """
        with pyro.plate("data", len(x), dim=-1):
            z1 = pyro.sample("z1", self.first_layer(x))
            return z1, pyro.sample("z2", self.top_layer(z1))
