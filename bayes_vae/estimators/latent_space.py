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
from bayes_vae.terms.masks import Masked
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

    Numbers of z that an observation does not have, because they are masked, are held where a draw of the guide put
    them: v is 0 there, nothing moves along it, and neither it nor z counts in a density, a dimension or |dz/dv|. Each
    observation has its own.

    Attributes:
        loc, scale: m and s of each observation, shape (N, D).
        mixing: A of each observation, shape (N, D, D), block by block the identity where z is held; None stands for
            the identity everywhere.
        held: where z is held, shape (N, D), bool; None where all of it is free.
    """

    def __init__(
        self,
        parts: list[_Part],
        loc: Tensor,
        scale: Tensor,
        mixing: Tensor | None = None,
        held: Tensor | None = None,
    ) -> None:
        self._parts, self.loc, self.scale, self.held = parts, loc, scale, held
        self.mixing = None if mixing is None else self.of_free(mixing)
        self._log_det = self.moving(scale.log()).sum(-1)
        if self.mixing is not None:
            self._log_det = self._log_det + torch.linalg.slogdet(self.mixing).logabsdet

    @property
    def size(self) -> int:
        """D, over all sites."""
        return self.loc.shape[-1]

    @property
    def dimensions(self) -> Tensor:
        """How many of the D numbers are free, shape (N,), in float64."""
        free = torch.ones_like(self.loc) if self.held is None else ~self.held
        return free.sum(-1, dtype=torch.float64)

    def moving(self, values: Tensor) -> Tensor:
        """Values (…, N, D), zero where z is held: noise that moves nothing there."""
        return values if self.held is None else values.masked_fill(self.held, 0.0)

    def of_free(self, matrices: Tensor) -> Tensor:
        """Matrices (N, D, D) that act on what is free and leave what is held as it is."""
        if self.held is None:
            return matrices
        same = torch.eye(self.size).to(matrices)
        return torch.where(self.held.unsqueeze(-1) | self.held.unsqueeze(-2), same, matrices)

    @classmethod
    def join(cls, spaces: Sequence[LatentSpace]) -> LatentSpace:
        """The observations of several spaces of the same sites, one after another."""
        loc, scale = (torch.cat([getattr(space, name) for space in spaces]) for name in ("loc", "scale"))
        mixings = [space.mixing for space in spaces if space.mixing is not None]
        held = [torch.zeros_like(space.loc, dtype=torch.bool) if space.held is None else space.held for space in spaces]
        anything = any(space.held is not None for space in spaces)
        return cls(
            spaces[0]._parts,
            loc,
            scale,
            torch.cat(mixings) if mixings else None,
            torch.cat(held) if anything else None,
        )

    def rows(self, rows: Tensor | slice) -> LatentSpace:
        """Some observations."""
        mixing, held = (None if part is None else part[rows] for part in (self.mixing, self.held))
        return LatentSpace(self._parts, self.loc[rows], self.scale[rows], mixing, held)

    def unwhitened(self) -> LatentSpace:
        """The same sites, v being the unconstrained numbers themselves; what is held stays where it is."""
        loc = torch.zeros_like(self.loc) if self.held is None else torch.where(self.held, self.loc, 0.0)
        return LatentSpace(self._parts, loc, torch.ones_like(self.scale), held=self.held)

    def where(self, taken: Tensor, other: LatentSpace) -> LatentSpace:
        """The other space for the observations that take it, shape (N,), bool; of the same scale, both with an A."""
        rows = taken.unsqueeze(-1)
        mine, others = self.mixing, other.mixing
        assert mine is not None, "a fitted space has one"
        assert others is not None, "a fitted space has one"
        loc, mixing = torch.where(rows, other.loc, self.loc), torch.where(rows.unsqueeze(-1), others, mine)
        return LatentSpace(self._parts, loc, self.scale, mixing, self.held)

    def with_rows(self, rows: Tensor, other: LatentSpace) -> LatentSpace:
        """The space with other coordinates of some observations, shape (M,); of the same scales, both with an A."""
        assert self.mixing is not None, "a fitted space has one"
        assert other.mixing is not None, "a fitted space has one"
        loc, mixing = self.loc.index_copy(0, rows, other.loc), self.mixing.index_copy(0, rows, other.mixing)
        return LatentSpace(self._parts, loc, self.scale, mixing, self.held)

    def rescaled(self, means: Tensor, factors: Tensor) -> LatentSpace:
        """A space without an A with its origin at coordinates ``means`` and its scales times ``factors``, (N, D)."""
        scale = self.scale * (factors if self.held is None else factors.masked_fill(self.held, 1.0))
        return LatentSpace(self._parts, self.loc + self.scale * self.moving(means), scale, held=self.held)

    def with_scales(self, taken: Tensor, other: LatentSpace) -> LatentSpace:
        """The other space for the observations that take it, shape (N,), bool; both without an A."""
        rows = taken.unsqueeze(-1)
        loc, scale = (torch.where(rows, new, old) for new, old in ((other.loc, self.loc), (other.scale, self.scale)))
        return LatentSpace(self._parts, loc, scale, held=self.held)

    def latents(self, v: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Latents at coordinates v of shape (K, N, D), and log |dz/dv| of shape (K, N)."""
        u, log_det = self.unconstrained(v)
        values, start = {}, 0
        for part in self._parts:
            here = slice(start, start := start + part.size)
            unconstrained = u[..., here].reshape(*u.shape[:2], *part.shape)
            values[part.name] = part.transform(unconstrained)
            jacobian = part.transform.log_abs_det_jacobian(unconstrained, values[part.name])
            jacobian = jacobian.reshape(*u.shape[:2], -1)
            if self.held is not None:  # all numbers behind one value of the jacobian are held, or none
                held = self.held[:, here].reshape(len(self.held), jacobian.shape[-1], -1)[..., 0]
                jacobian = jacobian.masked_fill(held, 0.0)
            log_det = log_det + jacobian.sum(-1)
        return values, log_det

    @classmethod
    def chosen(cls, spaces: Sequence[LatentSpace], which: Tensor) -> LatentSpace:
        """A space for each particle of each observation, among several of the same scale; ``which`` of shape (K, N)."""
        rows = torch.arange(which.shape[1], device=which.device).expand_as(which)
        loc = torch.stack([space.loc for space in spaces])[which, rows]
        mixing = torch.stack([space.mixing for space in spaces if space.mixing is not None])[which, rows]
        return cls(spaces[0]._parts, loc, spaces[0].scale, mixing, spaces[0].held)

    def unconstrained(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Unconstrained numbers u = m + s A v at coordinates v, both (K, N, D), and log |du/dv| of shape (K, N)."""
        v = self.moving(v)
        if self.mixing is not None and self.mixing.dim() == 4:
            v = (self.mixing @ v.unsqueeze(-1)).squeeze(-1)
        elif self.mixing is not None:
            v = torch.bmm(v.transpose(0, 1), self.mixing.mT).transpose(0, 1)
        u = self.loc + self.scale * v
        return u, self._log_det.expand(u.shape[:2])

    def whitened(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates v of unconstrained numbers, both (K, N, D), and log |du/dv| of shape (K, N)."""
        v = self.moving((u - self.loc) / self.scale)
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
        return LatentSpace(self._parts, self.loc + self.scale * self.moving(means), self.scale, mixing, self.held)


def whitened_space(batch: BoundBatch, draws: dict[str, Tensor]) -> LatentSpace:
    """The space whose origin and scales are the mean and deviation of some draws, observation by observation.

    What is masked is held where the first of them has it.

    Args:
        batch: gives the support of each site, and what is masked.
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
    loc, scale, held = u.mean(0), u.std(0).clamp(min=1e-6), _held(parts, batch.masked)
    if held is not None:
        loc, scale = torch.where(held, u[0], loc), torch.where(held, 1.0, scale)
    return LatentSpace(parts, loc, scale, held=held)


def _held(parts: list[_Part], masked: Masked) -> Tensor | None:
    """Which unconstrained numbers are masked, shape (N, D); None where none is."""
    if not masked:
        return None
    count, pieces = len(next(iter(masked.values()))), []
    device = next(iter(masked.values())).device
    for part in parts:
        where = masked.get(part.name, torch.zeros(count, *part.shape, dtype=torch.bool, device=device))
        shared = _common_dims(where.shape[1:], part.shape)  # beyond them lie the dims of one event, masked as a whole
        where = where.flatten(1 + shared)[..., 0] if where.dim() > 1 + shared else where
        pieces.append(where.reshape(*where.shape, *(1,) * (len(part.shape) - shared)).expand(count, *part.shape))
    return torch.cat([piece.reshape(count, -1) for piece in pieces], dim=1)


def _common_dims(first: torch.Size, second: torch.Size) -> int:
    """How many leading dims are the same."""
    pairs = zip(first, second, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second)))


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
