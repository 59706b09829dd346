"""The guide's family has a better q than the encoder gives."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bayes_vae.diagnosis.findings.examined import Examined, agree
from bayes_vae.diagnosis.findings.kind import Case, Kind
from bayes_vae.diagnosis.findings.kl_weight import KL_WEIGHT_FACTOR_UNSETTLED

__all__ = ["amortization_gap"]

AMORTIZATION_GAP = (0.5, 0.25)
"""Nats that the best q of the family may gain over the encoder's, on training rows."""


@partial(
    Kind,
    "amortization-gap",
    "warning",
    needs=("train_amortization_gap",),
    why="The encoder gives a worse q than its own family has: the ELBO is lower than it need be, and so is what the "
    "decoder learns from.",
    advice="Make the encoder larger or train it longer, or refine q for each observation (guide semi-amortized).",
    explains=("undertraining", "prior-hole", "importance-weights"),
    symptom="guide",
    of_elbo=True,
)
def amortization_gap(seen: Examined) -> Iterator[Case]:
    """A gap on training rows, with means near rest at weight 1, or more of it than all codes are off from the prior.

    Else it is the prior or the objective that is another than in training.
    """
    gap, off = seen.value("train_amortization_gap"), seen.value("marginal_kl_bound")
    near = agree(seen.value("kl_weight_of_means"), 1.0, KL_WEIGHT_FACTOR_UNSETTLED)
    yield Case(
        f"The best q of the guide's family has an ELBO {gap:.2g} nats above the encoder's, on rows that it was trained "
        "on.",
        [
            seen.above("train_amortization_gap", seen.at_least(*AMORTIZATION_GAP)),
            seen.holds(near or gap > off, "kl_weight_of_means"),
        ],
        ("test_amortization_gap", "kl_weight_of_means", "marginal_kl_bound"),
    )
