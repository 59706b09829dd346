"""The parts that networks are made of: activations, and how layers start."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

from bayes_vae.errors import SettingsError

__all__ = ["ACTIVATIONS", "activation_named", "glorot"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "identity": nn.Identity,
}

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def activation_named(name: str) -> Callable[[], nn.Module]:
    """The maker of an activation.

    Raises:
        SettingsError: lists those there are; of batch norm it says why there is none.
    """
    if name.lower().replace("-", "").replace("_", "") in ("batchnorm", "bn"):
        raise SettingsError(f"activation {name!r}: {NO_BATCH_NORM}")
    if name not in ACTIVATIONS:
        raise SettingsError(f"unknown activation {name!r}: choose one of {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]


NO_BATCH_NORM = (
    "batch norm ties the observations of a batch together, so that log p(x given z) and log q(z given x) of one "
    "observation depend on the others, and terms per observation mean nothing. Use layer norm or group norm, or none."
)
"""Why networks of a pair have no batch norm."""


def glorot(layer: Layer) -> Layer:
    """Glorot-uniform weights and zero biases."""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
