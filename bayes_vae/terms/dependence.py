"""Whether the likelihood of a number depends on that number itself, past z: then it is no density of x."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from bayes_vae.errors import LikelihoodSeesDataError, UncheckedLikelihoodWarning
from bayes_vae.terms.containers import ModelSite
from bayes_vae.terms.program import Observations
from bayes_vae.terms.randomness import KeyedNoise, isolated_rng

__all__ = ["Dependence", "base_and_masks", "likelihood_dependence", "refuse_likelihood_of_seen_data"]

MOST_NUMBERS = 64
"""Numbers of an observation that are looked at one by one; of larger ones as many at random."""


@dataclass(frozen=True)
class Dependence:
    """How the parameters of p(x given z) and p(z) depend on the numbers of x, at fixed z.

    Attributes:
        seen: whether any parameter moves with x.
        circular: how many of the numbers that were looked at lie on a circle: the parameters of each move with the
            number itself, or with others that move with it. Zero for a density, in which order whatever.
        looked_at: numbers that were looked at one by one, of those whose values are observed; zero where nothing moves.
        numbers: how many there are in an observation.
        sites: the sites on a circle.
        unmade: why it could not be looked at; empty where it was.
    """

    seen: bool = False
    circular: int = 0
    looked_at: int = 0
    numbers: int = 0
    sites: tuple[str, ...] = ()
    unmade: str = ""


class _Pair(Protocol):
    @property
    def keyed(self) -> bool: ...

    def bind(self, x: Observations, index: Tensor) -> Any: ...


class _Nodes(NamedTuple):
    """Densities, masks and values of all sites of a run, number by number: (N, M), (N, M) and M tensors of (N, *)."""

    density: Tensor
    mask: Tensor
    values: list[Tensor]
    names: list[str]


def refuse_likelihood_of_seen_data(pair: _Pair, x: Observations, index: Tensor) -> None:
    """Refuse a pair whose likelihood sees the numbers that it is the likelihood of.

    Raises:
        LikelihoodSeesDataError: names the sites, and of how many numbers it was found.

    Warns:
        UncheckedLikelihoodWarning: it could not be looked at, since the program raises on other x.
    """
    found = likelihood_dependence(pair, x, index)
    if found.unmade and _runs(pair, x, index):
        warnings.warn(
            "whether the likelihood sees x at a fixed z was not checked: with numbers of x replaced by others that the "
            f"data hold, the program raises {found.unmade}. If it does, log p(x) means nothing.",
            UncheckedLikelihoodWarning,
            stacklevel=2,
        )
    if found.circular:
        raise LikelihoodSeesDataError(found.sites, found.circular, found.looked_at, found.numbers)


def likelihood_dependence(pair: _Pair, x: Observations, index: Tensor) -> Dependence:
    r"""Whether parameters move with x at fixed z, and if so whether numbers of x depend on each other in circles.

    .. math:: p(x \mid z) = \prod_i p(x_i \mid z, x_{\pi(1)}, \dots, x_{\pi(i-1)})

    is a density for every order π. First all numbers of each argument of the programs are replaced by others that the
    data hold; where that moves no parameter, nothing else is run. Else they are replaced one by one, up to
    ``MOST_NUMBERS`` of them: number j points to number i where the parameters of i move with j. Arguments that are not
    observed are covariates. Where a program raises on such x the check is not made, and ``unmade`` says so.

    Args:
        pair: as it was read.
        x: some rows.
        index: their indices.
    """
    try:
        with _unvalidated():
            return _Look(pair, x, index).dependence()
    except Exception as error:  # a program that takes these x alone
        return Dependence(unmade=f"{type(error).__name__}: {error}")


def _runs(pair: _Pair, x: Observations, index: Tensor) -> bool:
    """Whether the pair has terms of these x; where it has none, the estimator says what is wrong with it."""
    try:
        with isolated_rng(0, index.device):
            pair.bind(x, index).draw(range(1), KeyedNoise(0) if pair.keyed else None)
    except Exception:
        return False
    return True


@contextmanager
def _unvalidated() -> Iterator[None]:
    """No density is taken of the replaced numbers, and a missing one may be NaN."""
    with pyro.validation_enabled(False):
        yield


class _Look:
    """One pair at fixed latents."""

    def __init__(self, pair: _Pair, x: Observations, index: Tensor) -> None:
        self.pair, self.x, self.index = pair, x, index
        with isolated_rng(0, index.device):
            bound = pair.bind(x, index)
            bound.support_checked = True
            self.latents: dict[str, Tensor] = bound.draw(range(1), KeyedNoise(0) if pair.keyed else None).latents
        self.held: dict[str, Tensor] = {}
        self.base = self._run(x, self.latents)
        self.generator = torch.Generator("cpu").manual_seed(0)

    def dependence(self) -> Dependence:
        moving = [place for place in range(len(self.x)) if self._may_move(place)]
        if not moving:
            return Dependence()
        numbers = [(place, j) for place in moving for j in range(self.x[place][0].numel())]
        order = (
            torch.randperm(len(numbers), generator=self.generator, device="cpu")[:MOST_NUMBERS].sort().values.tolist()
        )
        owned, moved = (torch.stack(rows) for rows in zip(*self._columns([numbers[i] for i in order]), strict=True))
        circle = _on_circles(owned, moved)
        nodes = owned[circle].any(0)
        sites = tuple(dict.fromkeys(name for name, node in zip(self.base.names, nodes.tolist(), strict=True) if node))
        return Dependence(True, int(circle[: len(order)].sum()), len(order), len(numbers), sites)

    def _columns(self, numbers: list[tuple[int, int]]) -> Iterator[tuple[Tensor, Tensor]]:
        """For each number of x, and of z if the prior sees x: the nodes that it is, and those that move with it."""
        for place, j in numbers:
            replaced = list(self.x)
            replaced[place] = _one_replaced(self.x[place], self._others(self.x[place]), j)
            yield self._difference(self._run(tuple(replaced), self.latents))
        if self.prior_moves:
            for name, value in self.latents.items():
                others = self._others(value[0])
                for j in range(min(MOST_NUMBERS, value[0, 0].numel())):
                    latents = self.latents | {name: _one_replaced(value[0], others, j).unsqueeze(0)}
                    yield self._difference(self._run(self.x, latents))

    prior_moves = False

    def _may_move(self, place: int) -> bool:
        """Whether an argument is observed, and parameters move with it; one that is not may be refused as it likes."""
        try:
            return self._moves(place)
        except Exception:
            if self._is_observed(place):
                raise
            return False

    def _is_observed(self, place: int) -> bool:
        """Whether an argument's numbers stand as they are among the values of observed sites, in every row."""
        part = self.x[place].reshape(len(self.x[place]), -1).double()
        values = [
            value for name, value in zip(self.base.names, self.base.values, strict=True) if name not in self.latents
        ]
        held = torch.cat([value.reshape(len(part), -1).double() for value in values], 1)
        if not 0 < part.shape[1] <= held.shape[1]:
            return False
        pieces = held.unfold(1, part.shape[1], 1)
        return bool(torch.isclose(part.unsqueeze(1), pieces, equal_nan=True).all(2).all(0).any())

    def _moves(self, place: int) -> bool:
        """Whether an argument is observed, and parameters move with it."""
        replaced = list(self.x)
        replaced[place] = self._others(self.x[place])
        owned, moved = self._difference(self._run(tuple(replaced), self.latents))
        latent = torch.tensor([name in self.latents for name in self.base.names], device="cpu")
        seen = bool(owned.any()) and bool(moved.any())
        self.prior_moves |= seen and bool((moved & latent).any())
        return seen

    def _run(self, x: Observations, latents: Mapping[str, Tensor]) -> _Nodes:
        with isolated_rng(1, self.index.device):
            sites: list[ModelSite] = self.pair.bind(x, self.index).model_sites(latents)
        parts = [_numbers(site, self.held.setdefault(site.name, site.value)) for site in sites]
        names = [site.name for site, part in zip(sites, parts, strict=True) for _ in part[2]]
        density, mask = torch.cat([part[0] for part in parts], 1), torch.cat([part[1] for part in parts], 1)
        return _Nodes(density, mask, [value for part in parts for value in part[2]], names)

    def _difference(self, other: _Nodes) -> tuple[Tensor, Tensor]:
        """Which nodes have other values, and which other parameters, in any row; each (M,)."""
        base = self.base
        pairs = zip(base.values, other.values, strict=True)
        owned = torch.stack([~(torch.eq(a, b) | (a.isnan() & b.isnan())).all() for a, b in pairs])
        same = torch.isclose(base.density, other.density, rtol=1e-5, atol=1e-5, equal_nan=True)
        observed = torch.tensor([name not in self.latents for name in base.names], device=same.device)
        moved = (~same & base.mask) | ((base.mask != other.mask) & observed)  # the mask of a latent is a length, say
        return owned.cpu(), moved.any(0).cpu()

    def _others(self, part: Tensor) -> Tensor:
        """Another value for each number, from its column of the data where there is one, else from all of them."""
        if part.dtype == torch.bool:  # which searchsorted does not take
            return self._others(part.to(torch.int8)).bool()
        flat = part.reshape(len(part), -1)
        result = flat.clone()
        usable = ~flat.isnan() if flat.is_floating_point() else flat != -1  # −1 stands for an unknown label
        pool = flat[usable].unique()
        if len(pool) > 1:
            place = torch.searchsorted(pool, torch.where(usable, flat, pool[0]).contiguous())
            step = torch.randint(1, len(pool), place.shape, generator=self.generator, device="cpu").to(place.device)
            result = torch.where(usable, pool[(place + step) % len(pool)], flat)
        for shift in range(1, len(flat)):
            there, known = flat.roll(shift, 0), usable.roll(shift, 0)
            result = torch.where(usable & known & (there != flat), there, result)
        return result.reshape(part.shape)


def _one_replaced(part: Tensor, others: Tensor, j: int) -> Tensor:
    """A number of every row replaced."""
    replaced = part.reshape(len(part), -1).clone()
    replaced[:, j] = others.reshape(len(part), -1)[:, j]
    return replaced.reshape(part.shape)


def _numbers(site: ModelSite, held: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Density of the held value, mask and value of each number of a site that has parameters of its own."""
    batch_dims = len(site.fn.batch_shape)
    base, masks = base_and_masks(site)
    density = base.log_prob(_without_nan(held))
    density = density.expand(torch.broadcast_shapes(density.shape, base.batch_shape))
    mask = torch.ones_like(density, dtype=torch.bool)
    for one in masks:
        mask = mask & one.to(mask.device).reshape(*one.shape, *(1,) * (density.dim() - max(one.dim(), batch_dims)))
    value = site.value.expand(torch.broadcast_shapes(site.value.shape, site.fn.batch_shape + site.fn.event_shape))
    rows, masked, values = (site.to_rows(each, batch_dims)[0] for each in (density, mask, value))
    count = len(rows)
    values = values.reshape(count, rows[0].numel(), -1)
    return rows.reshape(count, -1), masked.reshape(count, -1), list(values.unbind(1))


def base_and_masks(site: ModelSite) -> tuple[Any, list[Tensor]]:
    """The distribution of each number of a site, below what declares events and masks; the masks, from without."""
    base: Any = site.fn
    masks: list[Tensor] = [] if site.mask is None else [torch.as_tensor(site.mask)]
    while isinstance(base, dist.Independent | torch.distributions.Independent | dist.MaskedDistribution):
        if isinstance(base, dist.MaskedDistribution):
            own: Tensor = torch.as_tensor(base._mask)
            masks.append(own.expand(base.batch_shape))
        base = base.base_dist
    return base, masks


def _without_nan(value: Tensor) -> Tensor:
    """A value whose NaN, which a mask hides, are one of its other numbers."""
    missing = value.isnan()
    return torch.where(missing, value[~missing][0], value) if 0 < missing.sum() < missing.numel() else value


def _on_circles(owned: Tensor, moved: Tensor) -> Tensor:
    """Which numbers lie on a circle, from the nodes that each is and those that move with it; both (S, M)."""
    points = (moved.float() @ owned.float().T) > 0  # j to i
    reached = points
    for _ in range(max(1, len(points)).bit_length()):
        reached = reached | ((reached.float() @ reached.float()) > 0)
    return reached.diagonal()
