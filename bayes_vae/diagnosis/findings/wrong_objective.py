"""The KL was left out, taken of a whole batch, or raised; or q was never drawn from."""

from __future__ import annotations

from collections.abc import Iterator

from bayes_vae.diagnosis.findings.examined import Condition, Examined
from bayes_vae.diagnosis.findings.kind import OF_DECODER, OF_OBJECTIVE, Case, fault
from bayes_vae.diagnosis.findings.kl_weight import (
    BOTH,
    FORGOTTEN_KL_WEIGHT,
    KL_WEIGHT_FACTOR,
    KL_WEIGHT_FACTOR_UNSETTLED,
)
from bayes_vae.diagnosis.findings.latent_use import MOMENTS, UNUSED_KL, VARIANCE_SHARE

ACROSS_BATCH_DEVIATION = 0.15
"""How far mean and deviation of all codes may be from the prior's to be called those of the prior."""

KL, CODES = "train_kl_to_prior", "scale_share"


@fault(
    "kl-sign",
    needs=(KL, "use_of_latent", "marginal_kl_bound", "gain_of_training"),
    why="Training drives q away from the prior and gains nothing for it: the loss falls without bound.",
    advice="Minimize minus the expected log likelihood plus the KL, with KL = -0.5 sum(1 + log s² - m² - s²), which is "
    "never negative.",
    explains=(*OF_DECODER, "sigmoid-missing", "kl-missing", "decoder-ignores-latent"),
    of_elbo=True,
)
def kl_sign(seen: Examined) -> Iterator[Case]:
    """A KL that is paid and hardly used, with codes far from the prior and no balance anywhere near weight 1."""
    kl, use = seen.value(KL), seen.value("use_of_latent")
    yield Case(
        f"The KL is {kl:.3g} nats, and the decoder gains only {use:.2g} nats from z: training seems to have raised the "
        "KL instead of lowering it.",
        [
            seen.above(KL, 10 * UNUSED_KL),
            seen.holds(use < 0.1 * kl, "use_of_latent"),
            seen.above("marginal_kl_bound", UNUSED_KL),
            seen.above("gain_of_training", 0.5 * kl),
        ],
    )


@fault(
    "kl-missing",
    needs=(*BOTH, KL, CODES, "use_of_latent"),
    why="Without it this is an autoencoder: samples from the prior land where the decoder was never trained, and there "
    "is no bound on log p(x).",
    advice="Add the KL of each observation's q to the loss, summed over latent dimensions, at weight 1.",
    explains=(*OF_OBJECTIVE, "scale-misread", "averaged-loss", "overfitting", "sampling-off"),
    of_elbo=True,
)
def kl_missing(seen: Examined) -> Iterator[Case]:
    """Nothing holds q: the likelihood's pull is balanced at weight 0, at draws of q or at its means."""
    yield Case(
        f"Training came to rest as if the KL had weight 0: it is {seen.value(KL):.3g} nats, and each q(z | x) is "
        f"{seen.value(CODES):.2g} of the width of all codes.",
        [*_forgotten(seen), seen.holds(not _like_the_prior(seen))],
        ("aggregate_deviation_largest", "marginal_kl_bound"),
    )
    yield Case(  # means at rest without any KL where they are decoded themselves, and deviations that did nothing
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
        ("median_scale", "aggregate_deviation_largest", "marginal_kl_bound"),
    )


@fault(
    "kl-across-batch",
    needs=(*BOTH, KL, CODES, "use_of_latent", "aggregate_mean_off"),
    why="The codes of a batch look like the prior, but no q(z | x) is held to it: each shrinks to a point, and the "
    "true KL is far larger than the one in the loss.",
    advice="Take the KL of each observation's own q(z | x) (its mean and its deviation), then average over the batch.",
    explains=(*OF_OBJECTIVE, "scale-misread", "averaged-loss", "overfitting"),
    of_elbo=True,
)
def kl_across_batch(seen: Examined) -> Iterator[Case]:
    """All codes together look like the prior, and no q by itself is held to it."""
    yield Case(
        "All codes together have the prior's mean and deviation, and yet no q(z | x) is held to the prior: the KL is "
        f"{seen.value(KL):.3g} nats.",
        [*_forgotten(seen), seen.holds(_like_the_prior(seen))],
        MOMENTS,
    )


def _forgotten(seen: Examined) -> list[Condition]:
    """No pull of the prior on q's deviations, and little on its means."""
    means = 10 * FORGOTTEN_KL_WEIGHT if _like_the_prior(seen) else FORGOTTEN_KL_WEIGHT
    return [
        seen.below("kl_weight_of_scales", FORGOTTEN_KL_WEIGHT),
        seen.below("kl_weight_of_means", means),
        seen.above("use_of_latent", UNUSED_KL),
        seen.below(CODES, 2 * VARIANCE_SHARE),
        seen.above(KL, UNUSED_KL),
    ]


def _like_the_prior(seen: Examined) -> bool:
    """Whether mean and deviation of all codes are the prior's, in every dimension."""
    off, small, large = map(seen.value, MOMENTS)
    near = off < ACROSS_BATCH_DEVIATION
    return near and small > 1 - ACROSS_BATCH_DEVIATION and large < 1 + ACROSS_BATCH_DEVIATION


@fault(
    "sampling-off",
    needs=("gain_of_decoding_means", "mean_square_scale", *BOTH),
    why="The decoder was trained on q's means only: it fails at draws of q, and so in the ELBO and for samples.",
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
            seen.above("gain_of_decoding_means", 3.0),
            seen.within("mean_square_scale", 1.0, KL_WEIGHT_FACTOR),
            seen.above("kl_weight_of_means", KL_WEIGHT_FACTOR_UNSETTLED),
            seen.within("kl_weight_at_means", 1.0, KL_WEIGHT_FACTOR_UNSETTLED),
        ],
    )
