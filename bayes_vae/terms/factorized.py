"""Pairs whose prior and guide are normals with independent dimensions, read as means and deviations."""

from __future__ import annotations

from contextlib import suppress
from typing import TypeAlias

from torch import Tensor

from bayes_vae.distributions import normal_parts
from bayes_vae.errors import NotDefinedError
from bayes_vae.terms.exposed import ExposedBatch, ExposedPair
from bayes_vae.terms.normal_latents import NormalBatch, NormalLatents, normal_latents
from bayes_vae.terms.rows import Rows
from bayes_vae.terms.stream import Pair
from bayes_vae.terms.traced import TracedPair
from bayes_vae.terms.traced_distributions import distributions_of_traces

__all__ = [
    "FactorizedBatch",
    "FactorizedPair",
    "as_factorized",
    "factorized",
    "variational_normal",
    "without_distributions",
]


FactorizedPair: TypeAlias = ExposedPair | NormalLatents
"""A pair that is one."""

FactorizedBatch: TypeAlias = ExposedBatch | NormalBatch
"""A batch of one."""


def factorized(pair: Pair, rows: Rows, quantity: str, reason: str) -> FactorizedPair:
    """The pair, where prior and guide are seen to be factorized normals over one vector z.

    Args:
        pair: however it is read.
        rows: observations, of which the first is looked at.
        quantity: what is asked for, named in the message.
        reason: why it needs such a pair, a clause.

    Raises:
        NotDefinedError: the pair does not expose its distributions, or they are others.
    """
    if isinstance(pair, NormalLatents):
        return pair
    if not isinstance(pair, ExposedPair):
        raise NotDefinedError(f"{quantity} {reason}, and {without_distributions(pair, rows)}")
    first = rows.take(slice(0, 1))
    q = pair.bind(first.read(), first.index).variational_posterior
    for name, distribution in (("variational posterior", q), ("prior", pair.model.prior())):
        if normal_parts(distribution) is None or len(distribution.event_shape) != 1:
            raise NotDefinedError(
                f"{quantity} {reason}, but the {name} is {type(distribution).__name__} with event shape "
                f"{tuple(distribution.event_shape)}: it must be a normal over z of shape (D,) with independent "
                "dimensions, as bayes_vae.distributions.diagonal_normal makes."
            )
    return pair


def as_factorized(pair: Pair, rows: Rows) -> Pair:
    """The pair as distributions, exposed or read off its traces, with a likelihood or else of its latents; else itself.

    Args:
        pair: however it is read.
        rows: observations, of which the first few are looked at.
    """
    if isinstance(pair, TracedPair):
        for read in (distributions_of_traces, normal_latents):
            with suppress(NotDefinedError):
                found: Pair = read(pair, rows)
                return found
    return pair


def without_distributions(pair: Pair, rows: Rows) -> str:
    """That a traced pair does not expose its distributions, why its traces do not show them, or what to do."""
    try:
        if isinstance(pair, TracedPair) and not isinstance(pair, NormalLatents):
            normal_latents(pair, rows)
        if isinstance(pair, TracedPair):
            distributions_of_traces(pair, rows)
    except NotDefinedError as error:
        return f"this pair does not expose its distributions, nor can they be read off its traces: {error}"
    return (
        "this pair does not expose its distributions: give the model prior() and likelihood(z) and the guide "
        "variational_posterior(x), as SingleLatentModel and SingleLatentGuide do."
    )


def variational_normal(batch: FactorizedBatch) -> tuple[Tensor, Tensor]:
    """Means and deviations of q(z given x) for a batch of a factorized pair, each (N, D)."""
    parts = normal_parts(batch.variational_posterior)
    assert parts is not None, "factorized has looked"
    return parts
