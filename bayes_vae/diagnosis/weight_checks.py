"""Which weight had the KL in training, and did draws and KL read q's deviations alike?"""

from __future__ import annotations

import math

from bayes_vae.diagnosis.findings import Evidence, Finding
from bayes_vae.diagnosis.judging import Check, Condition, Examined, conclude, unless
from bayes_vae.diagnosis.scales import READINGS
from bayes_vae.diagnosis.thresholds import (
    AVERAGED_FROM,
    AVERAGED_TOLERANCE,
    BALANCED_SHARE,
    COLLAPSED_KL,
    FORGOTTEN_KL_WEIGHT,
    KL_WEIGHT_AGREEMENT,
    KL_WEIGHT_FACTOR,
    KL_WEIGHT_FACTOR_UNSETTLED,
    READING_TOLERANCE,
    SCALE_GAIN,
    SETTLED_GAIN,
    UNUSED_KL,
)

__all__ = ["WEIGHT_CHECKS"]

BOTH = ("kl_weight_of_means", "kl_weight_of_scales")
KL = "train_kl_to_prior"


def scale_misread(seen: Examined) -> Finding | None:
    """Deviations that make more sense under another reading, or that draws and KL read differently."""
    return _declared_otherwise(seen) or _read_two_ways(seen)


def _declared_otherwise(seen: Examined) -> Finding | None:
    chosen = seen.value("best_reading")
    words = list(READINGS)[int(chosen)] if math.isfinite(chosen) else ""
    factor = seen.value("gain_of_scale_factor")
    better = seen.value("gain_of_reading") > factor - 0.02 * abs(factor)
    at_rest = [seen.within(f"{name}_under_reading", 1.0, READING_TOLERANCE) for name in BOTH]
    return conclude(
        "scale-misread",
        f"The guide's deviations s are those of another quantity: with {words} in their place the ELBO gains "
        f"{seen.value('gain_of_reading'):.2g} nats, and the pair is at rest at KL weight 1.",
        [seen.above("gain_of_reading", seen.at_least(*SCALE_GAIN)), unless(not better), *at_rest],
        [seen.shown("gain_of_scale_factor"), *map(seen.shown, BOTH)],
    )


DECLARED, SQUARES, ROOTS = "kl_weight_of_means", "kl_weight_of_means_with_squares", "kl_weight_of_means_with_roots"

TWO_READINGS = {
    (DECLARED, "kl_weight_of_scales_as_variances"): "The KL took as q's variance what the draws took as its deviation",
    (DECLARED, "kl_weight_of_scales_as_roots"): "The KL took as q's deviation the square of what the draws took",
    (SQUARES, "kl_weight_of_scales_with_squares"): "The draws took the square of the guide's deviation, the KL did not",
    (ROOTS, "kl_weight_of_scales_with_roots"): "The draws took the root of the guide's deviation, the KL did not",
}
"""Weights on the KL that are 1, from means and from deviations → what then happened in training."""


def _read_two_ways(seen: Examined) -> Finding | None:
    """Draws and KL read the encoder's second output differently: the pair is at rest only where both are known."""
    for (means, scales), words in TWO_READINGS.items():
        found = conclude(
            "scale-misread",
            f"{words}: at KL weight 1 means and deviations are at rest only so.",
            [
                seen.within(means, 1.0, KL_WEIGHT_FACTOR),
                seen.within(scales, 1.0, READING_TOLERANCE),
                seen.off("kl_weight_of_scales", 1.0, KL_WEIGHT_AGREEMENT),
            ],
        )
        if found:
            return found
    return None


def averaged_loss(seen: Examined) -> Finding | None:
    """A weight that is a ratio of sizes; or a latent given up that the ELBO would not give up."""
    if _weight_is_known(seen):
        return None
    if not _one_weight(seen):
        return _given_up(seen)
    words, ratio = _average(seen)
    return conclude(
        "averaged-loss",
        f"The estimated KL weight {seen.value('kl_weight'):.3g} is what {words} gives ({ratio:.3g}); a KL weight of "
        "that size would look the same.",
        [
            seen.within("kl_weight", ratio, AVERAGED_TOLERANCE),
            seen.off("kl_weight", 1.0, AVERAGED_FROM),
            *_weight_conditions(seen),
        ],
        [seen.shown(name) for name in BOTH],
    )


def _average(seen: Examined) -> tuple[str, float]:
    """The average whose weight on the KL is nearest to the estimated one."""
    weight = seen.value("kl_weight")
    return min(_averages(seen).items(), key=lambda average: abs(math.log(weight / average[1])))


def _weight_is_known(seen: Examined) -> bool:
    """Whether the settings say that the training had another weight than 1, or free bits."""
    return seen.setting("kl_weight", 1.0) != 1 or seen.setting("free_bits", 0.0) > 0


def _given_up(seen: Examined) -> Finding | None:
    """No weight can be read off, since nothing is left of the latent; but the ELBO would have kept it: a suspicion."""
    again = seen.value("gain_of_starting_again")
    return conclude(
        "averaged-loss",
        f"A fresh copy trained a little at KL weight 1 keeps the latent, and has an ELBO {again:.2g} nats above. Most "
        f"often it is lost to a mean over the {seen.num_pixels} numbers of x beside a sum over z; a large KL weight, "
        "draws without a gradient (sample in place of rsample) or too high a learning rate look the same.",
        [
            seen.below("largest_mean_kl_of_a_dimension", COLLAPSED_KL),
            seen.above("gain_of_starting_again", SETTLED_GAIN),
        ],
        severity="warning",
    )


def _averages(seen: Examined) -> dict[str, float]:
    """What is averaged → the weight on the KL that comes of it."""
    pixels, latents = float(seen.num_pixels), seen.value("latent_dimensions")
    found = {"a mean over the numbers of x beside a sum over z": pixels}
    if latents > 1:
        found["means over the numbers of x and over z"] = pixels / latents
        found["a sum over x beside a mean over z"] = 1 / latents
    batch = seen.setting("batch_size", 1.0)
    if batch > 1:
        found["a mean over the batch of log p(x | z) beside a sum of the KL"] = batch
        found["a sum over the batch of log p(x | z) beside a mean of the KL"] = 1 / batch
    return found


def kl_weight(seen: Examined) -> Finding | None:
    """A weight other than 1: known from the settings, else estimated."""
    known = seen.setting("kl_weight", 1.0)
    if known != 1:
        said = Evidence("kl_weight_of_the_settings", known, threshold=1.0)
        summary = f"The run was trained with KL weight {known:g}."
        return conclude("kl-weight", summary, [Condition(said, 1.0)], [seen.shown("kl_weight")])
    free = seen.setting("free_bits", 0.0)
    if free > 0:
        said = Evidence("free_bits_of_the_settings", free, unit="nats", threshold=0.0)
        summary = (
            f"The run was trained with {free:g} nats of KL for nothing in each latent dimension of each observation."
        )
        return conclude("kl-weight", summary, [Condition(said, 1.0)], [seen.shown("kl_weight")])
    if not _one_weight(seen):
        return None
    return conclude(
        "kl-weight",
        f"Training came to rest as if the KL had weight {seen.value('kl_weight'):.2g}.",
        _weight_conditions(seen),
        [seen.shown(name) for name in (*BOTH, KL, "gain_at_own_weight")],
    )


def _one_weight(seen: Examined) -> bool:
    """Whether q's means and deviations speak of the same weight, where both are known, and not of none at all."""
    means, scales, weight = (seen.value(name) for name in (*BOTH, "kl_weight"))
    if math.isnan(means):
        return weight > FORGOTTEN_KL_WEIGHT
    if seen.value("largest_mean_kl_of_a_dimension") < COLLAPSED_KL:
        return weight > 1 and seen.value("unbalanced_share") < BALANCED_SHARE
    if _says_nothing(seen):
        return False
    agree = means > 0 and scales > 0 and abs(math.log(means / scales)) < math.log(KL_WEIGHT_AGREEMENT)
    return agree and weight > FORGOTTEN_KL_WEIGHT


def _says_nothing(seen: Examined) -> bool:
    """Whether next to nothing is paid for a latent of which the decoder makes nothing: no weight can be read off."""
    return seen.value("use_of_latent") < COLLAPSED_KL and seen.value(KL) < UNUSED_KL


def _weight_conditions(seen: Examined) -> list[Condition]:
    """Off from 1, from means and from deviations; further where training had not come to rest."""
    settled = not seen.value("gain_at_own_weight_on_train") > SETTLED_GAIN
    factor = KL_WEIGHT_FACTOR if settled else KL_WEIGHT_FACTOR_UNSETTLED
    names = [name for name in BOTH if name in seen.numbers]
    return [seen.off(name, 1.0, factor) for name in ("kl_weight", *names)]


WEIGHT_CHECKS = (
    Check("scale-misread", ("gain_of_reading", *BOTH), scale_misread),
    Check("averaged-loss", ("kl_weight",), averaged_loss),
    Check("kl-weight", ("kl_weight",), kl_weight),
)
