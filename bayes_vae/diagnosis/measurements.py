"""All that is measured of a pair, group by group; what cannot be measured says why."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from bayes_vae.diagnosis.codes import measure_codes, measure_hole
from bayes_vae.diagnosis.decoder import measure_logits, measure_pixel_scale
from bayes_vae.diagnosis.inference import measure_inference
from bayes_vae.diagnosis.numbers import Number, Numbers
from bayes_vae.diagnosis.scales import measure_scales
from bayes_vae.diagnosis.stationarity import measure_parameters_balance, measure_stationarity
from bayes_vae.diagnosis.subject import Subject
from bayes_vae.diagnosis.terms import measure_elbo, measure_generalization, measure_use_of_latent, measure_weights
from bayes_vae.diagnosis.training import FAST_RATE, SLOW_RATE, measure_history, start_again, train_a_copy
from bayes_vae.errors import BayesVaeError
from bayes_vae.terms.stream import Progress

__all__ = ["GROUPS", "Group", "measure"]


class Group(NamedTuple):
    """Numbers that are measured together.

    Attributes:
        gives: names of those that checks need.
        measure: from the pair to all of them.
    """

    gives: tuple[str, ...]
    measure: Callable[[Subject], dict[str, Number]]


GROUPS = (
    Group(("train_kl_to_prior",), measure_elbo),
    Group(("generalization_gap",), measure_generalization),
    Group(("pareto_k_share_above",), measure_weights),
    Group(("scale_share", "smallest_scale", "mean_square_scale", "collapsed_dimensions"), measure_codes),
    Group(("marginal_kl_bound",), measure_hole),
    Group(("kl_weight_of_means", "kl_weight_of_scales"), measure_stationarity),
    Group(("gain_of_reading", "gain_of_scale_factor"), measure_scales),
    Group(("use_of_latent", "gain_of_decoding_means"), measure_use_of_latent),
    Group(("smallest_logit", "share_certain_and_wrong"), measure_logits),
    Group(("residual_over_scale",), measure_pixel_scale),
    Group(("train_amortization_gap",), measure_inference),
)
"""What needs nothing but the pair and its data."""

OWN_WEIGHT_FROM = 0.05
"""How far from 1 the estimated weight must be for a second copy to be trained, at that weight."""

LARGEST_WEIGHT = 1000.0

AGAIN_BELOW = 0.1
"""Nats of KL below which a copy is started again."""


def measure(subject: Subject, history: Sequence[Mapping[str, float]] = (), progress: Progress | None = None) -> Numbers:
    """Every group of measurements that this pair and these data allow.

    Args:
        subject: the pair and its data.
        history: of the training, one row of named figures for each epoch.
        progress: called with the groups done, and their number.
    """
    numbers = Numbers()
    groups = [
        *GROUPS,
        Group(("kl_weight",), lambda subject: _balance(subject, numbers)),
        Group(("last_rise",), lambda subject: measure_history(history)),
        Group(("gain_of_training",), lambda subject: train_a_copy(subject, 1.0, "gain_of_training", FAST_RATE)),
        Group(("gain_at_own_weight",), lambda subject: _own_weight(subject, numbers)),
        Group(("gain_of_starting_again",), lambda subject: _again(subject, numbers)),
    ]
    for done, group in enumerate(groups, 1):
        try:
            numbers.found |= group.measure(subject)
        except BayesVaeError as error:
            numbers.reasons |= dict.fromkeys(group.gives, str(error))
        if progress is not None:
            progress(done, len(groups))
    return numbers


def _balance(subject: Subject, numbers: Numbers) -> dict[str, Number]:
    """From the parameters, where q's means and deviations are not known."""
    return {} if "kl_weight" in numbers else measure_parameters_balance(subject)


def _own_weight(subject: Subject, numbers: Numbers) -> dict[str, Number]:
    """Training at the estimated weight, where that is not 1."""
    weight = numbers.value("kl_weight")
    if not math.isfinite(weight) or abs(weight - 1) < OWN_WEIGHT_FROM:
        return {}
    return train_a_copy(subject, max(0.0, min(weight, LARGEST_WEIGHT)), "gain_at_own_weight", SLOW_RATE)


def _again(subject: Subject, numbers: Numbers) -> dict[str, Number]:
    """A fresh start, where the latent was given up."""
    return start_again(subject) if numbers.value("train_kl_to_prior") < AGAIN_BELOW else {}
