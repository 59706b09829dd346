"""q is not the posterior's best approximation: deviations that are misread or off, an encoder that falls short."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bayes_vae.diagnosis.findings.examined import Condition, Examined, agree
from bayes_vae.diagnosis.findings.kind import AT_MOST_LIKELY, HELD_TOO_LITTLE, Case, fault, note, warning
from bayes_vae.diagnosis.findings.kl_weight import (
    BOTH,
    KL_WEIGHT_AGREEMENT,
    KL_WEIGHT_FACTOR,
    KL_WEIGHT_FACTOR_UNSETTLED,
    at_rest_at_one_weight,
)
from bayes_vae.diagnosis.findings.training_length import hardly_trained
from bayes_vae.diagnosis.measure.deviations import READINGS

SCALE_GAIN = (0.3, 0.02)
"""Nats of ELBO, or share of the KL, that other deviations of q must gain."""

BETTER_READING = 1.1
"""Times as much as a common factor on s that a reading of s must gain, for it to be clear that it is no such factor."""

OF_GUIDE_ALONE = 2.0
"""Times as much as any better q gains that training both may gain, where the guide alone is misread."""

READING_TOLERANCE = 1.2
"""Factor within 1 of which the KL weights must lie under another reading of q's deviations, for it to be right."""

CLOSED = 0.5
"""Share of the amortization gap that the retrained encoder must regain for capacity to be ruled out."""

CAPACITY = (
    "Train the encoder alone for longer, with the decoder held fixed; if the gap stays, make the encoder larger or "
    "refine q for each observation (guide semi-amortized). The train amortization gap then falls below 0.5 nats, or a "
    "quarter of the KL."
)

FOLLOWS = ("prior-hole", "undertraining", "amortization-gap", "importance-weights")
DECLARED, SQUARES, ROOTS = "kl_weight_of_means", "kl_weight_of_means_with_squares", "kl_weight_of_means_with_roots"

TWO_READINGS = {
    (DECLARED, "kl_weight_of_scales_as_variances"): "The KL took as q's variance what the draws took as its deviation",
    (DECLARED, "kl_weight_of_scales_as_roots"): "The KL took as q's deviation the square of what the draws took",
    (SQUARES, "kl_weight_of_scales_with_squares"): "The draws, not the KL, took the square of the guide's deviation",
    (ROOTS, "kl_weight_of_scales_with_roots"): "The draws, not the KL, took the root of the guide's deviation",
}
"""Weights on the KL that are 1, from means and from deviations → what then happened in training."""


@fault(
    "scale-misread",
    needs=("gain_of_reading", *BOTH),
    why="ELBO, L_K and samples use a q other than the one that was trained.",
    advice="Decide once what the encoder's second output is, log variance v (s = exp(v / 2)) or log deviation (s "
    "= exp), and use it the same way for the draws, for the KL and in the guide. The gain of reading "
    "then falls to 0 or below, and both KL weights read 1.",
    explains=(*HELD_TOO_LITTLE, "guide-too-wide", "kl-weight", "averaged-loss", "sampling-off"),
    symptom="decoder",
    of_elbo=True,
)
def scale_misread(seen: Examined) -> Iterator[Case]:
    """Deviations that make more sense under another reading, or that draws and KL read differently."""
    chosen, factor = seen.value("best_reading"), seen.value("gain_of_scale_factor")
    words = list(READINGS)[int(chosen)] if math.isfinite(chosen) else ""
    yield Case(
        f"The guide's deviations s are not the quantity that they are taken for: with {words} in their place the "
        f"ELBO gains {seen.value('gain_of_reading'):.2g} nats, and the pair is at rest at KL weight 1.",
        [
            seen.above("gain_of_reading", *SCALE_GAIN),
            seen.holds(seen.value("gain_of_reading") > factor - 0.02 * abs(factor)),
            *(seen.within(f"{name}_under_reading", 1.0, READING_TOLERANCE) for name in BOTH),
            seen.holds(not at_rest_at_one_weight(seen), "gain_at_own_weight"),
        ],
        ("gain_of_scale_factor", *BOTH),
        at_most=1.0 if seen.value("gain_of_reading") > BETTER_READING * factor else AT_MOST_LIKELY,
    )
    for (means, scales), words in TWO_READINGS.items():  # the pair is at rest only where both readings are known
        yield Case(
            f"{words}: only then are means and deviations both at rest at KL weight 1.",
            [
                seen.within(means, 1.0, KL_WEIGHT_FACTOR),
                seen.within(scales, 1.0, READING_TOLERANCE),
                seen.off("kl_weight_of_scales", 1.0, KL_WEIGHT_AGREEMENT),
                seen.holds(not hardly_trained(seen, OF_GUIDE_ALONE), "gain_of_training"),
                seen.holds(not at_rest_at_one_weight(seen), "gain_at_own_weight"),
            ],
            at_most=AT_MOST_LIKELY,  # of four accounts one may fit by chance
        )


@warning(
    "guide-too-narrow",
    needs=("gain_of_scale_factor",),
    why="The ELBO falls short of what the same means would give, and importance weights have heavy tails.",
    advice="Look for a factor on the deviations (a temperature, say); otherwise train the guide longer with the "
    "decoder held fixed. The best scale factor then reads 1, and gain of scale factor 0.",
    explains=FOLLOWS,
    symptom="guide",
    of_elbo=True,
    at_most=AT_MOST_LIKELY,
)
def guide_too_narrow(seen: Examined) -> Iterator[Case]:
    """Larger deviations are better for nearly all observations."""
    yield _better_by_a_factor(seen, seen.above("best_scale_factor", 1.0))


@warning(
    "guide-too-wide",
    needs=("gain_of_scale_factor",),
    why="The ELBO falls short of what the same means would give: draws from q fall outside the posterior.",
    advice="Look for a factor or a floor on the deviations; otherwise train the guide longer with the decoder "
    "held fixed. The best scale factor then reads 1, and gain of scale factor 0.",
    explains=FOLLOWS,
    symptom="guide",
    of_elbo=True,
    at_most=AT_MOST_LIKELY,
)
def guide_too_wide(seen: Examined) -> Iterator[Case]:
    """Smaller deviations are better for nearly all observations."""
    yield _better_by_a_factor(seen, seen.below("best_scale_factor", 1.0))


def _better_by_a_factor(seen: Examined, side: Condition) -> Case:
    """The factor makes good at least a part of what the best q gains: else it is the encoder that is at fault."""
    factor, gain, gap = map(seen.value, ("best_scale_factor", "gain_of_scale_factor", "train_amortization_gap"))
    return Case(
        f"The ELBO gains {gain:.2g} nats if all deviations of q are made {factor:.2g} times as large.",
        [side, seen.above("gain_of_scale_factor", *SCALE_GAIN), seen.holds(not gain < 0.5 * gap)],
        ("train_amortization_gap", "gain_of_encoder", "pareto_k_share_above"),
        explains=(*FOLLOWS, "likelihood-scale") if seen.value("pixel_scale_is_learned") == 1.0 else None,
    )


@warning(
    "amortization-gap",
    needs=("train_amortization_gap",),
    why="The encoder gives a worse q than the best of its family: the ELBO is lower than it need be, and the decoder "
    "learns from that worse q.",
    advice="Look at the objective first: tell diagnose what the pair was trained on (settings={'objective': ..., "
    "'kl_weight': ...}). If it was the ELBO, train the encoder longer with the decoder held fixed. The "
    "train amortization gap then falls below 0.5 nats, or a quarter of the KL.",
    explains=("undertraining", "prior-hole", "importance-weights", "likelihood-scale"),
    symptom="guide",
    of_elbo=True,
    at_most=AT_MOST_LIKELY,
)
def amortization_gap(seen: Examined) -> Iterator[Case]:
    """A gap on training rows; whether the same network closes it tells objective or training from capacity.

    Only with means near rest at weight 1, or more of it than all codes are off from the prior: else it is the prior or
    the objective that is another than in training.
    """
    gap, off, gain = map(seen.value, ("train_amortization_gap", "marginal_kl_bound", "gain_of_encoder"))
    near = agree(seen.value("kl_weight_of_means"), 1.0, KL_WEIGHT_FACTOR_UNSETTLED)
    words = f"The best q of the guide's family has an ELBO {gap:.2g} nats above the encoder's, on training rows"
    explains = ("prior-hole", "importance-weights") if hardly_trained(seen) else None
    conditions = [
        seen.above("train_amortization_gap", 0.5, or_share_of_kl=0.25),
        seen.holds(near or gap > off, "kl_weight_of_means"),
    ]
    shown = ("test_amortization_gap", "gain_of_present_encoder", "gain_of_fresh_encoder", "marginal_kl_bound")
    closed = Case(
        f"{words}. The same encoder, trained a little on the ELBO with the decoder held fixed, regains {gain:.2g} nats "
        "on held-out rows: the cause is the objective or the training, not its capacity.",
        [*conditions, seen.above("gain_of_encoder", CLOSED * gap)],
        shown,
        explains=explains,
    )
    yield closed
    unknown = math.isnan(gain)
    yield Case(
        f"{words}. Whether the same encoder could close it is unchecked: "
        f"{seen.notes.get('gain_of_encoder', 'not measured')}"
        if unknown
        else f"{words}. The same encoder, trained a little by itself, regains {max(gain, 0.0):.2g} nats on held-out "
        "rows: the cause is its capacity or its optimization.",
        conditions,
        shown,
        advice="" if unknown else CAPACITY,
        explains=explains,
    )


@note(
    "importance-weights",
    needs=("pareto_k_share_above",),
    why="For most observations L_K is a lower bound that has not converged, whatever its standard error says.",
    advice="Report log p(x) from annealing (bayes-vae compare), or with a refined proposal. The pareto k share "
    "above then falls below 0.5.",
    symptom="guide",
)
def importance_weights(seen: Examined) -> Iterator[Case]:
    """k̂ above its threshold for many observations."""
    yield Case(
        f"k̂ is above its threshold for {seen.value('pareto_k_share_above'):.0%} of the observations.",
        [seen.above("pareto_k_share_above", 0.5)],
        ("pareto_k_median", "bound_above_elbo"),
    )
