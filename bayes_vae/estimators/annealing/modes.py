"""Starts at several modes: a search from places that the guide did not choose, and a mixture of the normals found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from bayes_vae.estimators.annealing.path import log_joint_gradient
from bayes_vae.estimators.annealing.start import Fitted, fit_normal
from bayes_vae.estimators.latent_space import LatentSpace
from bayes_vae.terms.opened import Batch
from bayes_vae.terms.randomness import KeyedNoise, derived_seed

__all__ = ["Mixture", "Modes", "mixture_of_modes"]

STEPS, LONGER, SHORTER = 20, 10.0, 0.3
"""Steps of the search, how much longer a step may be than the one before, and how much shorter where it failed."""

DISTANCES = (3.0, 3.0, 10.0, 10.0, 30.0, 30.0, 100.0)
"""Deviations of the places about a fit, where the prior gives none."""

SAME, NEAR, BY_DIMENSION = 1.0, 6.25, 0.25
"""Squared distances within which two climbs ended at one place, and two fitted normals are one, in deviations; and so
many times the same more for each dimension."""

THINNER = 1.0
"""Nats by which a normal, in proportion to its ELBO, may be less dense at the origin of another that it covers."""

ON_TOP = 0.5
"""Nats that the climb from a fit may gain where there are other modes; where there are none, as many as SAME."""

LOWEST, LEAST = 12.0, 5.0
"""Nats below the best at which the top of a mode no longer matters, and at which a fitted mode does not."""

DIRECTIONS, FAR_OUT, HEAVY = 8, 5.0, 4.0
"""Where tails are looked at: random directions, deviations; and the nats that they must lie above a normal's."""

WIDER, TAIL_SHARE = 2.0, 0.25
"""The normal for heavy tails is wider by 1 + 2 / √D, so that it overlaps in any dimension; and its share."""

MOST_MODES = 3
"""Modes beside the guide's that are fitted."""


@dataclass(frozen=True, eq=False)
class Mixture:
    r"""s(v) = Σ_c π_c N(v; m_c, A_c A_c^T), each component with the space in which it is standard normal.

    Attributes:
        spaces: of each component.
        log_shares: log π_c, shape (C, N); −inf where an observation has no such mode.
    """

    spaces: list[LatentSpace]
    log_shares: Tensor

    def assigned(self, batch: Batch, num_chains: int, purpose: str) -> Assigned:
        """Give each chain a component: chain k the one at (k + u) / K of the shares, u uniform for each observation.

        Over u the mean over chains is unbiased, and the shares are kept as well as so many chains can.
        """
        noise = KeyedNoise(derived_seed(batch.seed, purpose))
        normal = noise.normal("component", batch.index, range(1), (1,), self.spaces[0].loc)[0, :, 0]
        chosen = self.components(num_chains, torch.special.ndtr(normal))
        return Assigned(self, LatentSpace.chosen(self.spaces, chosen))

    def components(self, num_chains: int, uniform: Tensor) -> Tensor:
        """The component of each chain, shape (K, N), from u of shape (N,)."""
        places = (torch.arange(num_chains).to(uniform).unsqueeze(-1) + uniform) / num_chains
        edges = self.log_shares.exp().cumsum(0)[:-1]
        return (places.unsqueeze(0) >= edges.unsqueeze(1)).sum(0)


class Assigned(NamedTuple):
    """Chains in the coordinates of the component that each belongs to: a space for each of them."""

    mixture: Mixture
    space: LatentSpace

    def excess(self, v: Tensor) -> tuple[Tensor, Tensor]:
        r"""log s − log N_c at each chain's own coordinates v, shape (K, N), and its gradient, (K, N, D).

        A chain of component c goes from N_c to p(x, z) N_c / s: summed over components the ends are s and p(x, z), so
        the mean weight is unbiased, and every chain moves in coordinates that fit its own mode.
        """
        with torch.enable_grad():
            here = v.detach().requires_grad_()
            plain, log_det = self.space.unconstrained(here)
            own = -0.5 * here.square().sum(-1) - log_det
            all_of_them = []
            for space, log_share in zip(self.mixture.spaces, self.mixture.log_shares, strict=True):
                inside, other = space.whitened(plain)
                all_of_them.append(log_share - 0.5 * inside.square().sum(-1) - other)
            excess = torch.logsumexp(torch.stack(all_of_them), 0) - own
            (gradient,) = torch.autograd.grad(excess.sum(), here)
        alone = (self.mixture.log_shares > -torch.inf).sum(0) == 1
        return excess.detach().masked_fill(alone, 0.0), gradient.masked_fill(alone.unsqueeze(-1), 0.0)


class Modes(NamedTuple):
    """A start, and whether more modes were found than it has normals, shape (N,), bool."""

    start: LatentSpace | Mixture
    more: Tensor


def mixture_of_modes(batch: Batch, first: Fitted, places: dict[str, Tensor]) -> Modes:
    """The start of each observation: the normal that is fitted already, or a mixture with those at other modes.

    Args:
        batch: the pair, bound to observations.
        first: the fit from the guide, or the prior.
        places: latents from which to climb, site → (J, N, *rest): draws of the prior; empty for places about the fit.

    Returns:
        the start, a single space where one normal is enough for every observation.
    """
    tops = _tops(batch, first.space, places)
    found, none = [first], first._replace(elbo=torch.full_like(first.elbo, -torch.inf))
    for wanted, place in zip(tops.wanted, tops.places, strict=True):
        part, rows = batch.part(wanted)
        if len(rows):
            space = first.space.rows(rows)
            again = fit_normal(part, space.refitted(place[rows], _identity(space)))
            found.append(none.with_rows(rows, again._replace(elbo=again.elbo.masked_fill(~wanted[rows], -torch.inf))))
    return Modes(_with_tails(batch, *_shares(found)), tops.more)


def _identity(space: LatentSpace) -> Tensor:
    return torch.eye(space.size).to(space.loc).expand(len(space.loc), -1, -1)


def _with_tails(batch: Batch, best: LatentSpace, mixture: Mixture | None) -> LatentSpace | Mixture:
    """A wider normal about the best one for observations whose posterior falls off more slowly than a normal.

    At so many deviations in random directions, either way, a normal's logarithm has fallen by half their square.
    """
    noise = KeyedNoise(derived_seed(batch.seed, "tails")).normal(
        "v", batch.index, range(DIRECTIONS), (best.size,), best.loc
    )
    noise = best.moving(noise)
    far = FAR_OUT * noise / noise.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(noise.dtype).tiny)
    values = log_joint_gradient(batch.bound, best, torch.cat([torch.zeros_like(far[:1]), far, -far]))[0]
    heavy = (0.5 * FAR_OUT**2 - (values[0] - values[1:]).mean(0) > HEAVY) & (best.dimensions > 0)
    if not bool(heavy.any()):
        return best if mixture is None else mixture
    if mixture is None:
        mixture = Mixture([best], torch.zeros_like(values[:1]))
    width = 1 + WIDER / best.dimensions.clamp(min=1).sqrt().to(best.loc)
    wider = best.refitted(torch.zeros_like(best.loc), width[:, None, None] * _identity(best))
    log_share = torch.where(heavy, math.log(TAIL_SHARE), -torch.inf)
    others = torch.where(heavy, math.log1p(-TAIL_SHARE), 0.0)
    return Mixture([*mixture.spaces, wider], torch.cat([mixture.log_shares + others, log_share.unsqueeze(0)]))


def _shares(found: list[Fitted]) -> tuple[LatentSpace, Mixture | None]:
    """The best normal, and the mixture where there are several.

    Shares are by ELBO, none for what another and better fit covers or what is too small to matter.
    """
    elbos = torch.stack([one.elbo for one in found])
    covered = torch.stack([torch.stack([_covered(one, other) for other in found]) for one in found])
    rows, kept = torch.arange(elbos.shape[1], device=elbos.device), torch.zeros_like(elbos, dtype=torch.bool)
    for place in elbos.argsort(dim=0, descending=True, stable=True):
        fits = elbos[place, rows] >= elbos.amax(0) - LEAST
        kept[place, rows] = fits & ~(covered[place, :, rows].mT & kept).any(0)
    best = found[0].space
    for i, one in enumerate(found[1:], 1):
        best = best.where(elbos.argmax(0) == i, one.space)
    if bool((kept.sum(0) == 1).all()):
        return best, None
    return best, Mixture([one.space for one in found], elbos.masked_fill(~kept, -torch.inf).log_softmax(0))


def _covered(one: Fitted, better: Fitted) -> Tensor:
    """Whether the normal of one fit adds nothing to that of a better one, shape (N,), bool.

    Their origins are one place, or the better normal, in proportion to its ELBO, is as dense at the other's origin.
    """
    there, log_det = better.space.whitened(one.space.loc.unsqueeze(0))
    back, own_log_det = one.space.whitened(better.space.loc.unsqueeze(0))
    away, room = there[0].square().sum(-1), 1 + BY_DIMENSION * one.space.dimensions
    same = torch.minimum(away, back[0].square().sum(-1)) <= SAME * room
    lacking = one.elbo - own_log_det[0] - (better.elbo - log_det[0] - away / 2)
    return same | ((away <= NEAR * room) & (lacking <= THINNER))


def _around(batch: Batch, space: LatentSpace) -> Tensor:
    """Places (J, N, D) about the origin of a space, some near and some far."""
    noise = KeyedNoise(derived_seed(batch.seed, "places around"))
    far = space.loc.new_tensor(DISTANCES)
    drawn = noise.normal("v", batch.index, range(len(DISTANCES)), (space.size,), space.loc)
    return space.moving(far[:, None, None] * drawn)


class _Tops(NamedTuple):
    """Places (C, N, D), in the coordinates of a space, of modes beside its own, whether there is one, (C, N), or more.

    Attributes:
        more: whether there are others that matter as much, shape (N,), bool.
    """

    places: Tensor
    wanted: Tensor
    more: Tensor


def _tops(batch: Batch, space: LatentSpace, places: dict[str, Tensor]) -> _Tops:
    """The highest distinct modes that a climb reaches from some places."""
    start = space.coordinates(places) if places else _around(batch, space)
    position, height = _climbed(batch, space, torch.cat([torch.zeros_like(start[:1]), start]))
    free, rows = height >= height.amax(0) - LOWEST, torch.arange(height.shape[1], device=height.device)
    origin = torch.zeros_like(position[0])
    taken, wanted = [], []

    def apart(old: Tensor) -> Tensor:
        return (position - old).square().sum(-1) > SAME * (1 + BY_DIMENSION * space.dimensions)

    before = log_joint_gradient(batch.bound, space, origin.unsqueeze(0))[0][0]
    several = (free & apart(origin)).any(0)
    allowed = torch.where(several, ON_TOP, SAME * (1 + BY_DIMENSION * space.dimensions))
    free = free & (apart(origin) | (height[0] - before > allowed))  # a fit below its mode may lie between several
    for _ in range(MOST_MODES):
        best = torch.where(free, height, -torch.inf).argmax(0)
        wanted.append(free[best, rows])
        taken.append(torch.where(wanted[-1].unsqueeze(-1), position[best, rows], origin))
        free = free & apart(taken[-1])
    more = free & (height >= height.amax(0) - LEAST)
    return _Tops(torch.stack(taken), torch.stack(wanted), more.any(0))


def _climbed(batch: Batch, space: LatentSpace, position: Tensor) -> tuple[Tensor, Tensor]:
    """Where gradient steps of log p(x, z) + log |dz/dv| lead, shape (J, N, D), and how high, (J, N).

    The length of a step is that of Barzilai and Borwein (1988), eq. 5, and a step that does not climb is shortened.
    """
    height, gradient = log_joint_gradient(batch.bound, space, position)
    height, gradient = height.nan_to_num(nan=-torch.inf), gradient.nan_to_num(0.0, 0.0, 0.0)
    length = space.size**0.5 / gradient.norm(dim=-1).clamp(min=1.0)
    for _ in range(STEPS):
        moved = position + length.unsqueeze(-1) * gradient
        higher, slope = log_joint_gradient(batch.bound, space, moved)
        better = (higher > height) & slope.isfinite().all(-1)
        step, bend = moved - position, gradient - slope
        curvature = (step * bend).sum(-1) / step.square().sum(-1).clamp(min=1e-30)
        longer = torch.where(curvature * length * LONGER > 1, 1 / curvature, LONGER * length)
        length = torch.where(better, longer, SHORTER * length)
        position = torch.where(better.unsqueeze(-1), moved, position)
        gradient = torch.where(better.unsqueeze(-1), slope, gradient)
        height = torch.where(better, higher, height)
    return position, height
