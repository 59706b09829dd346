"""The coordinates that each observation has, one after another: the space of product rules and grids."""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_vae.estimators.latent_space import LatentSpace

__all__ = ["FreeCoordinates"]


class FreeCoordinates:
    """A :class:`LatentSpace` without what is held: the j-th coordinate is each observation's own j-th free one.

    Args:
        space: of N observations, in D coordinates.

    Attributes:
        places: which coordinate of the space each of these is, shape (N, C); C is the most that an observation has.
        idle: where an observation has fewer, shape (N, C), bool: nothing depends on such a coordinate.
        loc, scale: of the space, shape (N, C).
    """

    def __init__(self, space: LatentSpace) -> None:
        self._space = space
        held = torch.zeros_like(space.loc, dtype=torch.bool) if space.held is None else space.held
        most = max(1, int(space.dimensions.max()))
        self.places = torch.argsort(held.int(), dim=-1, stable=True)[:, :most]
        self.idle, self.loc, self.scale = (part.gather(1, self.places) for part in (held, space.loc, space.scale))

    @property
    def size(self) -> int:
        """C."""
        return self.loc.shape[-1]

    def latents(self, v: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """As :meth:`LatentSpace.latents`, at coordinates of shape (K, N, C)."""
        everything = torch.zeros(*v.shape[:2], self._space.size, dtype=v.dtype, device=v.device)
        return self._space.latents(everything.scatter(-1, self.places.expand(len(v), -1, -1), v))
