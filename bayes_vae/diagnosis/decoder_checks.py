"""Checks on p(x given z): what the decoder outputs, the deviation of normal pixels, and on the training."""

from __future__ import annotations

from bayes_vae.diagnosis.findings import Finding
from bayes_vae.diagnosis.judging import Check, Condition, Examined, conclude, unless
from bayes_vae.diagnosis.thresholds import (
    CERTAIN_SHARE,
    CLIPPED_SHARE,
    GENERALIZATION_GAP,
    KL_WEIGHT_FACTOR_UNSETTLED,
    MARGINAL_KL,
    PIXEL_SCALE_FACTOR,
    PIXEL_SCALE_GAIN,
    ROUNDED_LOGIT,
    SMALLEST_PIXEL_SCALE,
    SMALLEST_SCALE,
    TINY,
    TRAINING_GAIN,
    WRONG_PIXELS,
    ZERO_SHARE,
)

__all__ = ["DECODER_CHECKS", "TRAINING_CHECKS"]


def sigmoid_missing(seen: Examined) -> Finding | None:
    """Outputs taken as probabilities: pixels called impossible that are there, or outputs clipped in training."""
    return _clipped(seen, "smallest") or _clipped(seen, "largest") or _certain_and_wrong(seen)


def _clipped(seen: Examined, end: str) -> Finding | None:
    """Many logits that are one and the same number at an end, which no rounding puts there."""
    value, share = seen.value(f"{end}_logit"), seen.value(f"share_of_{end}_logit")
    return conclude(
        "sigmoid-missing",
        f"{share:.0%} of the logits are exactly {value:.3g}: outputs are clipped to probabilities in place of a "
        "sigmoid, and a clipped pixel has no gradient.",
        [seen.above(f"share_of_{end}_logit", CLIPPED_SHARE), unless(not TINY < abs(value) < ROUNDED_LOGIT)],
        [seen.shown("smallest_logit"), seen.shown("largest_logit"), seen.shown("share_of_certain_pixels")],
    )


def _certain_and_wrong(seen: Examined) -> Finding | None:
    """Pixels called impossible that are there, and most others called certain."""
    return conclude(
        "sigmoid-missing",
        f"{seen.value('share_certain_and_wrong'):.1%} of the pixels that are there have probability next to 0, and "
        f"{seen.value('share_of_certain_pixels'):.0%} are called certain: logits taken as probabilities look so.",
        [
            seen.above("share_certain_and_wrong", WRONG_PIXELS),
            seen.above("share_of_certain_pixels", CERTAIN_SHARE),
        ],
        [seen.shown("test_expected_log_likelihood")],
    )


def sigmoid_twice(seen: Examined) -> Finding | None:
    """All logits in [0, 1]."""
    return conclude(
        "sigmoid-twice",
        "All logits lie in [0, 1], so all probabilities in [0.5, 0.731]: probabilities are given as logits.",
        [seen.above("smallest_logit", -TINY), seen.below("largest_logit", 1 + TINY)],
        [seen.shown("share_of_ones"), seen.shown("share_of_ones_decoded")],
    )


def output_relu(seen: Examined) -> Finding | None:
    """No logit below zero, and many that are zero."""
    return conclude(
        "output-relu",
        f"No logit is negative, and {seen.value('share_of_zero_logits'):.0%} are exactly 0: no pixel can be dark.",
        [
            seen.above("smallest_logit", -TINY),
            seen.above("largest_logit", 1 + TINY),
            seen.above("share_of_zero_logits", ZERO_SHARE),
        ],
        [seen.shown("share_of_ones"), seen.shown("share_of_ones_decoded")],
    )


def likelihood_scale(seen: Examined) -> Finding | None:
    """Residuals that are not of the size that the likelihood says."""
    ratio = seen.value("residual_over_scale")
    side = "narrow" if ratio > 1 else "wide"
    return conclude(
        "likelihood-scale",
        f"The normal likelihood is too {side}: residuals are {ratio:.2g} times its deviation, and the one that fits "
        f"them is worth {seen.value('gain_of_pixel_scale'):.3g} nats.",
        [
            seen.off("residual_over_scale", 1.0, PIXEL_SCALE_FACTOR),
            seen.above("gain_of_pixel_scale", PIXEL_SCALE_GAIN),
        ],
        [seen.shown("pixel_scale"), seen.shown("residual_deviation")],
    )


def scale_runaway(seen: Examined) -> Finding | None:
    """A deviation, of the likelihood or of q, on its way to zero or to infinity."""
    pixels = conclude(
        "scale-runaway",
        f"The smallest deviation of the likelihood is {seen.value('smallest_pixel_scale'):.2g} of the data's: nothing "
        "holds it.",
        [
            seen.below("smallest_pixel_scale", SMALLEST_PIXEL_SCALE),
            Condition(seen.shown("pixel_scale_is_one_number"), 1.0 - (seen.value("pixel_scale_is_one_number") == 1.0)),
        ],
        [seen.shown("train_expected_log_likelihood"), seen.shown("generalization_gap")],
    )
    return pixels or conclude(
        "scale-runaway",
        f"The smallest deviation of q is {seen.value('smallest_scale'):.2g} of the prior's: nothing holds it.",
        [seen.below("smallest_scale", SMALLEST_SCALE)],
        [seen.shown("median_scale"), seen.shown("largest_code")],
    )


def overfitting(seen: Examined) -> Finding | None:
    """Training rows have a larger ELBO than test rows."""
    gap, encoder = seen.value("generalization_gap"), seen.value("encoder_generalization_gap")
    part = f", of which {max(encoder, 0.0):.2g} the encoder's" if encoder == encoder else ""
    return conclude(
        "overfitting",
        f"The ELBO of training rows is {gap:.3g} nats above that of test rows{part}.",
        [seen.above("generalization_gap", seen.at_least(*GENERALIZATION_GAP))],
        [seen.shown(name) for name in ("train_elbo", "test_elbo", "encoder_generalization_gap")],
    )


def undertraining(seen: Examined) -> Finding | None:
    """A little more training helps rows that were not trained on."""
    more = conclude(
        "undertraining",
        f"A little more training of a copy raises the validation ELBO by {seen.value('gain_of_training'):.2g} nats.",
        [seen.above("gain_of_training", seen.at_least(*TRAINING_GAIN)), *_not_another_prior(seen)],
        [seen.shown("gain_of_training_on_train"), seen.shown("last_rise")],
    )
    return more or conclude(
        "undertraining",
        f"The validation ELBO rose by {seen.value('last_rise'):.2g} nats over the last fifth of the epochs.",
        [seen.above("last_rise", 2 * seen.at_least(*TRAINING_GAIN))],
        [seen.shown("epochs"), seen.shown("gain_of_training")],
    )


def _not_another_prior(seen: Examined) -> list[Condition]:
    """The means are near rest at weight 1, or the codes are where the prior is: else the prior is another one."""
    if "kl_weight_of_means" not in seen.numbers:
        return []
    near = seen.within("kl_weight_of_means", 1.0, KL_WEIGHT_FACTOR_UNSETTLED)
    at_home = not seen.value("marginal_kl_bound") > seen.at_least(*MARGINAL_KL)
    return [Condition(near.evidence, 1.0 if at_home else near.probability)]


DECODER_CHECKS = (
    Check("sigmoid-missing", ("share_certain_and_wrong",), sigmoid_missing),
    Check("sigmoid-twice", ("smallest_logit",), sigmoid_twice),
    Check("output-relu", ("smallest_logit",), output_relu),
    Check("likelihood-scale", ("residual_over_scale",), likelihood_scale),
    Check("scale-runaway", ("smallest_scale",), scale_runaway),
)

TRAINING_CHECKS = (
    Check("overfitting", ("generalization_gap",), overfitting),
    Check("undertraining", ("gain_of_training",), undertraining),
)
