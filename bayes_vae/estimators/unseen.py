"""What draws of the prior find of p(x) where an estimate that follows the guide did not look."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from bayes_vae.errors import BayesVaeError
from bayes_vae.terms.containers import Draw, join_particles
from bayes_vae.terms.opened import Batch, OpenPair
from bayes_vae.terms.randomness import KeyedNoise, derived_seed, isolated_rng

__all__ = ["ALLOWED", "LogDensity", "unseen"]

DRAWS = 512
"""Draws of the prior for each observation."""

ALLOWED = 0.05
"""Nats up to which what they find does not count."""

LogDensity = Callable[[Batch, Tensor, dict[str, Tensor]], Tensor]
"""log q(z given x), shape (K, N), from a batch, the places of its observations and latents of shape (K, N, *rest)."""


class _Found(NamedTuple):
    """Draws of the prior for a batch of observations, and the places of these among all."""

    places: Tensor
    batch: Batch
    draw: Draw


def unseen(
    opened: OpenPair, wanted: Tensor, log_evidence: Tensor, largest: Tensor, log_density: LogDensity | None = None
) -> Tensor:
    r"""How much higher log p(x) is by the z that weigh more than any that was drawn, as far as the prior finds them.

    .. math:: \log \Big(1 + \frac{1}{S \, \hat p(x)} \sum_s p(x \mid z_s) \, [w(z_s) > \max_k w(z_k)]\Big),
        \quad z_s \sim p(z), \quad w(z) = \frac{p(x, z)}{q(z \mid x)}

    The mean of the sum is the part of p(x) of which no weight was seen. Its own error is subtracted first, so that one
    draw alone finds nothing. In many dimensions no draw of the prior comes near the posterior, and then nothing is
    found, whatever there is.

    Args:
        opened: the pair.
        wanted: the observations that are looked at, shape (N,), bool.
        log_evidence: log p̂(x), shape (N,).
        largest: the largest log weight, shape (N,).
        log_density: of the draws that were weighed, where it is not the guide's.

    Returns:
        shape (N,), nats; NaN where nothing was looked at, or the programs do not run on draws of the prior.
    """
    result = torch.full_like(log_evidence, torch.nan)
    if not bool(wanted.any()):
        return result
    try:
        for places, batch, draw in _draws_of_prior(opened, wanted):
            if log_density is None:
                weights = opened.pair.bind(batch.x, batch.index).evaluate(draw.latents).log_importance_weights
            else:
                joint = draw.log_prior.double() + draw.log_likelihood.double()
                weights = joint - log_density(batch, places, draw.latents)
            terms = draw.log_likelihood.double() - log_evidence[places]
            result[places] = softplus(_log_mean_less_error(terms.where(weights > largest[places], -torch.inf)))
    except (BayesVaeError, ValueError):  # a program may refuse what its guide never draws, and this is a check only
        return torch.full_like(result, torch.nan)
    return result.where(wanted, torch.nan)


def _draws_of_prior(opened: OpenPair, wanted: Tensor) -> Iterator[_Found]:
    """Of the observations that are wanted, or of all where the pair takes no part of them.

    An observation's draws are its own: where noise is not keyed by observation, each is drawn for alone.
    """
    prior = opened.with_prior_as_guide().quiet()
    places = wanted.nonzero().squeeze(-1) if opened.pair.splittable else torch.arange(len(wanted), device=wanted.device)
    for together in places.split(len(places) if prior.pair.keyed or not opened.pair.splittable else 1):
        whose = () if prior.pair.keyed else (int(opened.index[together[0]]),)
        for batch in prior.batches(DRAWS, "unseen", *whose, rows=together):
            yield _Found(together[batch.rows], batch, _drawn(batch))


def _drawn(batch: Batch) -> Draw:
    """All draws of a batch; what is infinite or NaN is kept, since these are no draws of a guide."""
    noise, draws = KeyedNoise(batch.seed), []
    for block, particles in enumerate(batch.chunks):
        with isolated_rng(derived_seed(batch.seed, batch.number, block), batch.index.device):
            draws.append(batch.bound.draw(particles, noise if batch.keyed else None))
    return join_particles(draws)


def _log_mean_less_error(log_terms: Tensor) -> Tensor:
    """log (mean − its standard error) of exp(log_terms), shape (S, N) to (N,); −inf where the error is as large."""
    log_terms = log_terms.nan_to_num(nan=-torch.inf, posinf=-torch.inf)
    count, largest = len(log_terms), log_terms.amax(0).nan_to_num(neginf=0.0)
    terms = (log_terms - largest).exp()
    mean = terms.mean(0)
    return largest + (mean - terms.std(0) / math.sqrt(count)).clamp(min=0.0).log()
