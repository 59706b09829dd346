"""The latents of a pair as one unconstrained vector for each observation, whitened by the guide's own scales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Transform, biject_to
from torch.distributions.constraints import Constraint

from bayes_vae.errors import NotDefinedError
from bayes_vae.terms.opened import Batch
from bayes_vae.terms.randomness import KeyedNoise, derived_seed, isolated_rng
from bayes_vae.terms.stream import BoundBatch

__all__ = ["LatentSpace", "fixed_supports", "pilot_draws", "whitened_space"]


class _Part(NamedTuple):
    """One site within the vector."""

    name: str
    transform: Transform
    shape: torch.Size
    size: int


class LatentSpace:
    r"""Coordinates v with z = T(m + s A v), site by site; T maps unconstrained numbers into each site's support.

    Attributes:
        loc, scale: m and s of each observation, shape (N, D).
        mixing: A of each observation, shape (N, D, D); None stands for the identity.
    """

    def __init__(self, parts: list[_Part], loc: Tensor, scale: Tensor, mixing: Tensor | None = None) -> None:
        self._parts, self.loc, self.scale, self.mixing = parts, loc, scale, mixing
        self._log_det = scale.log().sum(-1)
        if mixing is not None:
            self._log_det = self._log_det + torch.linalg.slogdet(mixing).logabsdet

    @property
    def size(self) -> int:
        """D, over all sites."""
        return self.loc.shape[-1]

    @classmethod
    def join(cls, spaces: Sequence[LatentSpace]) -> LatentSpace:
        """The observations of several spaces of the same sites, one after another."""
        loc, scale = (torch.cat([getattr(space, name) for space in spaces]) for name in ("loc", "scale"))
        mixings = [space.mixing for space in spaces if space.mixing is not None]
        return cls(spaces[0]._parts, loc, scale, torch.cat(mixings) if mixings else None)

    def rows(self, rows: Tensor | slice) -> LatentSpace:
        """Some observations."""
        mixing = None if self.mixing is None else self.mixing[rows]
        return LatentSpace(self._parts, self.loc[rows], self.scale[rows], mixing)

    def unwhitened(self) -> LatentSpace:
        """The same sites, v being the unconstrained numbers themselves."""
        return LatentSpace(self._parts, torch.zeros_like(self.loc), torch.ones_like(self.scale))

    def where(self, taken: Tensor, other: LatentSpace) -> LatentSpace:
        """The other space for the observations that take it, shape (N,), bool; of the same scale, both with an A."""
        rows = taken.unsqueeze(-1)
        mine, others = self.mixing, other.mixing
        assert mine is not None, "a fitted space has one"
        assert others is not None, "a fitted space has one"
        loc, mixing = torch.where(rows, other.loc, self.loc), torch.where(rows.unsqueeze(-1), others, mine)
        return LatentSpace(self._parts, loc, self.scale, mixing)

    def latents(self, v: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Latents at coordinates v of shape (K, N, D), and log |dz/dv| of shape (K, N)."""
        u, log_det = self.unconstrained(v)
        values = {}
        for part, piece in zip(self._parts, u.split([part.size for part in self._parts], dim=-1), strict=True):
            unconstrained = piece.reshape(*piece.shape[:2], *part.shape)
            values[part.name] = part.transform(unconstrained)
            jacobian = part.transform.log_abs_det_jacobian(unconstrained, values[part.name])
            log_det = log_det + jacobian.reshape(*u.shape[:2], -1).sum(-1)
        return values, log_det

    @classmethod
    def chosen(cls, spaces: Sequence[LatentSpace], which: Tensor) -> LatentSpace:
        """A space for each particle of each observation, among several of the same scale; ``which`` of shape (K, N)."""
        rows = torch.arange(which.shape[1], device=which.device).expand_as(which)
        loc = torch.stack([space.loc for space in spaces])[which, rows]
        mixing = torch.stack([space.mixing for space in spaces if space.mixing is not None])[which, rows]
        return cls(spaces[0]._parts, loc, spaces[0].scale, mixing)

    def unconstrained(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Unconstrained numbers u = m + s A v at coordinates v, both (K, N, D), and log |du/dv| of shape (K, N)."""
        if self.mixing is not None and self.mixing.dim() == 4:
            v = (self.mixing @ v.unsqueeze(-1)).squeeze(-1)
        elif self.mixing is not None:
            v = torch.bmm(v.transpose(0, 1), self.mixing.mT).transpose(0, 1)
        u = self.loc + self.scale * v
        return u, self._log_det.expand(u.shape[:2])

    def whitened(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates v of unconstrained numbers, both (K, N, D), and log |du/dv| of shape (K, N)."""
        v = (u - self.loc) / self.scale
        if self.mixing is not None:
            v = torch.linalg.solve(self.mixing, v.permute(1, 2, 0)).permute(2, 0, 1)
        return v, self._log_det.expand(v.shape[:2])

    def coordinates(self, latents: dict[str, Tensor]) -> Tensor:
        """Coordinates of latents, each of shape (K, N, *rest); shape (K, N, D)."""
        return self.whitened(_flatten(self._parts, latents))[0]

    def refitted(self, means: Tensor, mixing: Tensor) -> LatentSpace:
        """The space with its origin at coordinates ``means``, (N, D), of this one, and its A times the one given."""
        if self.mixing is not None:
            means = (self.mixing @ means.unsqueeze(-1)).squeeze(-1)
            mixing = self.mixing @ mixing
        return LatentSpace(self._parts, self.loc + self.scale * means, self.scale, mixing)


def whitened_space(batch: BoundBatch, draws: dict[str, Tensor]) -> LatentSpace:
    """The space whose origin and scales are the mean and deviation of some draws, observation by observation.

    Args:
        batch: gives the support of each site.
        draws: site → (K, N, *rest), K of at least 2.

    Raises:
        NotDefinedError: a discrete latent, or one whose support depends on another.
    """
    parts = []
    for name, support in fixed_supports(batch).items():
        if support.is_discrete:
            raise NotDefinedError(
                f"latent site {name!r} is discrete: annealing moves along gradients and needs continuous latents. "
                "Use estimate_log_evidence, or marginalize the site in the model."
            )
        transform = biject_to(support)
        shape = transform.inv(draws[name]).shape[2:]
        parts.append(_Part(name, transform, shape, math.prod(shape)))
    u = _flatten(parts, draws)
    scale = u.std(0).clamp(min=1e-6)
    return LatentSpace(parts, u.mean(0), scale)


def fixed_supports(batch: BoundBatch) -> dict[str, Constraint]:
    """Where each latent lives, whatever the others are.

    Raises:
        NotDefinedError: a support that differs between two draws of the model.
    """
    supports, again = batch.supports(), batch.supports()
    for name, support in supports.items():
        if not _same(support, again[name]):
            raise NotDefinedError(
                f"the support of latent site {name!r} depends on another latent, as that of Uniform(0, a) does: one "
                "map from unconstrained numbers has to serve all draws. Sample a site of fixed support and transform "
                "it in the model, as a * u with u uniform on (0, 1), or use estimate_log_evidence with the guide "
                "itself."
            )
    return supports


def _same(first: Any, second: Any) -> bool:
    """Whether two constraints have the same parts and bounds."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.equal(first, second)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(_same, first, second))
    if type(first) is not type(second):
        return False
    if isinstance(first, Constraint):
        parts, others = vars(first), vars(second)
        return parts.keys() == others.keys() and all(_same(part, others[name]) for name, part in parts.items())
    return bool(first == second)


def pilot_draws(batch: Batch, count: int, purpose: str) -> dict[str, Tensor]:
    """Draws of the guide, of which no weight is taken."""
    seed = derived_seed(batch.seed, purpose)
    if batch.keyed:
        return batch.bound.draw(range(count), KeyedNoise(seed)).latents
    with isolated_rng(derived_seed(seed, batch.number), batch.index.device):
        return batch.bound.draw(range(count), None).latents


def _flatten(parts: list[_Part], latents: dict[str, Tensor]) -> Tensor:
    pieces = [part.transform.inv(latents[part.name]) for part in parts]
    return torch.cat([piece.reshape(*piece.shape[:2], -1) for piece in pieces], dim=-1)
