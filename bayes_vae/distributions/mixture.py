"""The aggregate posterior q(z) = mean_n q(z given x_n) as a mixture over all observations, evaluated exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bayes_vae.errors import NotDefinedError

__all__ = ["DRAWS_AT_ONCE", "GuideMixture", "NormalMixture", "chunk_of_components", "normal_log_density"]

DRAWS_AT_ONCE = 1024
"""Draws that meet the mixture together."""

DENSITIES_AT_ONCE = 2**20
"""Draws times components times dimensions in one pass (8 MiB)."""


@dataclass(frozen=True, eq=False)
class NormalMixture:
    """The N components of q(z), float64, each (N, D)."""

    loc: Tensor
    scale: Tensor

    def log_density(self, z: Tensor, components: slice = slice(None)) -> Tensor:
        """log q(z_d given x_n) for draws (S, 1, D), or (S, N, D) with component n for draw n."""
        loc, scale = self.loc[components], self.scale[components]
        return normal_log_density(z, loc, scale)

    def log_mixture(self, z: Tensor, chunk_size: int | None) -> tuple[Tensor, Tensor]:
        """log q(z) of shape (S,) and log q(z_d) of shape (S, D) for draws (S, D), components chunk by chunk."""
        count = len(self.loc)
        step = chunk_size or max(1, DENSITIES_AT_ONCE // z.numel())
        joint, marginal = z.new_full((len(z),), -torch.inf), torch.full_like(z, -torch.inf)
        for start in range(0, count, step):
            densities = self.log_density(z.unsqueeze(1), slice(start, start + step))
            joint = torch.logaddexp(joint, densities.sum(-1).logsumexp(1))
            marginal = torch.logaddexp(marginal, densities.logsumexp(1))
        return joint - math.log(count), marginal - math.log(count)


def normal_log_density(z: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """log N(z; loc, scale²), dimension by dimension."""
    return ((z - loc) / scale).square().mul(-0.5) - (scale.log() + 0.5 * math.log(2 * math.pi))


@dataclass(frozen=True, eq=False)
class GuideMixture:
    """The N components of q(z) for any q with a density.

    Attributes:
        components: distributions q(z given x_n) of some observations each, in order.
        marginals: the normals q(z_d given x_n); None where a dimension's own density is not known.
        chunk_size: of the marginals.
    """

    components: list[Any]
    marginals: NormalMixture | None
    chunk_size: int | None

    def log_density(self, z: Tensor) -> tuple[Tensor, Tensor | None]:
        """log q(z) and Σ_d log q(z_d), each (S,), for draws (S, *event)."""
        pieces = [self._log_density(piece) for piece in z.split(DRAWS_AT_ONCE)]
        joint = torch.cat([piece[0] for piece in pieces])
        products = [piece[1] for piece in pieces if piece[1] is not None]
        return joint, torch.cat(products) if products else None

    def _log_density(self, z: Tensor) -> tuple[Tensor, Tensor | None]:
        joint = torch.full((len(z),), -torch.inf, dtype=torch.float64, device=z.device)
        count = 0
        for q in self.components:
            size = q.batch_shape[0]
            values = _log_prob(q, z.unsqueeze(1).expand(len(z), size, *z.shape[1:]))
            joint = torch.logaddexp(joint, values.double().logsumexp(1))
            count += size
        product = None
        if self.marginals is not None:
            product = self.marginals.log_mixture(z.double(), self.chunk_size)[1].sum(-1)
        return joint - math.log(count), product


def _log_prob(q: Any, z: Tensor) -> Tensor:
    try:
        values: Tensor = q.log_prob(z)
    except (NotImplementedError, KeyError) as error:
        raise NotDefinedError(
            f"log q(z given x) of {type(q).__name__} is known at its own draws only (a flow without an inverse), and "
            "the aggregate posterior needs it at those of every other observation. Use a guide whose log_prob takes "
            "any z."
        ) from error
    return values


def chunk_of_components(numbers: int) -> int:
    """Components at once, of so many numbers each."""
    return max(1, DENSITIES_AT_ONCE // (DRAWS_AT_ONCE * numbers))
