"""Encoders and decoders: nothing here knows of Bayes' rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from bayes_vae.errors import SettingsError
from bayes_vae.networks.convolutions import ConvolutionalDecoder, ConvolutionalEncoder
from bayes_vae.networks.layers import ACTIVATIONS, activation_named, glorot
from bayes_vae.parts.registry import find

__all__ = [
    "ACTIVATIONS",
    "decoder_network",
    "encoder_network",
    "mlp",
    "set_output_bias",
]


class _Perceptron(nn.Sequential):
    """Layers over rows: particles and observations are one dimension inside, which spares each layer two views."""

    def forward(self, numbers: Tensor) -> Tensor:
        as_rows = numbers.dim() == 3 and numbers.is_contiguous()
        rows: Tensor = super().forward(numbers.flatten(0, 1) if as_rows else numbers)  # type: ignore[no-untyped-call]
        return rows.reshape(*numbers.shape[:2], rows.shape[-1]) if as_rows else rows


def mlp(sizes: Sequence[int], activation: str) -> nn.Sequential:
    """Linear layers with an activation between them, Glorot-uniform weights and zero biases.

    Args:
        sizes: width of the input, of each hidden layer and of the output.
        activation: one of ``ACTIVATIONS``.

    Returns:
        a network from (*, sizes[0]) to (*, sizes[-1]).

    Raises:
        SettingsError: a width below one, or an unknown activation.

    >>> import torch
    >>> mlp([4, 8, 2], "tanh")(torch.zeros(3, 5, 4)).shape
    torch.Size([3, 5, 2])
    """
    if any(size < 1 for size in sizes):
        raise SettingsError(f"every layer needs a width of at least 1, got {list(sizes)}.")
    make = activation_named(activation)
    layers: list[nn.Module] = []
    for width, next_width in pairwise(sizes):
        layers += [glorot(nn.Linear(width, next_width)), make()]
    return _Perceptron(*layers[:-1])


def encoder_network(
    network: str,
    data_shape: Sequence[int],
    num_outputs: int,
    hidden_dims: Sequence[int],
    activation: str,
    mask_input: bool = False,
) -> nn.Module:
    """A network from rows of P numbers, shape (*batch, P), to (*batch, num_outputs).

    Args:
        network: "mlp", whose hidden_dims are widths, or "conv", whose hidden_dims are channels; from the data's side.
        data_shape: shape of one observation, P numbers in all.
        num_outputs: numbers for each observation.
        hidden_dims, activation: of the hidden layers.
        mask_input: whether rows hold 2 P numbers: P of x, then P that say which of them were observed; for "conv" these
            are further channels.
    """
    if mask_input:
        channels, *sides = data_shape if len(data_shape) == 3 else (1, *data_shape)
        data_shape = (2 * channels, *sides)
    if find("network", network).name == "conv":
        return ConvolutionalEncoder(data_shape, num_outputs, hidden_dims, activation)
    return mlp([math.prod(data_shape), *hidden_dims, num_outputs], activation)


def decoder_network(
    network: str,
    latent_dim: int,
    data_shape: Sequence[int],
    outputs_per_number: int,
    hidden_dims: Sequence[int],
    activation: str,
) -> nn.Module:
    """A network from (*batch, latent_dim) to (*batch, outputs_per_number · P), which mirrors the encoder.

    Args:
        network: as in :func:`encoder_network`.
        latent_dim: size of z.
        data_shape: shape of one observation, P numbers in all.
        outputs_per_number: parameters of the likelihood for each of the P numbers; the first P outputs are the first
            parameter of each.
        hidden_dims, activation: as in :func:`encoder_network`.
    """
    if find("network", network).name == "conv":
        return ConvolutionalDecoder(latent_dim, data_shape, outputs_per_number, hidden_dims, activation)
    return mlp([latent_dim, *reversed(hidden_dims), outputs_per_number * math.prod(data_shape)], activation)


@torch.no_grad()
def set_output_bias(decoder: nn.Module, bias: Tensor) -> None:
    """Give a decoder of :func:`decoder_network` its output bias, as many numbers as it has outputs."""
    own = decoder.output_bias if isinstance(decoder, ConvolutionalDecoder) else decoder[-1].bias  # type: ignore[index]
    own.copy_(bias.flatten().to(own))
