"""q's means were decoded in training, never a draw."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.kind import OF_OBJECTIVE, Case, Kind
from bayes_vae.diagnosis.findings.kl_weight import BOTH, KL_WEIGHT_FACTOR, KL_WEIGHT_FACTOR_UNSETTLED

__all__ = ["sampling_off"]

DECODED_MEANS_GAIN = 3.0
"""Nats of log likelihood that decoding q's mean must gain over a draw, with q as wide as the prior."""


@partial(
    Kind,
    "sampling-off",
    "fault",
    needs=("gain_of_decoding_means", "mean_square_scale", *BOTH),
    why="The decoder knows q's means alone: at draws of q, and so in the ELBO and at samples, it fails.",
    advice="Decode z = m + s · noise in training, drawn anew at each step.",
    explains=(*OF_OBJECTIVE, "scale-misread", "averaged-loss"),
    symptom="decoder",
    of_elbo=True,
)
def sampling_off(seen: Examined) -> Iterator[Case]:
    """q as wide as the prior, means that differ, and a decoder that knows the means alone."""
    gain = seen.value("gain_of_decoding_means")
    yield Case(
        f"Decoding q's mean gives {gain:.3g} nats more than decoding a draw, and q's deviations are the prior's: they "
        "had no part in training.",
        [
            seen.above("gain_of_decoding_means", DECODED_MEANS_GAIN),
            seen.within("mean_square_scale", 1.0, KL_WEIGHT_FACTOR),
            seen.above("kl_weight_of_means", KL_WEIGHT_FACTOR_UNSETTLED),
            seen.within("kl_weight_at_means", 1.0, KL_WEIGHT_FACTOR_UNSETTLED),
        ],
    )
