"""q's deviations are another quantity than they are taken for, or draws and KL disagree on them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.guide_width import SCALE_GAIN
from bayes_vae.diagnosis.findings.kind import OF_OBJECTIVE, Case, Kind
from bayes_vae.diagnosis.findings.kl_weight import BOTH, KL_WEIGHT_AGREEMENT, KL_WEIGHT_FACTOR
from bayes_vae.diagnosis.measure.deviations import READINGS

__all__ = ["scale_misread"]

READING_TOLERANCE = 1.2
"""Factor within 1 of which the KL weights must lie under another reading of q's deviations, for it to be right."""

DECLARED, SQUARES, ROOTS = "kl_weight_of_means", "kl_weight_of_means_with_squares", "kl_weight_of_means_with_roots"

TWO_READINGS = {
    (DECLARED, "kl_weight_of_scales_as_variances"): "The KL took as q's variance what the draws took as its deviation",
    (DECLARED, "kl_weight_of_scales_as_roots"): "The KL took as q's deviation the square of what the draws took",
    (SQUARES, "kl_weight_of_scales_with_squares"): "The draws took the square of the guide's deviation, the KL did not",
    (ROOTS, "kl_weight_of_scales_with_roots"): "The draws took the root of the guide's deviation, the KL did not",
}
"""Weights on the KL that are 1, from means and from deviations → what then happened in training."""


@partial(
    Kind,
    "scale-misread",
    "fault",
    needs=("gain_of_reading", *BOTH),
    why="ELBO, L_K and samples are those of another q than the one that was trained.",
    advice="Decide once what the encoder's second output is, log variance v (s = exp(v / 2)) or log deviation (s = exp), "
    "and use it alike for the draws, for the KL and in the guide.",
    explains=(*OF_OBJECTIVE, "averaged-loss", "sampling-off"),
    symptom="decoder",
    of_elbo=True,
)
def scale_misread(seen: Examined) -> Iterator[Case]:
    """Deviations that make more sense under another reading, or that draws and KL read differently."""
    chosen, factor = seen.value("best_reading"), seen.value("gain_of_scale_factor")
    words = list(READINGS)[int(chosen)] if math.isfinite(chosen) else ""
    yield Case(
        f"The guide's deviations s are those of another quantity: with {words} in their place the ELBO gains "
        f"{seen.value('gain_of_reading'):.2g} nats, and the pair is at rest at KL weight 1.",
        [
            seen.above("gain_of_reading", seen.at_least(*SCALE_GAIN)),
            seen.holds(seen.value("gain_of_reading") > factor - 0.02 * abs(factor)),
            *(seen.within(f"{name}_under_reading", 1.0, READING_TOLERANCE) for name in BOTH),
        ],
        ("gain_of_scale_factor", *BOTH),
    )
    for (means, scales), words in TWO_READINGS.items():  # the pair is at rest only where both readings are known
        yield Case(
            f"{words}: at KL weight 1 means and deviations are at rest only so.",
            [
                seen.within(means, 1.0, KL_WEIGHT_FACTOR),
                seen.within(scales, 1.0, READING_TOLERANCE),
                seen.off("kl_weight_of_scales", 1.0, KL_WEIGHT_AGREEMENT),
            ],
        )
