"""The codes are not where the prior is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.kind import Case, Kind

__all__ = ["prior_hole"]

MARGINAL_KL = (0.7, 0.1)
"""Nats of KL between aggregate posterior and prior, by a classifier's lower bound, from which samples suffer."""

MOMENTS = ("aggregate_mean_off", "aggregate_deviation_smallest", "aggregate_deviation_largest")


@partial(
    Kind,
    "prior-hole",
    "warning",
    needs=("marginal_kl_bound",),
    why="Draws from the prior fall where no observation's code is: samples are worse than reconstructions.",
    advice="Use the prior of the training; else give the model a prior that can follow (mixture, vamp, flow), or train to "
    "the end at KL weight 1.",
    explains=("importance-weights",),
    symptom="objective",
)
def prior_hole(seen: Examined) -> Iterator[Case]:
    """Codes and draws of the prior that can be told apart."""
    yield Case(
        "The aggregate posterior is not the prior: their KL is at least "
        f"{seen.value('marginal_kl_bound'):.2g} nats, by a classifier that tells codes from draws of the prior.",
        [seen.above("marginal_kl_bound", seen.at_least(*MARGINAL_KL))],
        MOMENTS,
    )
