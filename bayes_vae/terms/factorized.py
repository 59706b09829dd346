"""Pairs whose prior and guide are normals with independent dimensions, read as means and deviations."""

from __future__ import annotations

from torch import Tensor

from bayes_vae.distributions import normal_parts
from bayes_vae.errors import NotDefinedError
from bayes_vae.terms.exposed import ExposedBatch, ExposedPair, exposes_distributions
from bayes_vae.terms.program import Observations, Program

__all__ = ["read_factorized_pair", "variational_normal"]


def read_factorized_pair(
    model: Program, guide: Program, x: Observations, index: Tensor, quantity: str, reason: str
) -> ExposedPair:
    """The pair, where prior and guide are seen to be factorized normals over one vector z.

    Args:
        model, guide: the programs.
        x, index: all observations.
        quantity: what is asked for, named in the message.
        reason: why it needs such a pair, a clause.

    Raises:
        NotDefinedError: the pair does not expose its distributions, or they are others.
    """
    if not exposes_distributions(model, guide):
        raise NotDefinedError(
            f"{quantity} {reason}, and this pair does not expose its distributions: give the model prior() and "
            "likelihood(z) and the guide variational_posterior(x), as SingleLatentModel and SingleLatentGuide do."
        )
    pair = ExposedPair(model, guide, x, index)
    q = pair.bind(tuple(part[:1] for part in x), index[:1]).variational_posterior
    for name, distribution in (("variational posterior", q), ("prior", pair.model.prior())):
        if normal_parts(distribution) is None or len(distribution.event_shape) != 1:
            raise NotDefinedError(
                f"{quantity} {reason}, but the {name} is {type(distribution).__name__} with event shape "
                f"{tuple(distribution.event_shape)}: it must be a normal over z of shape (D,) with independent "
                "dimensions, as bayes_vae.distributions.diagonal_normal makes."
            )
    return pair


def variational_normal(batch: ExposedBatch) -> tuple[Tensor, Tensor]:
    """Means and deviations of q(z given x) for a batch of a factorized pair, each (N, D)."""
    parts = normal_parts(batch.variational_posterior)
    assert parts is not None, "read_factorized_pair has looked"
    return parts
