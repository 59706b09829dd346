"""Codes, and what the model makes of them: one interface to pairs as they are read, by distributions or by traces."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Protocol

import pyro.distributions as dist
import torch
from torch import Tensor

from bayes_vae.distributions import diagonal_normal, normal_parts
from bayes_vae.errors import NotDefinedError
from bayes_vae.terms.containers import ModelSite
from bayes_vae.terms.dependence import likelihood_dependence
from bayes_vae.terms.exposed import ExposedPair
from bayes_vae.terms.factorized import variational_normal, without_distributions
from bayes_vae.terms.normal_latents import PROBED, NormalLatents
from bayes_vae.terms.opened import OpenPair
from bayes_vae.terms.program import index_arguments, take_rows
from bayes_vae.vocabulary.symbols import dimension_symbol

__all__ = ["Decoding", "decoding_of"]


class Decoding(Protocol):
    """A pair with its N observations, which codes z can be read from and decoded for."""

    @property
    def beside(self) -> bool:
        """Whether the model is given something beside z that is taken from the observations, such as labels."""

    def posterior(self, places: Tensor | slice) -> dist.TorchDistribution:
        """q(z given x) at some places among the observations, batch shape (M,)."""

    def prior_codes(self, count: int) -> tuple[Tensor, Tensor]:
        """Draws of the prior, (count, *event), and the places of the observations that lend what stands beside x."""

    def prior_normal(self) -> tuple[Tensor, Tensor] | None:
        """Mean and deviation of p(z) at the first observation, each (D,); None if it is no factorized normal."""

    def means(self, z: Tensor, places: Tensor) -> Tensor:
        """Means of p(x given z), (M, *event), for z of shape (M, *event) and what stands beside x at these places.

        Raises:
            NotImplementedError: the family knows no mean.
        """

    def name(self, dimension: int) -> str:
        """The symbol of a number of z."""


def decoding_of(opened: OpenPair) -> Decoding:
    """The codes of a pair that is open, and its decoder.

    Raises:
        NotDefinedError: neither the pair nor its traces show them; the message says why.
    """
    pair = opened.with_normals().pair
    if isinstance(pair, ExposedPair):
        return _OfDistributions(pair, opened)
    if isinstance(pair, NormalLatents):
        return _OfTraces(pair, opened)
    raise NotDefinedError(without_distributions(pair, opened.rows))


class _OfDistributions:
    """Of a pair with ``prior()``, ``likelihood(z)`` and ``variational_posterior(x)``."""

    beside = False

    def __init__(self, pair: ExposedPair, opened: OpenPair) -> None:
        self.model, self.guide = pair.model, pair.guide
        self.x, self.index = opened.rows.read()[0], opened.index

    def posterior(self, places: Tensor | slice) -> dist.TorchDistribution:
        about = index_arguments(self.guide, self.index[places])
        found: dist.TorchDistribution = self.guide.variational_posterior(self.x[places], **about)
        return found

    def prior_codes(self, count: int) -> tuple[Tensor, Tensor]:
        return self.model.prior().sample((count,)), torch.zeros(count, dtype=torch.int64, device=self.x.device)

    def prior_normal(self) -> tuple[Tensor, Tensor] | None:
        prior = self.model.prior()
        return normal_parts(prior) if len(prior.event_shape) == 1 else None

    def means(self, z: Tensor, places: Tensor) -> Tensor:
        found: Tensor = self.model.likelihood(z).mean
        return found

    def name(self, dimension: int) -> str:
        return dimension_symbol(dimension)


class _OfTraces:
    """Of programs whose latents are normals given x and what stands beside it, such as labels."""

    def __init__(self, pair: NormalLatents, opened: OpenPair) -> None:
        self.pair, self.x, self.index = pair, opened.rows.read(), opened.index
        self.beside = len(self.x) > 1
        if not pair.splittable:
            raise NotDefinedError("the programs depend on the number or place of their rows.")
        found = likelihood_dependence(pair, take_rows(self.x, slice(PROBED)), self.index[:PROBED])
        if found.seen or found.unmade:
            why = f"whether it does was not checked: {found.unmade}" if found.unmade else "teacher forcing, say"
            raise NotDefinedError(
                f"the likelihood of a number sees other numbers of x beside z ({why}), so z alone decodes to nothing."
            )
        self.loc, self.scale = variational_normal(self._bound)

    @cached_property
    def _bound(self) -> Any:
        return self.pair.bind(self.x, self.index)

    def posterior(self, places: Tensor | slice) -> dist.TorchDistribution:
        return diagonal_normal(self.loc[places], self.scale[places])

    def prior_codes(self, count: int) -> tuple[Tensor, Tensor]:
        places = torch.arange(count, device=self.index.device) % len(self.index)
        loc, scale = (part[places] for part in self._prior)
        return diagonal_normal(loc, scale).sample(), places

    def prior_normal(self) -> tuple[Tensor, Tensor] | None:
        loc, scale = self._prior
        return loc[0], scale[0]

    @property
    def _prior(self) -> tuple[Tensor, Tensor]:
        parts = normal_parts(self._bound.prior)
        assert parts is not None, "normal_latents has looked"
        return parts

    def means(self, z: Tensor, places: Tensor) -> Tensor:
        x = take_rows(self.x, places)
        bound = self.pair.bind(x, self.index[places])
        sites = bound.model_sites_alone(bound.split(z.unsqueeze(0)))
        site = next((site for site in sites if _holds(site, x[0])), None)
        if site is None:
            raise NotDefinedError("no observed site holds the numbers of x as they are, so no mean of p(x|z) is known.")
        return _rows(site, site.fn.mean).reshape(x[0].shape)

    def name(self, dimension: int) -> str:
        return dimension_symbol(dimension) if len(self.pair.layout.latents) == 1 else self._bound.numbers[dimension]


def _rows(site: ModelSite, values: Tensor) -> Tensor:
    """Values of a site of one particle, a row for each observation."""
    shape = site.fn.batch_shape + site.fn.event_shape
    return site.to_rows(values.expand(shape), len(site.fn.batch_shape))[0]


def _holds(site: ModelSite, x: Tensor) -> bool:
    """Whether a site observes the numbers of x, but for missing ones, as they are."""
    rows = _rows(site, site.value)
    return rows.numel() == x.numel() and bool(((rows.reshape(x.shape) == x) | x.isnan()).all())
