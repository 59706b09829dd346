"""Checks on q and on the codes: collapse, holes, and deviations that are too small or too large."""

from __future__ import annotations

from bayes_vae.diagnosis.findings import Finding
from bayes_vae.diagnosis.judging import Check, Condition, Examined, conclude
from bayes_vae.diagnosis.thresholds import (
    AMORTIZATION_GAP,
    COLLAPSED_KL,
    KL_WEIGHT_FACTOR_UNSETTLED,
    MARGINAL_KL,
    PARETO_K_SHARE,
    SCALE_GAIN,
    SCALE_SHARE,
    UNUSED_KL,
    UNUSED_LATENT,
    VARIANCE_SHARE,
)

__all__ = ["LATENT_CHECKS"]

MOMENTS = ("aggregate_mean_off", "aggregate_deviation_smallest", "aggregate_deviation_largest")


def posterior_collapse(seen: Examined) -> Finding | None:
    """Every dimension is the prior, or the latent as a whole says nothing."""
    if "largest_mean_kl_of_a_dimension" in seen.numbers:
        count = int(seen.value("latent_dimensions"))
        conditions = [seen.below("largest_mean_kl_of_a_dimension", COLLAPSED_KL)]
    else:
        count, conditions = 0, [seen.below("train_kl_to_prior", COLLAPSED_KL)]
    which = f"all {count} latent dimensions are" if count > 1 else "the latent is"
    return _unused_at_a_low_price(seen) or conclude(
        "posterior-collapse",
        f"q(z | x) is the prior whatever x is: {which} collapsed.",
        conditions,
        [seen.shown(name) for name in ("train_kl_to_prior", "use_of_latent", "gain_of_training")],
    )


def _unused_at_a_low_price(seen: Examined) -> Finding | None:
    """q is the same for every x, though not quite the prior."""
    if seen.value("largest_mean_kl_of_a_dimension") < COLLAPSED_KL:
        return None
    return conclude(
        "posterior-collapse",
        f"z of another observation reconstructs as well, at a KL of {seen.value('train_kl_to_prior'):.2g} nats: z says "
        "nothing of x.",
        [seen.below("use_of_latent", COLLAPSED_KL), seen.below("train_kl_to_prior", UNUSED_KL)],
        [seen.shown("largest_mean_kl_of_a_dimension")],
    )


def unused_dimensions(seen: Examined) -> Finding | None:
    """Some dimensions are the prior, and others are not."""
    count, unused = int(seen.value("latent_dimensions")), int(seen.value("collapsed_dimensions"))
    if unused in (0, count):
        return None
    names = [f"kl_of_z_{d}" for d in range(count)]
    which = ", ".join(name.removeprefix("kl_of_") for name in names if seen.value(name) < COLLAPSED_KL)
    return conclude(
        "unused-dimensions",
        f"{unused} of {count} latent dimensions {'is' if unused == 1 else 'are'} collapsed: {which}.",
        [Condition(seen.shown("collapsed_dimensions"), 1.0)],
        [seen.shown(name) for name in ("largest_mean_kl_of_a_dimension", "train_kl_to_prior")],
    )


def variance_collapse(seen: Examined) -> Finding | None:
    """Each q is next to a point beside the spread of all codes."""
    share = seen.value("scale_share")
    return conclude(
        "variance-collapse",
        f"The deviation of q(z | x) is {share:.2g} of that of all codes together: next to a point.",
        [seen.below("scale_share", VARIANCE_SHARE)],
        [seen.shown(name) for name in ("median_scale", "train_kl_to_prior", "best_scale_factor")],
    )


def prior_hole(seen: Examined) -> Finding | None:
    """Codes and draws of the prior that can be told apart."""
    return conclude(
        "prior-hole",
        "The aggregate posterior is not the prior: their KL is at least "
        f"{seen.value('marginal_kl_bound'):.2g} nats, by a classifier that tells codes from draws of the prior.",
        [seen.above("marginal_kl_bound", seen.at_least(*MARGINAL_KL))],
        [seen.shown(name) for name in MOMENTS],
    )


def guide_too_narrow(seen: Examined) -> Finding | None:
    """Larger deviations are better for nearly all observations."""
    return _by_factor(seen, "guide-too-narrow", seen.above("best_scale_factor", 1.0))


def guide_too_wide(seen: Examined) -> Finding | None:
    """Smaller deviations are better for nearly all observations."""
    return _by_factor(seen, "guide-too-wide", seen.below("best_scale_factor", 1.0))


def _by_factor(seen: Examined, name: str, side: Condition) -> Finding | None:
    factor, gain = seen.value("best_scale_factor"), seen.value("gain_of_scale_factor")
    return conclude(
        name,
        f"The ELBO gains {gain:.2g} nats where all deviations of q are taken {factor:.2g} times as large.",
        [side, seen.above("gain_of_scale_factor", seen.at_least(*SCALE_GAIN)), _most_of_the_gap(seen)],
        [seen.shown("train_amortization_gap"), seen.shown("pareto_k_share_above")],
    )


def _most_of_the_gap(seen: Examined) -> Condition:
    """The factor makes good at least a part of what the best q gains: else it is the encoder that is at fault."""
    gain, gap = seen.value("gain_of_scale_factor"), seen.value("train_amortization_gap")
    return Condition(seen.shown("gain_of_scale_factor"), 0.0 if gain < SCALE_SHARE * gap else 1.0)


def decoder_ignores_latent(seen: Examined) -> Finding | None:
    """A KL is paid, and another observation's z does as well."""
    return conclude(
        "decoder-ignores-latent",
        f"The KL is {seen.value('train_kl_to_prior'):.2g} nats, and z of another observation reconstructs as well.",
        [seen.below("use_of_latent", UNUSED_LATENT), seen.above("train_kl_to_prior", UNUSED_KL)],
    )


def amortization_gap(seen: Examined) -> Finding | None:
    """The family has a better q than the encoder gives."""
    return conclude(
        "amortization-gap",
        f"The best q of the guide's family has an ELBO {seen.value('train_amortization_gap'):.2g} nats above the "
        "encoder's, on rows that it was trained on.",
        [
            seen.above("train_amortization_gap", seen.at_least(*AMORTIZATION_GAP)),
            _the_encoders(seen),
        ],
        [seen.shown(name) for name in ("test_amortization_gap", "kl_weight_of_means", "marginal_kl_bound")],
    )


def _the_encoders(seen: Examined) -> Condition:
    """The means are near rest at weight 1, or the gap is more than what the codes as a whole are off from the prior.

    Else it is the prior or the objective that is another than in training.
    """
    near = seen.within("kl_weight_of_means", 1.0, KL_WEIGHT_FACTOR_UNSETTLED)
    more = seen.value("train_amortization_gap") > seen.value("marginal_kl_bound")
    return Condition(near.evidence, 1.0 if more else near.probability)


def importance_weights(seen: Examined) -> Finding | None:
    """k̂ above its threshold for many observations."""
    return conclude(
        "importance-weights",
        f"k̂ is above its threshold for {seen.value('pareto_k_share_above'):.0%} of the observations.",
        [seen.above("pareto_k_share_above", PARETO_K_SHARE)],
        [seen.shown(name) for name in ("pareto_k_median", "bound_above_elbo")],
    )


LATENT_CHECKS = (
    Check("variance-collapse", ("scale_share",), variance_collapse),
    Check("guide-too-narrow", ("gain_of_scale_factor",), guide_too_narrow),
    Check("guide-too-wide", ("gain_of_scale_factor",), guide_too_wide),
    Check("decoder-ignores-latent", ("use_of_latent", "train_kl_to_prior"), decoder_ignores_latent),
    Check("posterior-collapse", ("train_kl_to_prior",), posterior_collapse),
    Check("unused-dimensions", ("collapsed_dimensions",), unused_dimensions),
    Check("prior-hole", ("marginal_kl_bound",), prior_hole),
    Check("amortization-gap", ("train_amortization_gap",), amortization_gap),
    Check("importance-weights", ("pareto_k_share_above",), importance_weights),
)
