"""What a reference pair is, and the integrals and numbers that several are made of. Plain torch, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Parts", "ReferencePair", "cosines", "log_integral", "log_normal", "waves"]


class Parts(NamedTuple):
    """What the file of a pair says of it; the observations and log p(x) are frozen beside it.

    Attributes:
        about: what is hard, a sentence.
        model, guide: Pyro programs.
        exact: the observations → log p(x), shape (N,), by ``truth``.
        truth: how log p(x) is found, a sentence.
        dimensions: D, of unconstrained coordinates; 0 for discrete latents.
        dtype: of the observations and the programs.
    """

    about: str
    model: Any
    guide: Any
    exact: Callable[..., Tensor]
    truth: str
    dimensions: int
    dtype: torch.dtype = torch.float64


@dataclass(frozen=True, eq=False)
class ReferencePair:
    """A model, a guide, observations, and log p(x) of each as it truly is.

    Attributes:
        name: of the pair.
        about: what is hard in it.
        model, guide: Pyro programs of p(x, z) and q(z given x).
        x: observations, shape (N, P); a tuple of tensors where the programs take several.
        log_evidence: log p(x), shape (N,), float64, nats; right to ``error``.
        truth: how it was found.
        exact: the function that finds it, for other observations of the same shape.
        latent_dim: D, of unconstrained coordinates; 0 for discrete latents.
    """

    name: str
    about: str
    model: Any
    guide: Any
    x: Tensor | tuple[Tensor, ...]
    log_evidence: Tensor
    truth: str
    exact: Callable[..., Tensor]
    latent_dim: int

    error = 1e-8
    """Nats within which every log p(x) is known."""

    @property
    def discrete(self) -> bool:
        """Whether the latents are discrete."""
        return self.latent_dim == 0

    @property
    def observations(self) -> tuple[Tensor, ...]:
        """The arguments of the programs."""
        return self.x if isinstance(self.x, tuple) else (self.x,)


def log_normal(value: Tensor, loc: Tensor | float, scale: Tensor | float) -> Tensor:
    """log N(value; loc, scale²), elementwise."""
    scale = torch.as_tensor(scale, dtype=torch.float64)
    return -0.5 * ((value - loc) / scale).square() - scale.log() - 0.5 * math.log(2 * math.pi)


def log_integral(log_density: Callable[[Tensor], Tensor], width: float, points: int = 20_001) -> Tensor:
    r"""Logarithm of an integral over the line, by the trapezoidal rule.

    .. math:: \log \int f(z) \, dz \approx \log \sum_i f(z_i) \, h, \quad z_i = -w, -w + h, \dots, w

    The rule converges exponentially for an analytic f that has vanished at the ends.

    Args:
        log_density: nodes, shape (points, 1) → log f, shape (points, N).
        width: w; f(±w) is zero to rounding.

    Returns:
        shape (N,).

    Reference: Trefethen, Weideman (2014), "The exponentially convergent trapezoidal rule".
    """
    nodes = torch.linspace(-width, width, points, dtype=torch.float64)
    return torch.logsumexp(log_density(nodes.unsqueeze(-1)), 0) + math.log(2 * width / (points - 1))


def waves(rows: int, columns: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """A matrix of numbers between −1 and 1 that are written down and look drawn: sin(1 + 1.7 i + 0.9 (i + 1) j²)."""
    i = torch.arange(rows, dtype=torch.float64).unsqueeze(-1)
    j = torch.arange(columns, dtype=torch.float64)
    return torch.sin(1 + 1.7 * i + 0.9 * (i + 1) * j**2).to(dtype)


def cosines(size: int) -> Tensor:
    """An orthogonal matrix that mixes every dimension with every other: the discrete cosine transform."""
    i = torch.arange(size, dtype=torch.float64).unsqueeze(-1)
    j = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi / size * (j + 0.5) * i) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix
