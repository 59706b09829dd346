"""Was the KL in the objective, each q's own, with its sign, and were draws of q decoded?"""

from __future__ import annotations

from bayes_vae.diagnosis.findings import Finding
from bayes_vae.diagnosis.judging import Check, Condition, Examined, conclude, unless
from bayes_vae.diagnosis.thresholds import (
    ACROSS_BATCH_DEVIATION,
    DECODED_MEANS_GAIN,
    FORGOTTEN_KL_WEIGHT,
    KL_WEIGHT_FACTOR,
    KL_WEIGHT_FACTOR_UNSETTLED,
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
    """Nothing holds q: the likelihood's pull is balanced at weight 0, at draws of q or at its means."""
    return _no_pull(seen) or _autoencoder(seen)


def _autoencoder(seen: Examined) -> Finding | None:
    """Means that are at rest without any KL where they are decoded themselves, and deviations that did nothing."""
    return conclude(
        "kl-missing",
        f"An autoencoder: q's means are at rest without a KL, which is {seen.value(KL):.3g} nats, and decoding them "
        f"gives {seen.value('gain_of_decoding_means'):.3g} nats more than decoding draws: q's deviations had no part.",
        [
            seen.below("kl_weight_of_means", 10 * FORGOTTEN_KL_WEIGHT),
            seen.below("kl_weight_at_means", 10 * FORGOTTEN_KL_WEIGHT),
            seen.below("kl_weight_of_scales", FORGOTTEN_KL_WEIGHT),
            seen.above("gain_of_decoding_means", UNUSED_KL),
            seen.above("use_of_latent", UNUSED_KL),
            seen.above(KL, 10 * UNUSED_KL),
        ],
        [seen.shown("median_scale"), seen.shown("aggregate_deviation_largest"), seen.shown("marginal_kl_bound")],
    )


def _no_pull(seen: Examined) -> Finding | None:
    return conclude(
        "kl-missing",
        f"Training came to rest as if the KL had weight 0: it is {seen.value(KL):.3g} nats, and each q(z | x) is "
        f"{seen.value(CODES):.2g} of the width of all codes.",
        [*_forgotten(seen), seen.above(KL, UNUSED_KL), unless(_like_the_prior(seen))],
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


def kl_across_batch(seen: Examined) -> Finding | None:
    """All codes together look like the prior, and no q by itself is held to it."""
    return conclude(
        "kl-across-batch",
        "All codes together have the prior's mean and deviation, and yet no q(z | x) is held to the prior: the KL is "
        f"{seen.value(KL):.3g} nats.",
        [*_forgotten(seen), seen.above(KL, UNUSED_KL), unless(not _like_the_prior(seen))],
        [seen.shown(name) for name in MOMENTS],
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


OBJECTIVE_CHECKS = (
    Check("kl-sign", (KL, "use_of_latent", "marginal_kl_bound", "gain_of_training"), kl_sign),
    Check("kl-missing", (*BOTH, KL, CODES, "use_of_latent"), kl_missing),
    Check("kl-across-batch", (*BOTH, KL, CODES, "use_of_latent", "aggregate_mean_off"), kl_across_batch),
    Check("sampling-off", ("gain_of_decoding_means", "mean_square_scale", *BOTH), sampling_off),
)
