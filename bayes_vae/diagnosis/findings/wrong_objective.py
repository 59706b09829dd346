"""The KL was left out, taken of a whole batch, or raised; or q was never drawn from."""

from __future__ import annotations

from collections.abc import Iterator

from bayes_vae.diagnosis.findings.examined import Condition, Examined, agree
from bayes_vae.diagnosis.findings.kind import (
    ANY_OTHER_BALANCE,
    AT_MOST_LIKELY,
    HELD_TOO_LITTLE,
    OF_DECODER,
    Case,
    fault,
)
from bayes_vae.diagnosis.findings.kl_weight import (
    BOTH,
    FORGOTTEN_KL_WEIGHT,
    KL_WEIGHT_FACTOR,
    KL_WEIGHT_FACTOR_UNSETTLED,
)
from bayes_vae.diagnosis.findings.latent_use import MOMENTS, UNUSED_KL, VARIANCE_SHARE

ACROSS_BATCH_DEVIATION = 0.15
"""How far mean and deviation of all codes may be from the prior's to be called those of the prior."""

MOMENTS_FACTOR = 1.5
"""Factor within 1 of which the weight of a KL of all codes' moments is taken for it."""

PRIOR_AGREEMENT = 1.2
"""Factor within 1 of which the deviations must be at rest under another prior, for it to be the loss's."""

HARDLY_HELD = 0.1
"""Weight of the means that is taken as none where that of the deviations is none: it is the noisier one by far."""

HALF_HELD = 0.5
"""Weight of the means below which a KL of all codes' moments holds them: 1 − 1/v; above it, each observation's own."""

RIVALS = ("scale-misread", "averaged-loss", "kl-weight")
"""Other accounts of the same balances, which the one before them rules out."""

KL, CODES = "train_kl_to_prior", "scale_share"


@fault(
    "kl-sign",
    needs=(KL, "use_of_latent", "marginal_kl_bound", "gain_of_training"),
    why="Training drives q away from the prior and gains nothing for it: the loss falls without bound.",
    advice="Minimize the KL minus the expected log likelihood; the KL is never negative: kl = -0.5 * (1 + log_var - "
    "mean**2 - log_var.exp()).sum(1). Once it is right, both KL weights read 1.",
    explains=(*OF_DECODER, "sigmoid-missing", "kl-missing", "decoder-ignores-latent", "mismatched-pair"),
    of_elbo=True,
)
def kl_sign(seen: Examined) -> Iterator[Case]:
    """A KL that is paid and hardly used, with codes far from the prior, and no sign of a KL that was lowered."""
    kl, use = seen.value(KL), seen.value("use_of_latent")
    lowered = all(map(seen.clearly_positive, BOTH))
    yield Case(
        f"The KL is {kl:.3g} nats, and the decoder gains only {use:.2g} nats from z: training seems to have raised the "
        "KL instead of lowering it.",
        [
            seen.above(KL, 10 * UNUSED_KL),
            seen.holds(abs(use) < 0.1 * kl, "use_of_latent"),
            seen.above("marginal_kl_bound", UNUSED_KL),
            seen.above("gain_of_training", 0.5 * kl),
            seen.holds(not lowered, "kl_weight_of_means"),
            seen.holds(not same_for_every_x(seen)),
        ],
        ("kl_weight_of_scales",),
    )


@fault(
    "kl-missing",
    needs=(*BOTH, KL, CODES, "use_of_latent"),
    why="Without it this is an autoencoder: samples from the prior land where the decoder was never trained, and there "
    "is no bound on log p(x).",
    advice="Add the KL of each observation's q to the loss, summed over latent dimensions, at weight 1: kl = -0.5 * "
    "(1 + log_var - mean**2 - log_var.exp()).sum(1), loss = (reconstruction + kl).mean(). Both KL weights then read 1.",
    explains=(*HELD_TOO_LITTLE, *RIVALS, "sampling-off"),
    of_elbo=True,
)
def kl_missing(seen: Examined) -> Iterator[Case]:
    """Nothing holds q: the likelihood's pull is balanced at weight 0, at draws of q or at its means."""
    other_prior = agree(seen.value("kl_weight_of_scales_under_prior"), 1.0, PRIOR_AGREEMENT)
    of_moments = agree(seen.value("kl_weight_of_moments"), 1.0, MOMENTS_FACTOR)
    yield Case(
        f"Training came to rest as if the KL had weight 0, or a tiny one (measured: {seen.value('kl_weight'):.1g}): "
        f"the KL is {seen.value(KL):.3g} nats, and each q(z | x) is {seen.value(CODES):.2g} times as wide as all "
        "codes together.",
        [*_forgotten(seen), seen.holds(not _like_the_prior(seen)), seen.holds(not (of_moments or other_prior))],
        ("aggregate_deviation_largest", "marginal_kl_bound"),
    )
    yield Case(  # means at rest without any KL where they are decoded themselves, and deviations that did nothing
        f"An autoencoder: q's means are at rest without a KL, which is {seen.value(KL):.3g} nats, and decoding them "
        f"gives {seen.value('gain_of_decoding_means'):.3g} nats more than decoding draws: q's deviations played no "
        "part.",
        [
            seen.below("kl_weight_of_means", HALF_HELD),
            seen.below("kl_weight_at_means", 10 * FORGOTTEN_KL_WEIGHT),
            seen.below("kl_weight_of_scales", FORGOTTEN_KL_WEIGHT),
            seen.above("gain_of_decoding_means", UNUSED_KL),
            seen.above("use_of_latent", UNUSED_KL),
            seen.above(KL, 10 * UNUSED_KL),
            seen.holds(not other_prior, "kl_weight_of_scales_under_prior"),
        ],
        ("median_scale", "aggregate_deviation_largest", "marginal_kl_bound"),
        explains=(*HELD_TOO_LITTLE, *RIVALS, "sampling-off", "guide-too-wide", "likelihood-scale"),
    )
    smallest, largest = seen.value("smallest_scale"), seen.value("largest_scale")
    yield Case(  # the means' own weight is the noisier one, and says little of a pair trained for long
        f"q's deviations are next to zero, though free (from {smallest:.2g} to {largest:.2g}), and next to nothing "
        f"keeps them up: the KL, {seen.value(KL):.3g} nats, seems to be missing in the loss, or to have a tiny weight.",
        [
            seen.below("kl_weight_of_scales", HARDLY_HELD),
            seen.below(CODES, VARIANCE_SHARE),
            seen.holds(smallest < largest / 10, "smallest_scale"),
            seen.above("use_of_latent", UNUSED_KL),
            seen.above(KL, 10 * UNUSED_KL),
            seen.holds(not (_like_the_prior(seen) or of_moments or other_prior), "kl_weight_of_means"),
        ],
        ("median_scale", "marginal_kl_bound"),
        at_most=AT_MOST_LIKELY,
    )


@fault(
    "kl-across-batch",
    needs=(*BOTH, KL, CODES, "use_of_latent", "kl_weight_of_moments"),
    why="The codes of a batch look like the prior, but no q(z | x) is held to it: each shrinks to a point, and the "
    "true KL is far larger than the one in the loss.",
    advice="Take the KL of each observation's own mean and deviation, then average over the batch: kl = -0.5 * (1 + "
    "log_var - mean**2 - log_var.exp()).sum(1).mean(), not of z.mean(0) and z.std(0). Both KL weights then read 1.",
    explains=(*HELD_TOO_LITTLE, *RIVALS),
    of_elbo=True,
)
def kl_across_batch(seen: Examined) -> Iterator[Case]:
    """All codes together look like the prior, or are at rest at a KL of their moments; no q by itself is held to it."""
    yield Case(
        "All codes together have the prior's mean and deviation, and yet no q(z | x) is held to the prior: the KL is "
        f"{seen.value(KL):.3g} nats.",
        [*_forgotten(seen), seen.holds(_like_the_prior(seen))],
        (*MOMENTS, "kl_weight_of_moments"),
    )
    yield Case(
        "The means are at rest as if the loss had the KL of the mean and deviation of all codes together, at weight "
        f"{seen.value('kl_weight_of_moments'):.2g}, and nothing holds q's own deviations: the KL is "
        f"{seen.value(KL):.3g} nats.",
        [
            seen.below("kl_weight_of_scales", FORGOTTEN_KL_WEIGHT),
            seen.within("kl_weight_of_moments", 1.0, MOMENTS_FACTOR),
            seen.above("use_of_latent", UNUSED_KL),
            seen.below(CODES, 2 * VARIANCE_SHARE),
            seen.above(KL, 10 * UNUSED_KL),
        ],
        ("kl_weight_of_means", *MOMENTS),
    )


def _forgotten(seen: Examined) -> list[Condition]:
    """No pull of the prior on q's deviations, and little on its means."""
    means = HALF_HELD if _like_the_prior(seen) else HARDLY_HELD
    return [
        seen.below("kl_weight_of_scales", FORGOTTEN_KL_WEIGHT),
        seen.below("kl_weight_of_means", means),
        seen.above("use_of_latent", UNUSED_KL),
        seen.below(CODES, 2 * VARIANCE_SHARE),
        seen.above(KL, UNUSED_KL),
    ]


def same_for_every_x(seen: Examined) -> bool:
    """Whether q is one normal whatever x is: all deviations are one number, and the means do not spread beside it."""
    smallest, largest = seen.value("smallest_scale"), seen.value("largest_scale")
    return agree(smallest, largest, 1.1) and seen.value(CODES) > 0.95


def _like_the_prior(seen: Examined) -> bool:
    """Whether mean and deviation of all codes are the prior's, in every dimension."""
    off, small, large = map(seen.value, MOMENTS)
    near = off < ACROSS_BATCH_DEVIATION
    return near and small > 1 - ACROSS_BATCH_DEVIATION and large < 1 + ACROSS_BATCH_DEVIATION


@fault(
    "sampling-off",
    needs=("gain_of_decoding_means", "mean_square_scale", *BOTH),
    why="The decoder was trained on q's means only: it fails at draws from q, and so in the ELBO and for samples.",
    advice="In training decode a draw, a new one at each step: z = mean + torch.randn_like(mean) * (log_var / "
    "2).exp(). The gain of decoding means then falls to a few nats.",
    explains=(*RIVALS, "guide-too-wide", "prior-hole", "likelihood-scale", "latent", *ANY_OTHER_BALANCE),
    symptom="decoder",
    of_elbo=True,
)
def sampling_off(seen: Examined) -> Iterator[Case]:
    """q as wide as the prior, means that differ, and a decoder that knows the means alone."""
    gain, means = seen.value("gain_of_decoding_means"), "kl_weight_of_means"
    far = KL_WEIGHT_FACTOR_UNSETTLED  # at draws, where the decoder knows nothing, the pull is large in any direction
    yield Case(
        f"Decoding q's mean gives {gain:.3g} nats more than decoding a draw, and q's deviations are the prior's: they "
        "played no part in training.",
        [
            seen.above("gain_of_decoding_means", 3.0),
            seen.within("mean_square_scale", 1.0, KL_WEIGHT_FACTOR),
            seen.below(means, -far) if seen.value(means) < 0 else seen.above(means, far),
            seen.within("kl_weight_at_means", 1.0, KL_WEIGHT_FACTOR_UNSETTLED),
        ],
    )
