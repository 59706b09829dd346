"""Was the training objective the ELBO? The weight on the KL, and the ways to get it wrong."""

from __future__ import annotations

import math

from bayes_vae.diagnosis.findings import Evidence, Finding
from bayes_vae.diagnosis.judging import Check, Condition, Examined, conclude
from bayes_vae.diagnosis.scales import READINGS
from bayes_vae.diagnosis.thresholds import (
    ACROSS_BATCH_DEVIATION,
    AVERAGED_TOLERANCE,
    BALANCED_SHARE,
    COLLAPSED_KL,
    DECODED_MEANS_GAIN,
    FORGOTTEN_KL_WEIGHT,
    KL_WEIGHT_AGREEMENT,
    KL_WEIGHT_FACTOR,
    KL_WEIGHT_FACTOR_UNSETTLED,
    READING_TOLERANCE,
    SCALE_GAIN,
    SETTLED_GAIN,
    UNUSED_KL,
    UNUSED_SHARE,
    VARIANCE_SHARE,
)

__all__ = ["OBJECTIVE_CHECKS"]

BOTH = ("kl_weight_of_means", "kl_weight_of_scales")
KL, CODES = "train_kl_to_prior", "scale_share"
MOMENTS = ("aggregate_mean_off", "aggregate_deviation_smallest", "aggregate_deviation_largest")


def kl_sign(seen: Examined) -> Finding | None:
    """A KL that is paid and hardly used, with codes far from the prior and no balance anywhere near weight 1."""
    kl, use = seen.value(KL), seen.value("use_of_latent")
    paid = seen.above(KL, 10 * UNUSED_KL)
    wasted = Condition(seen.shown("use_of_latent"), 1.0 if use < UNUSED_SHARE * kl else 0.0)
    far = seen.above("marginal_kl_bound", UNUSED_KL)
    grown = seen.above("gain_of_training", 0.5 * kl)
    return conclude(
        "kl-sign",
        f"The KL is {kl:.3g} nats, and the decoder has {use:.2g} nats of use for it: training seems to have raised it "
        "instead of lowering it.",
        [paid, wasted, far, grown],
    )


def kl_missing(seen: Examined) -> Finding | None:
    """Nothing holds q: the likelihood's pull is balanced at weight 0."""
    return conclude(
        "kl-missing",
        f"Training came to rest as if the KL had weight 0: it is {seen.value(KL):.3g} nats, and each q(z | x) is "
        f"{seen.value(CODES):.2g} of the width of all codes.",
        [*_forgotten(seen), seen.above(KL, UNUSED_KL), _not(_like_the_prior(seen))],
        [seen.shown("aggregate_deviation_largest"), seen.shown("marginal_kl_bound")],
    )


def _forgotten(seen: Examined) -> list[Condition]:
    """No pull of the prior on q's deviations, and little on its means."""
    means = 10 * FORGOTTEN_KL_WEIGHT if _like_the_prior(seen) else FORGOTTEN_KL_WEIGHT
    return [
        seen.below("kl_weight_of_scales", FORGOTTEN_KL_WEIGHT),
        seen.below("kl_weight_of_means", means),
        seen.above("use_of_latent", UNUSED_KL),
        seen.below(CODES, 2 * VARIANCE_SHARE),
    ]


def _like_the_prior(seen: Examined) -> bool:
    """Whether mean and deviation of all codes are the prior's, in every dimension."""
    small, large = seen.value("aggregate_deviation_smallest"), seen.value("aggregate_deviation_largest")
    near = seen.value("aggregate_mean_off") < ACROSS_BATCH_DEVIATION
    return near and small > 1 - ACROSS_BATCH_DEVIATION and large < 1 + ACROSS_BATCH_DEVIATION


def _not(fact: bool) -> Condition:
    return Condition(Evidence("", math.nan), 0.0 if fact else 1.0)


def kl_across_batch(seen: Examined) -> Finding | None:
    """All codes together look like the prior, and no q by itself is held to it."""
    return conclude(
        "kl-across-batch",
        "All codes together have the prior's mean and deviation, and yet no q(z | x) is held to the prior: the KL is "
        f"{seen.value(KL):.3g} nats.",
        [*_forgotten(seen), seen.above(KL, UNUSED_KL), _not(not _like_the_prior(seen))],
        [
            seen.shown(name)
            for name in ("aggregate_mean_off", "aggregate_deviation_smallest", "aggregate_deviation_largest")
        ],
    )


def sampling_off(seen: Examined) -> Finding | None:
    """q as wide as the prior, means that differ, and a decoder that knows the means alone."""
    gain = seen.value("gain_of_decoding_means")
    return conclude(
        "sampling-off",
        f"Decoding q's mean gives {gain:.3g} nats more than decoding a draw, and q's deviations are the prior's: they "
        "had no part in training.",
        [
            seen.above("gain_of_decoding_means", DECODED_MEANS_GAIN),
            seen.within("mean_square_scale", 1.0, KL_WEIGHT_FACTOR),
            seen.above("kl_weight_of_means", KL_WEIGHT_FACTOR_UNSETTLED),
            seen.within("kl_weight_at_means", 1.0, KL_WEIGHT_FACTOR_UNSETTLED),
        ],
    )


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
        [seen.above("gain_of_reading", seen.at_least(*SCALE_GAIN)), _not(not better), *at_rest],
        [seen.shown("gain_of_scale_factor"), *map(seen.shown, BOTH)],
    )


def _read_two_ways(seen: Examined) -> Finding | None:
    return conclude(
        "scale-misread",
        "The KL of the training took as q's variance what the draws took as its deviation: means are at rest at KL "
        "weight 1, deviations only under that reading.",
        [
            seen.within("kl_weight_of_means", 1.0, KL_WEIGHT_FACTOR),
            seen.within("kl_weight_of_scales_as_variances", 1.0, READING_TOLERANCE),
            seen.off("kl_weight_of_scales", 1.0, KL_WEIGHT_AGREEMENT),
        ],
    )


def averaged_loss(seen: Examined) -> Finding | None:
    """A weight that is a ratio of sizes; or a latent given up that the ELBO would not give up."""
    weight = seen.value("kl_weight")
    for words, ratio in _averages(seen).items():
        near = seen.within("kl_weight", ratio, AVERAGED_TOLERANCE)
        if near.probability and _one_weight(seen):
            return conclude(
                "averaged-loss",
                f"The estimated KL weight {weight:.3g} is what {words} gives ({ratio:.3g}).",
                [near, *_weight_conditions(seen)],
                [seen.shown(name) for name in BOTH],
            )
    return None if _one_weight(seen) else _given_up(seen)


def _given_up(seen: Examined) -> Finding | None:
    """No weight can be read off, since nothing is left of the latent; but the ELBO would have kept it."""
    again = seen.value("gain_of_starting_again")
    return conclude(
        "averaged-loss",
        f"The latent was given up, and yet a fresh copy trained a little at KL weight 1 has an ELBO {again:.2g} nats "
        f"above: the weight must have been far above 1, as a mean over the {seen.num_pixels} numbers of x beside a "
        "sum over z makes it.",
        [
            seen.below("largest_mean_kl_of_a_dimension", COLLAPSED_KL),
            seen.above("gain_of_starting_again", SETTLED_GAIN),
            _not(abs(seen.settings.get("kl_weight", 1.0) - 1) > 0),
        ],
    )


def _averages(seen: Examined) -> dict[str, float]:
    """What is averaged → the weight on the KL that comes of it."""
    pixels, latents = float(seen.num_pixels), seen.value("latent_dimensions")
    found = {"a mean over the numbers of x beside a sum over z": pixels}
    if latents > 1:
        found["means over the numbers of x and over z"] = pixels / latents
        found["a sum over x beside a mean over z"] = 1 / latents
    batch = seen.settings.get("batch_size")
    if batch and batch > 1:
        found["a mean over the batch of log p(x | z) beside a sum of the KL"] = float(batch)
        found["a sum over the batch of log p(x | z) beside a mean of the KL"] = 1 / batch
    return {words: ratio for words, ratio in found.items() if abs(math.log(ratio)) > math.log(KL_WEIGHT_FACTOR)}


def kl_weight(seen: Examined) -> Finding | None:
    """A weight other than 1: known from the settings, else estimated."""
    known = float(seen.settings.get("kl_weight", 1.0))
    if known != 1:
        said = Evidence("kl_weight_of_the_settings", known, threshold=1.0)
        summary = f"The run was trained with KL weight {known:g}."
        return conclude("kl-weight", summary, [Condition(said, 1.0)], [seen.shown("kl_weight")])
    free = float(seen.settings.get("free_bits", 0.0))
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
        [seen.shown(name) for name in (*BOTH, "train_kl_to_prior", "gain_at_own_weight")],
    )


def _one_weight(seen: Examined) -> bool:
    """Whether q's means and deviations speak of the same weight, where both are known, and not of none at all."""
    means, scales, weight = (seen.value(name) for name in (*BOTH, "kl_weight"))
    if math.isnan(means):
        return weight > FORGOTTEN_KL_WEIGHT
    if seen.value("largest_mean_kl_of_a_dimension") < COLLAPSED_KL:
        return weight > 1 and seen.value("unbalanced_share") < BALANCED_SHARE
    agree = means > 0 and scales > 0 and abs(math.log(means / scales)) < math.log(KL_WEIGHT_AGREEMENT)
    return agree and weight > FORGOTTEN_KL_WEIGHT


def _weight_conditions(seen: Examined) -> list[Condition]:
    """Off from 1, from means and from deviations; further where training had not come to rest."""
    settled = not seen.value("gain_at_own_weight_on_train") > SETTLED_GAIN
    factor = KL_WEIGHT_FACTOR if settled else KL_WEIGHT_FACTOR_UNSETTLED
    names = [name for name in BOTH if name in seen.numbers]
    return [seen.off(name, 1.0, factor) for name in ("kl_weight", *names)]


OBJECTIVE_CHECKS = (
    Check("kl-sign", (KL, "use_of_latent", "marginal_kl_bound", "gain_of_training"), kl_sign),
    Check("kl-missing", (*BOTH, KL, CODES, "use_of_latent"), kl_missing),
    Check("kl-across-batch", (*BOTH, KL, CODES, "use_of_latent", "aggregate_mean_off"), kl_across_batch),
    Check("sampling-off", ("gain_of_decoding_means", "mean_square_scale", *BOTH), sampling_off),
    Check("scale-misread", ("gain_of_reading", *BOTH), scale_misread),
    Check("averaged-loss", ("kl_weight",), averaged_loss),
    Check("kl-weight", ("kl_weight",), kl_weight),
)
