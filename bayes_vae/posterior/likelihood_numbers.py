"""Means and draws of the numbers of x at given latents, laid out as x, for any pair."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from bayes_vae.distributions.properties import unwrap
from bayes_vae.errors import NotDefinedError
from bayes_vae.terms.stream import BoundBatch
from bayes_vae.terms.traced import TracedBatch

__all__ = ["likelihood_numbers"]

What = Literal["mean", "sample"]


def likelihood_numbers(bound: BoundBatch, latents: dict[str, Tensor], x: Tensor, what: What) -> Tensor:
    """The mean of p(x given z), or one draw from it, for every given latent.

    Args:
        bound: a batch of observations.
        latents: site → (K, N, *rest).
        x: the observations, shape (N, *event), NaN where missing.
        what: "mean" or "sample".

    Returns:
        shape (K, N, *event).

    Raises:
        NotDefinedError: a likelihood without a mean, or programs in whose observed sites the numbers of x are not to be
            found.
    """
    with torch.no_grad():
        if not isinstance(bound, TracedBatch):
            exposed: Any = bound
            return _of(exposed.model.likelihood(latents["z"]), what)
        count = len(next(iter(latents.values())))
        at_once = 1 if bound.pair.particles == "loop" else count
        starts = range(0, count, at_once)
        each = ({name: value[k : k + at_once] for name, value in latents.items()} for k in starts)
        return torch.cat([_of_sites(bound, one, x, what) for one in each])


def _of_sites(bound: Any, latents: dict[str, Tensor], x: Tensor, what: What) -> Tensor:
    """From a run of the programs, whose one observed site must hold the numbers of x in their order."""
    sites = [site for site in bound.model_sites(latents) if site.name not in latents]
    if len(sites) == 1:
        site, seen = sites[0], ~x.isnan()
        shape, dims = site.fn.batch_shape + site.fn.event_shape, len(site.fn.batch_shape)
        held = site.to_rows(site.value.expand(shape), dims)[0]
        if held.numel() == x.numel() and torch.equal(held.reshape(x.shape)[seen], x[seen].to(held.dtype)):
            rows: Tensor = site.to_rows(_of(site.fn, what).expand(shape), dims)
            return rows.reshape(-1, *x.shape)
    raise NotDefinedError(
        f"which numbers of x are drawn where is not to be seen: the observed sites are {[one.name for one in sites]}, "
        "and expected is one that holds the numbers of x in their order, NaN where missing."
    )


def _of(likelihood: Any, what: What) -> Tensor:
    if what == "sample":
        drawn: Tensor = likelihood.sample()
        return drawn
    try:
        mean: Tensor = likelihood.mean
    except (NotImplementedError, AttributeError):
        mean = torch.full((), torch.nan)
    if bool(mean.isnan().any()):  # torch's Cauchy
        raise NotDefinedError(
            f"the likelihood {type(unwrap(likelihood)).__name__} has no mean, so missing values have none. Take a "
            "family with a mean; where its distribution lacks the property, write it."
        )
    return mean
