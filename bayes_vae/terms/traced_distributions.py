"""The distributions of a traced pair with one normal latent and one observed site, as our own pairs expose theirs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from bayes_vae.distributions import diagonal_normal, normal_parts
from bayes_vae.distributions.properties import is_stock, unwrap
from bayes_vae.errors import NotDefinedError, ShapeError
from bayes_vae.terms.containers import ModelSite
from bayes_vae.terms.dependence import likelihood_dependence
from bayes_vae.terms.exposed import ExposedPair
from bayes_vae.terms.layout import latent_sites
from bayes_vae.terms.program import Observations
from bayes_vae.terms.randomness import KeyedNoise
from bayes_vae.terms.reached import reached_modules
from bayes_vae.terms.rows import Rows
from bayes_vae.terms.traced import TracedPair

__all__ = ["TracedDistributions", "distributions_of_traces"]

PROBED = 3
"""Observations over which the prior must be the same."""


class TracedDistributions(ExposedPair):
    """A pair whose prior, likelihood and q are read off its traces."""

    source = "traces"


def distributions_of_traces(pair: TracedPair, rows: Rows) -> TracedDistributions:
    """Read the distributions off the sites of a traced pair.

    Args:
        pair: of programs of x alone, with one latent, normal with independent dimensions in both, and one observed site
            that holds the numbers of x in their order, under a family of torch's or Pyro's own.
        rows: observations, of which the first few are looked at.

    Raises:
        NotDefinedError: another pair; the message says which part is other.
    """
    few = rows.take(slice(0, PROBED))
    x, index = few.read(), few.index
    if len(x) != 1 or not pair.splittable:
        raise NotDefinedError("the programs take more than x, or depend on the number or place of its rows.")
    model = _TracedModel(pair, x, index)
    guide = _TracedGuide(pair)
    guide.variational_posterior(x[0], index=index)  # which says so where it is no such normal
    found = likelihood_dependence(pair, x, index)
    if found.seen:
        raise NotDefinedError("the likelihood depends on x beside z, so it is no function of z alone.")
    if found.unmade:
        raise NotDefinedError(f"whether the likelihood depends on z alone was not checked: {found.unmade}.")
    return TracedDistributions(model, guide, rows)


class _TracedModel:
    """``prior()`` and ``likelihood(z)`` of a program."""

    exposes_distributions = True

    def __init__(self, pair: TracedPair, x: Observations, index: Tensor) -> None:
        if len(pair.layout.latents) != 1:
            raise NotDefinedError(f"the pair has the latents {list(pair.layout.latents)}, and not one.")
        self.pair, self.name = pair, pair.layout.latents[0]
        self.x, self.index = x[0][:1], index[:1]
        self.data_shape = x[0].shape[1:]
        bound = pair.bind(x, index)
        bound.support_checked = True
        if not pair.keyed:
            raise NotDefinedError("q(z given x) is no normal with independent dimensions.")
        sites = bound.model_sites(bound.draw(range(1), KeyedNoise(0)).latents)
        self._prior = self._constant_prior(sites)
        observed = [site for site in sites if site.name != self.name]
        self._check_observed(observed, x[0])
        self.observed, self.dtype = observed[0].name, observed[0].value.dtype

    def _constant_prior(self, sites: list[ModelSite]) -> dist.TorchDistribution:
        loc, scale = _normal_rows(next(site for site in sites if site.name == self.name), "the prior")
        if not (torch.equal(loc, loc[:1].expand_as(loc)) and torch.equal(scale, scale[:1].expand_as(scale))):
            raise NotDefinedError("the prior differs between observations.")
        return diagonal_normal(loc[0], scale[0])

    def _check_observed(self, observed: list[ModelSite], x: Tensor) -> None:
        if len(observed) != 1 or observed[0].mask is not None:
            raise NotDefinedError(f"the observed sites are {[site.name for site in observed]}: expected one, unmasked.")
        site = observed[0]
        value = site.value.expand(site.fn.batch_shape + site.fn.event_shape)
        rows = site.to_rows(value, len(site.fn.batch_shape))[0]
        if rows.numel() != x.numel() or not torch.equal(rows.reshape(x.shape), x.to(rows.dtype)):
            raise NotDefinedError(f"site {site.name!r} does not observe the numbers of x as they are.")
        _parameters(site, "likelihood")

    def prior(self) -> dist.TorchDistribution:
        """p(z)."""
        return self._prior

    def likelihood(self, z: Tensor) -> dist.TorchDistribution:
        """p(x given z), for z of shape (*batch, D), from a run on as many rows."""
        rows = z.reshape(-1, z.shape[-1])
        x = (self.x.expand(len(rows), *self.data_shape).contiguous(),)
        bound = self.pair.bind(x, self.index.expand(len(rows)))
        sites = bound.model_sites_alone({self.name: rows.unsqueeze(0)})
        family, parameters = _parameters(next(site for site in sites if site.name == self.observed), "likelihood")
        numbers = math.prod(self.data_shape)
        shaped = {}
        for name, value in parameters.items():
            rest = value.shape[1:].numel() // numbers
            extra = (rest,) if value.dim() > 1 and rest != 1 else ()
            shaped[name] = value.reshape(*z.shape[:-1], *self.data_shape, *extra)
        return dist.Independent(family(**shaped, validate_args=False), len(self.data_shape), validate_args=False)

    def check_observations(self, x: Tensor) -> Tensor:
        """x in the precision of the likelihood."""
        if x.shape[1:] != self.data_shape:
            raise ShapeError(f"expected observations of shape (N, *{tuple(self.data_shape)}), got {tuple(x.shape)}.")
        return x.to(self.dtype)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Those of every module that the program reaches."""
        for module in reached_modules(self.pair.model):
            yield from module.parameters(recurse=False)


class _TracedGuide:
    """``variational_posterior(x)`` of a program."""

    exposes_distributions = True

    def __init__(self, pair: TracedPair) -> None:
        self.pair, self.needs_index = pair, True

    def variational_posterior(self, x: Tensor, index: Tensor) -> dist.TorchDistribution:
        """q(z given x), batch shape (N,)."""
        layout, trace = self.pair.bind((x,), index).guide_alone()
        (name, site), *_ = latent_sites(trace).items()
        dim = self.pair.layout.guide_dim

        def to_rows(values: Tensor, num_batch_dims: int) -> Tensor:
            return layout.from_site(values, dim, num_batch_dims)

        found = ModelSite(name, site["fn"], site["value"], site["mask"], to_rows)
        return diagonal_normal(*_normal_rows(found, "q(z given x)"))


def _normal_rows(site: ModelSite, what: str) -> tuple[Tensor, Tensor]:
    """Means and deviations of a site, each (N, D)."""
    parts = normal_parts(site.fn)
    if parts is None or site.mask is not None or len(site.fn.event_shape) != 1:
        raise NotDefinedError(
            f"{what} is {type(unwrap(site.fn)).__name__} with event shape {tuple(site.fn.event_shape)}, and no normal "
            "over z of shape (D,) with independent dimensions."
        )
    shape = site.fn.batch_shape + site.fn.event_shape
    loc, scale = (site.to_rows(part.expand(shape), len(site.fn.batch_shape))[0] for part in parts)
    if loc.dim() != 2:
        raise NotDefinedError(f"{what} has further plates within an observation, and is no normal over one vector z.")
    return loc, scale


def _parameters(site: ModelSite, what: str) -> tuple[Any, dict[str, Tensor]]:
    """The family of a site and its parameters as they were given, each with a row for each row."""
    base = unwrap(site.fn)
    if not is_stock(base) or not base.arg_constraints or base.event_shape or hasattr(base, "base_dist"):
        raise NotDefinedError(f"the {what} is {type(base).__name__}: its parameters cannot be read number by number.")
    given = {name: vars(base).get(name) for name in base.arg_constraints}
    if all(isinstance(given.get(name), Tensor) for name in ("probs", "logits")):  # one of them was computed when asked
        del given["probs" if getattr(base, "_param", None) is given["logits"] else "logits"]
    found: dict[str, Tensor] = {}
    for name, value in given.items():
        if isinstance(value, Tensor):
            events = getattr(base.arg_constraints[name], "event_dim", 0)
            full = value.expand(*base.batch_shape, *value.shape[value.dim() - events :])
            found[name] = site.to_rows(full, len(site.fn.batch_shape))[0]
    return type(base), found
