"""What guides with an encoder share: the network, and a look at the shape of x."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Size, Tensor

from bayes_vae.guides.guide import SingleLatentGuide
from bayes_vae.guides.observation_rows import observation_rows
from bayes_vae.networks.perceptron import encoder_network

__all__ = ["AmortizedGuide"]


class AmortizedGuide(SingleLatentGuide):
    """A guide whose q(z given x) is a function of one encoder's output; "amortized": it serves all observations.

    Args:
        latent_dim: D, the size of z.
        data_shape: shape of one observation.
        hidden_dims: widths (of ``conv``: channels) of the encoder's hidden layers, from the data's side.
        activation: name of the activation between layers.
        network: "mlp" or "conv".
        mask_input: whether the encoder reads which numbers of x were observed, beside x with 0 where one is missing.
        num_outputs: numbers that the encoder outputs for each observation.
        **options: further arguments of the subclass, from which it is built again.
    """

    def __init__(
        self,
        latent_dim: int,
        data_shape: Sequence[int],
        hidden_dims: Sequence[int],
        activation: str,
        network: str,
        *,
        num_outputs: int,
        mask_input: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(
            latent_dim=latent_dim,
            data_shape=tuple(data_shape),
            hidden_dims=tuple(hidden_dims),
            activation=activation,
            network=network,
            mask_input=mask_input,
            **options,
        )
        self.latent_dim, self.data_shape = latent_dim, Size(data_shape)
        self.encoder = encoder_network(network, data_shape, num_outputs, hidden_dims, activation, mask_input)

    def encode(self, x: Tensor) -> Tensor:
        """The encoder's output, shape (N, num_outputs).

        Raises:
            ShapeError: x is not of shape (N, *data_shape).
        """
        dtype = next(self.encoder.parameters()).dtype
        output: Tensor = self.encoder(observation_rows(self, x, dtype))
        return output
