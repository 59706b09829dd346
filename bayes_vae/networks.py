"""Multilayer perceptrons: nothing here knows of Bayes' rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn

from bayes_vae.errors import SettingsError

__all__ = ["ACTIVATIONS", "mlp"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "identity": nn.Identity,
}


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
    if activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise SettingsError(f"unknown activation {activation!r}: choose one of {known}.")
    layers: list[nn.Module] = []
    for width, next_width in pairwise(sizes):
        layers += [_linear(width, next_width), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def _linear(width: int, next_width: int) -> nn.Linear:
    layer = nn.Linear(width, next_width)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
