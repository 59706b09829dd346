"""All that is measured of a pair, group by group; what cannot be measured says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bayes_vae.diagnosis.measure.amortization import measure_amortization
from bayes_vae.diagnosis.measure.codes_and_prior import measure_codes, measure_hole
from bayes_vae.diagnosis.measure.decoder_output import measure_logits, measure_pixel_scale
from bayes_vae.diagnosis.measure.deviations import measure_scales
from bayes_vae.diagnosis.measure.elbo_on_rows import (
    measure_elbo,
    measure_generalization,
    measure_use_of_latent,
    measure_weights,
)
from bayes_vae.diagnosis.measure.measurement import Measurement
from bayes_vae.diagnosis.measure.more_training import measure_history, start_again, train_at_own_weight, train_on
from bayes_vae.diagnosis.measure.stationarity import measure_parameters_balance, measure_stationarity
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.errors import BayesVaeError
from bayes_vae.terms.stream import Progress

__all__ = ["GROUPS", "Group", "measure"]


class Group(NamedTuple):
    """Numbers that are measured together.

    Attributes:
        gives: names of those that findings need.
        measure: from the pair, and what was measured of it before, to all of them.
    """

    gives: tuple[str, ...]
    measure: Callable[[Subject], dict[str, Measurement]]


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
    Group(("train_amortization_gap",), measure_amortization),
    Group(("kl_weight",), measure_parameters_balance),
    Group(("last_rise",), lambda subject: measure_history(subject.history)),
    Group(("gain_of_training",), train_on),
    Group(("gain_at_own_weight",), train_at_own_weight),
    Group(("gain_of_starting_again",), start_again),
)
"""In the order in which they are measured: the last ones look at those before."""


def measure(subject: Subject, progress: Progress | None = None) -> None:
    """Every group of measurements that this pair and these data allow, into ``subject.measured``.

    Args:
        subject: the pair and its data.
        progress: called with the groups done, and their number.
    """
    for done, group in enumerate(GROUPS, 1):
        try:
            subject.measured.update(group.measure(subject))
        except BayesVaeError as error:
            subject.notes.update(dict.fromkeys(group.gives, str(error)))
        if progress is not None:
            progress(done, len(GROUPS))
