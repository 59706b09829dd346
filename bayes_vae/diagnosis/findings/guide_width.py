"""One factor on all of q's deviations would make q better."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bayes_vae.diagnosis.findings.examined import Condition, Examined
from bayes_vae.diagnosis.findings.kind import Case, Kind

__all__ = ["guide_too_narrow", "guide_too_wide"]

SCALE_GAIN = (0.3, 0.02)
"""Nats of ELBO that other deviations of q must gain."""

SCALE_SHARE = 0.5
"""Share of the amortization gap that a common factor on the deviations must make good to be the fault."""

FOLLOWS = ("prior-hole", "undertraining", "amortization-gap", "importance-weights")


@partial(
    Kind,
    "guide-too-narrow",
    "warning",
    needs=("gain_of_scale_factor",),
    why="The ELBO falls short of what the same means would give, and importance weights have heavy tails.",
    advice="Look for a factor on the deviations (a temperature, say); else train the guide longer with the decoder held.",
    explains=FOLLOWS,
    symptom="guide",
    of_elbo=True,
)
def guide_too_narrow(seen: Examined) -> Iterator[Case]:
    """Larger deviations are better for nearly all observations."""
    yield _better_by_a_factor(seen, seen.above("best_scale_factor", 1.0))


@partial(
    Kind,
    "guide-too-wide",
    "warning",
    needs=("gain_of_scale_factor",),
    why="The ELBO falls short of what the same means would give: draws of q leave the posterior.",
    advice="Look for a factor or a floor on the deviations; else train the guide longer with the decoder held.",
    explains=FOLLOWS,
    symptom="guide",
    of_elbo=True,
)
def guide_too_wide(seen: Examined) -> Iterator[Case]:
    """Smaller deviations are better for nearly all observations."""
    yield _better_by_a_factor(seen, seen.below("best_scale_factor", 1.0))


def _better_by_a_factor(seen: Examined, side: Condition) -> Case:
    """The factor makes good at least a part of what the best q gains: else it is the encoder that is at fault."""
    factor, gain, gap = map(seen.value, ("best_scale_factor", "gain_of_scale_factor", "train_amortization_gap"))
    return Case(
        f"The ELBO gains {gain:.2g} nats where all deviations of q are taken {factor:.2g} times as large.",
        [
            side,
            seen.above("gain_of_scale_factor", seen.at_least(*SCALE_GAIN)),
            seen.holds(not gain < SCALE_SHARE * gap),
        ],
        ("train_amortization_gap", "pareto_k_share_above"),
    )
