"""Training rows are modelled better than others."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.kind import Case, Kind

__all__ = ["overfitting"]

GENERALIZATION_GAP = (2.0, 0.25)
"""Nats by which the ELBO of training rows may lie above that of test rows."""


@partial(
    Kind,
    "overfitting",
    "warning",
    needs=("generalization_gap",),
    why="The ELBO of observations that were not trained on is lower: training figures say too much.",
    advice="Stop at the best validation ELBO (patience), use smaller networks or more data; where the encoder's part is "
    "large, refine q for each observation or give the encoder noisy inputs.",
    explains=("importance-weights",),
    symptom="decoder",
)
def overfitting(seen: Examined) -> Iterator[Case]:
    """Training rows have a larger ELBO than test rows."""
    gap, encoder = seen.value("generalization_gap"), seen.value("encoder_generalization_gap")
    part = "" if math.isnan(encoder) else f", of which {max(encoder, 0.0):.2g} the encoder's"
    yield Case(
        f"The ELBO of training rows is {gap:.3g} nats above that of test rows{part}.",
        [seen.above("generalization_gap", seen.at_least(*GENERALIZATION_GAP))],
        ("train_elbo", "test_elbo", "encoder_generalization_gap"),
    )
