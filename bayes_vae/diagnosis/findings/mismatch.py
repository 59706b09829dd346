"""Parts that do not belong together: encoder and decoder, or the prior of the loss and that of the model."""

from __future__ import annotations

from collections.abc import Iterator

from bayes_vae.diagnosis.findings.examined import Examined, agree
from bayes_vae.diagnosis.findings.kind import ANY_OTHER_BALANCE, AT_MOST_LIKELY, OF_DECODER, Case, fault
from bayes_vae.diagnosis.findings.kl_weight import (
    BOTH,
    KL_WEIGHT_FACTOR,
    KL_WEIGHT_FACTOR_UNSETTLED,
    speaks_of_one_weight,
)
from bayes_vae.diagnosis.findings.latent_use import UNUSED_KL
from bayes_vae.diagnosis.findings.training_length import hardly_trained
from bayes_vae.diagnosis.findings.wrong_objective import PRIOR_AGREEMENT, same_for_every_x

KL, PRECISION = "train_kl_to_prior", "prior_precision"

PRIOR_FACTOR, CENTRE_OFF = 1.6, 0.5
"""How far the variance of the prior in the loss must be from the model's, as a factor, or its mean, in deviations."""

REGAINED = 5.0
"""Nats that a retrained encoder must regain for its decoder to be called another's."""

OF_DEVIATIONS = 0.5
"""Share of what the encoder regains that one factor on all deviations may regain, where q's means are off."""

INWARDS_AT_MEANS = -0.05
"""Weight of the means, with the likelihood's pull at them, below which it pulls inwards where no objective would."""

WORSE = (1.0, 0.1)
"""Nats, or share of the KL, by which another observation's z must be the better one: by chance it never is."""

DECODER_GAINS = 1.5
"""Training both a little gains more than this many times what the encoder alone does where the decoder is young too."""


@fault(
    "prior-mismatch",
    needs=(PRECISION, "kl_weight_of_scales_under_prior", *BOTH),
    why="The ELBO, samples and L_K use a prior other than the one that the codes were trained for.",
    advice="Use the same prior in the loss and in the model: the KL to N(0, 1) is 0.5 * (mean**2 + var - 1 - "
    "var.log()), that to N(0, v) is 0.5 * ((mean**2 + var) / v - 1 - (var / v).log()). The prior "
    "precision and both KL weights then read 1.",
    explains=(
        "prior-hole",
        "decoder-ignores-latent",
        "averaged-loss",
        "kl-weight",
        "guide-too-narrow",
        "guide-too-wide",
        *ANY_OTHER_BALANCE,
    ),
    of_elbo=True,
    at_most=AT_MOST_LIKELY,
)
def prior_mismatch(seen: Examined) -> Iterator[Case]:
    """Means and deviations are both at rest at weight 1 for another normal prior than the model's.

    Of its variance the deviations must speak too, unless it is far from the model's.
    """
    precision, centre = seen.value(PRECISION), seen.value("prior_centre_off")
    scales = seen.value("kl_weight_of_scales")
    other = precision > 0 and not agree(precision, 1.0, PRIOR_FACTOR)
    silent = agree(scales, 1.0, KL_WEIGHT_FACTOR)  # narrow deviations are at rest under either prior
    factor = KL_WEIGHT_FACTOR_UNSETTLED if silent else PRIOR_FACTOR
    deviation = precision**-0.5 if precision > 0 else float("nan")
    place = f" and a mean {centre:.2g} away from its own" if centre > CENTRE_OFF else ""
    yield Case(
        f"Means and deviations are at rest at KL weight 1 for a prior of deviation {deviation:.2g}{place}, in units "
        "of the model's prior: the KL in the loss was to another prior.",
        [
            seen.off(PRECISION, 1.0, factor) if other else seen.above("prior_centre_off", CENTRE_OFF),
            seen.holds(0.02 < precision < 50, PRECISION),
            seen.holds(other or seen.clearly_positive("prior_centre_off")),  # the largest of all dimensions
            seen.within("kl_weight_of_scales_under_prior", 1.0, PRIOR_AGREEMENT),
            seen.holds(not agree(scales, precision, 1.3), "kl_weight_of_scales"),
            seen.holds(not hardly_trained(seen), "gain_of_training"),
        ],
        ("prior_centre_off", "kl_weight_of_means", "marginal_kl_bound"),
    )
    yield Case(
        f"q(z | x) is the same normal for every x, of deviation {seen.value('median_scale'):.3g} in units of the "
        "model's prior: z carries no information, and the KL in the loss was to another prior.",
        [
            seen.holds(same_for_every_x(seen), "median_scale"),
            seen.above(KL, UNUSED_KL),
            seen.below("use_of_latent", 0.1),
        ],
        ("smallest_scale", "largest_scale", "largest_code"),
    )


@fault(
    "mismatched-pair",
    needs=("train_amortization_gap", "gain_of_encoder", *BOTH),
    why="The decoder is not the one that this encoder was trained with, or the encoder sees other inputs: no term of "
    "the pair says anything about the intended model.",
    advice="Load both from one checkpoint; compare the order and scale of the latents, the orientation of images "
    "and the normalization of inputs with those of training, and whether outputs are logits. The gain of "
    "encoder then falls to 0.",
    explains=(*OF_DECODER, "decoder-ignores-latent", "averaged-loss", "likelihood-scale"),
    of_elbo=True,
)
def mismatched_pair(seen: Examined) -> Iterator[Case]:
    """An encoder that was trained again, with the decoder held, regains far more than any imbalance would cost.

    Not where the decoder gains as well, as in a pair that was hardly trained, nor where other deviations alone would
    regain most of it; nor, unless the codes are pulled inwards, where means and deviations speak of one other weight.
    """
    gain, gap = seen.value("gain_of_encoder"), seen.value("train_amortization_gap")
    means = seen.value("kl_weight_of_means")
    elsewhere = seen.value("gain_of_training") > DECODER_GAINS * gain
    elsewhere = elsewhere or seen.value("gain_of_scale_factor") > OF_DEVIATIONS * gain
    finished = seen.holds(not elsewhere, "gain_of_training")
    other_weight = speaks_of_one_weight(seen) and not agree(seen.value("kl_weight"), 1.0, KL_WEIGHT_FACTOR_UNSETTLED)
    words = f"The encoder alone, trained a little with the decoder held fixed, regains {gain:.3g} nats on held-out rows"
    yield Case(
        f"{words}, and the likelihood pulls the codes inwards (weight {means:.2g}) where the prior alone should: "
        "encoder and decoder do not belong together, or the encoder sees another input than in training.",
        [seen.above("gain_of_encoder", REGAINED), seen.below("kl_weight_of_means", 0.0), finished],
        ("train_amortization_gap", KL, "use_of_latent"),
    )
    yield Case(
        f"{words}, more than the whole KL of {seen.value(KL):.3g}: encoder and decoder do not belong together, or the "
        "encoder sees another input than in training.",
        [
            seen.above("gain_of_encoder", max(REGAINED, seen.value(KL))),
            seen.holds(gap > 0 and not other_weight, "train_amortization_gap"),
            finished,
        ],
        ("kl_weight_of_means", "kl_weight_of_scales", "use_of_latent"),
        at_most=AT_MOST_LIKELY,
    )
    yield Case(
        f"{words}, and where q's means are decoded the likelihood pulls them inwards (weight "
        f"{seen.value('kl_weight_at_means'):.2g}): encoder and decoder do not belong together, or the encoder sees "
        "another input than in training.",
        [
            seen.above("gain_of_encoder", max(REGAINED, 0.5 * seen.value(KL))),
            seen.below("kl_weight_at_means", INWARDS_AT_MEANS),
            seen.holds(not other_weight, "kl_weight_of_means"),
            finished,
        ],
        ("train_amortization_gap", KL, "use_of_latent"),
        at_most=AT_MOST_LIKELY,
    )
    yield Case(
        f"{words}, and another observation's z explains x better than its own, by {-seen.value('use_of_latent'):.3g} "
        "nats: encoder and decoder do not belong together, or the encoder sees another input than in training.",
        [seen.above("gain_of_encoder", REGAINED), seen.below("use_of_latent", -seen.at_least(*WORSE))],
        ("kl_weight_of_means", "train_amortization_gap", KL),
        at_most=AT_MOST_LIKELY,
    )
