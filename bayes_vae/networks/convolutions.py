"""Convolutional encoders and decoders of images, which take any leading dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from bayes_vae.errors import SettingsError, ShapeError
from bayes_vae.networks.layers import activation_named, glorot

__all__ = ["ConvolutionalDecoder", "ConvolutionalEncoder"]


def _image_shape(data_shape: Sequence[int]) -> tuple[int, int, int]:
    """Channels, height and width.

    Raises:
        ShapeError: an observation that is no image.
    """
    shape = tuple(data_shape)
    if len(shape) not in (2, 3):
        raise ShapeError(
            f"a convolutional network takes images, of shape (height, width) or (channels, height, width), but an "
            f"observation has shape {shape}. Choose network 'mlp', or reshape the data."
        )
    channels, height, width = (1, *shape) if len(shape) == 2 else shape
    return channels, height, width


def _sizes(image: tuple[int, int, int], channels: Sequence[int]) -> list[tuple[int, int]]:
    """Height and width before the first layer and after each; every layer halves them, rounding up.

    Raises:
        SettingsError: no layer, or one without channels.
    """
    if not channels:
        raise SettingsError("a convolutional network needs at least one hidden layer: give hidden_dims its channels.")
    if any(count < 1 for count in channels):
        raise SettingsError(f"every layer needs at least 1 channel, got {list(channels)}.")
    sizes = [image[1:]]
    for _ in channels:
        height, width = sizes[-1]
        sizes.append((-(-height // 2), -(-width // 2)))
    return sizes


class ConvolutionalEncoder(nn.Module):
    """Images to numbers: convolutions that halve the image, then one linear layer.

    Args:
        data_shape: (height, width) or (channels, height, width).
        num_outputs: numbers for each image.
        hidden_dims: channels after each convolution, from the data's side.
        activation: name of the activation.

    >>> ConvolutionalEncoder((8, 8), 6, (4, 8), "relu")(torch.zeros(3, 64)).shape
    torch.Size([3, 6])
    """

    def __init__(
        self, data_shape: Sequence[int], num_outputs: int, hidden_dims: Sequence[int], activation: str
    ) -> None:
        super().__init__()
        self._image = _image_shape(data_shape)
        height, width = _sizes(self._image, hidden_dims)[-1]
        make = activation_named(activation)
        layers: list[nn.Module] = []
        for channels, next_channels in pairwise([self._image[0], *hidden_dims]):
            layers += [glorot(nn.Conv2d(channels, next_channels, 3, stride=2, padding=1)), make()]
        self.convolutions = nn.Sequential(*layers)
        self.output = glorot(nn.Linear(hidden_dims[-1] * height * width, num_outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Rows of pixels, shape (*batch, P), to shape (*batch, num_outputs)."""
        images = x.reshape(-1, *self._image)
        hidden = self.convolutions(images).flatten(1)
        numbers: Tensor = self.output(hidden)
        return numbers.reshape(*x.shape[:-1], -1)


class ConvolutionalDecoder(nn.Module):
    """Numbers to images: one linear layer, then transposed convolutions that double the image.

    Args:
        latent_dim: numbers in.
        data_shape: (height, width) or (channels, height, width).
        outputs_per_number: images out, one below the other.
        hidden_dims: channels of the encoder's convolutions from the data's side, which are mirrored here.
        activation: name of the activation.

    >>> ConvolutionalDecoder(2, (5, 7), 1, (4, 8), "relu")(torch.zeros(10, 3, 2)).shape
    torch.Size([10, 3, 35])
    """

    def __init__(
        self,
        latent_dim: int,
        data_shape: Sequence[int],
        outputs_per_number: int,
        hidden_dims: Sequence[int],
        activation: str,
    ) -> None:
        super().__init__()
        self._image = _image_shape(data_shape)
        self._outputs = outputs_per_number
        sizes = _sizes(self._image, hidden_dims)[::-1]
        make = activation_named(activation)
        self._first = (hidden_dims[-1], *sizes[0])
        self.input = glorot(nn.Linear(latent_dim, math.prod(self._first)))
        channels = [*reversed(hidden_dims), outputs_per_number * self._image[0]]
        layers: list[nn.Module] = []
        for (size, next_size), (width, next_width) in zip(pairwise(sizes), pairwise(channels), strict=True):
            even = (next_size[0] - (2 * size[0] - 1), next_size[1] - (2 * size[1] - 1))
            layers += [make(), glorot(nn.ConvTranspose2d(width, next_width, 3, 2, padding=1, output_padding=even))]
        self.convolutions = nn.Sequential(*layers)
        self.output_bias = nn.Parameter(torch.zeros(outputs_per_number * math.prod(self._image)))

    def forward(self, z: Tensor) -> Tensor:
        """Shape (*batch, latent_dim) to (*batch, outputs_per_number · P)."""
        hidden = self.input(z.reshape(-1, z.shape[-1])).reshape(-1, *self._first)
        images: Tensor = self.convolutions(hidden)
        return (images.flatten(1) + self.output_bias).reshape(*z.shape[:-1], -1)
