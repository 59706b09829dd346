"""All that is measured of a pair, group by group, within a time; what is not measured says why."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from bayes_vae.diagnosis.measure import (
    amortization,
    deviations,
    draws_balance,
    elbo_on_rows,
    encoder_alone,
    more_training,
    stationarity,
)
from bayes_vae.diagnosis.measure.codes_and_prior import measure_codes, measure_hole
from bayes_vae.diagnosis.measure.decoder_output import measure_logits, measure_pixel_scale, measure_reach
from bayes_vae.diagnosis.measure.encoder_heads import measure_heads
from bayes_vae.diagnosis.measure.measurement import Measurement
from bayes_vae.diagnosis.measure.sites import USE_DRAWS, measure_latent_sites, measure_observed_sites
from bayes_vae.diagnosis.measure.splits import measure_splits
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.errors import BayesVaeError, DoesNotApplyError, SettingsError
from bayes_vae.terms.stream import Progress
from bayes_vae.terms.whole_numbers import several

__all__ = ["GROUPS", "Announce", "Budget", "Group", "check_names", "measure"]

Announce = Callable[[str], None]
"""Called with a sentence before a check that takes long."""

LONG = 5.0
"""Seconds from which a check is announced."""

BACKWARD = 3
"""Passes through the decoder that a pass with its gradient takes."""


class Group(NamedTuple):
    """Numbers that are measured together.

    Attributes:
        name: of the check, as ``checks`` takes it.
        gives: names of the numbers that findings need.
        measure: from the pair, and what was measured of it before, to all of them.
        passes: observations times draws that go through the decoder, of 800 training and 300 test rows: the estimate of
            its time.
        of_rows: whether there are fewer of them where there are fewer training rows.
    """

    name: str
    gives: tuple[str, ...]
    measure: Callable[[Subject], dict[str, Measurement]]
    passes: int = 0
    of_rows: bool = True

    def work(self, subject: Subject) -> float:
        """The passes for the rows of a subject."""
        share = min(1.0, len(subject.data.train) / 800, subject.most_train / 800)
        return self.passes * (share if self.of_rows else 1.0)


def _trained(steps: int) -> int:
    """Passes of a copy that is trained for some steps, and scored before and after."""
    evaluated = 2 * 600 * more_training.DRAWS
    return BACKWARD * steps * more_training.BATCH + evaluated


SCALES = 24 * deviations.ROWS * deviations.DRAWS + 3 * BACKWARD * deviations.ROWS * stationarity.DRAWS
BEST = 2 * amortization.ROWS * (BACKWARD * amortization.MAX_STEPS * 16 + 2 * 1024 + 2 * amortization.DRAWS)

GROUPS = (
    Group("splits", ("test_values_shifted", "share_of_test_rows_in_train"), measure_splits),
    Group("elbo", ("train_kl_to_prior",), elbo_on_rows.measure_elbo, 800 * elbo_on_rows.DRAWS),
    Group("latent-sites", ("smallest_kl_of_a_site",), measure_latent_sites, 800 * elbo_on_rows.DRAWS),
    Group(
        "observed-sites",
        ("smallest_use_of_latent_for_a_site",),
        measure_observed_sites,
        600 * USE_DRAWS,
        False,
    ),
    Group("codes", ("scale_share", "smallest_scale", "mean_square_scale", "collapsed_dimensions"), measure_codes, 800),
    Group(
        "heads",
        ("share_at_smallest_mean", "share_at_smallest_log_variance", "largest_log_variance"),
        measure_heads,
        800,
    ),
    Group("logits", ("smallest_logit", "share_certain_and_wrong"), measure_logits, 3200),
    Group("pixel-scale", ("residual_over_scale", "pixel_scale_is_one_number"), measure_pixel_scale, 3200),
    Group("reach", ("share_below_reach", "largest_column_over_median"), measure_reach, 3500),
    Group("history", ("last_rise",), lambda subject: more_training.measure_history(subject.history)),
    Group(
        "generalization", ("generalization_gap",), elbo_on_rows.measure_generalization, 300 * elbo_on_rows.DRAWS, False
    ),
    Group(
        "use",
        ("use_of_latent", "gain_of_decoding_means"),
        elbo_on_rows.measure_use_of_latent,
        600 * elbo_on_rows.DRAWS,
        False,
    ),
    Group("hole", ("marginal_kl_bound",), measure_hole, 4400),
    Group(
        "balance",
        (
            "kl_weight_of_means",
            "kl_weight_of_scales",
            "kl_weight_of_moments",
            "prior_precision",
            "kl_weight_of_scales_under_prior",
        ),
        stationarity.measure_stationarity,
        BACKWARD * 800 * stationarity.DRAWS,
    ),
    Group("draws", ("kl_weight_of_draws",), draws_balance.measure_draws_balance, 800 * draws_balance.DRAWS),
    Group("parameters", ("kl_weight",), stationarity.measure_parameters_balance, 2 * BACKWARD * 800 * 8),
    Group(
        "training",
        ("gain_of_training", "largest_gain_of_a_site"),
        more_training.train_on,
        _trained(more_training.STEPS),
        False,
    ),
    Group(
        "own-weight", ("gain_at_own_weight",), more_training.train_at_own_weight, _trained(more_training.STEPS), False
    ),
    Group("again", ("gain_of_starting_again",), more_training.start_again, _trained(more_training.AGAIN_STEPS), False),
    Group(
        "weights",
        ("pareto_k_share_above",),
        elbo_on_rows.measure_weights,
        2 * elbo_on_rows.WEIGHTS * elbo_on_rows.WEIGHED,
        False,
    ),
    Group("scales", ("gain_of_reading", "gain_of_scale_factor"), deviations.measure_scales, SCALES, False),
    Group("best-q", ("train_amortization_gap",), amortization.measure_amortization, BEST, False),
    Group("encoder", ("gain_of_encoder",), encoder_alone.measure_encoder_alone, _trained(600), False),
)
"""The cheapest first; each looks only at those before it."""


@dataclass
class Budget:
    """The time that measuring may take, and how fast it is here.

    The clock decides whether a check runs, never its draws.

    Attributes:
        seconds: that may be spent in all; infinite where the checks were named.
        checks: names of the only checks to be made; None for all.
        announce: called before a check that takes long.
        made: names of the checks that ran.
    """

    seconds: float = float("inf")
    checks: Collection[str] | None = None
    announce: Announce | None = None
    made: list[str] = field(default_factory=list)
    start: float = field(default_factory=time.perf_counter)
    passes: float = 0.0
    measured_for: float = 0.0

    def estimate(self, group: Group, subject: Subject) -> float:
        """Seconds that a group will take, by those before it."""
        return group.work(subject) * self.measured_for / self.passes if self.passes else 0.0

    def why_not(self, group: Group, subject: Subject) -> str:
        """Why a group is left out; empty where it runs."""
        if self.checks is not None:
            return "" if group.name in self.checks else f"the check {group.name} was not asked for."
        spent, needed = time.perf_counter() - self.start, self.estimate(group, subject)
        left = max(self.seconds - spent, 0.0)
        if needed <= left:
            return ""
        return (
            f"the check {group.name} would take about {needed:.0f} s, and of {self.seconds:g} s {left:.0f} s are left: "
            f"give at least {_rounded_up(spent + needed):g} seconds."
        )

    def run(self, group: Group, subject: Subject) -> dict[str, Measurement]:
        """Measure a group, and note how long it took."""
        needed = self.estimate(group, subject)
        if self.announce is not None and needed > LONG:
            self.announce(f"{group.name}: about {needed:.0f} s")
        before = time.perf_counter()
        found = group.measure(subject)
        self.made += [group.name] if group.name not in self.made else []
        if group.passes and found:
            self.passes += group.work(subject)
            self.measured_for += time.perf_counter() - before
        return found


def _rounded_up(seconds: float) -> float:
    """To two digits.

    >>> _rounded_up(414.2), _rounded_up(63.0)
    (420.0, 63.0)
    """
    step = 10.0 ** max(0, math.floor(math.log10(seconds)) - 1) if seconds > 0 else 1.0
    return math.ceil(seconds / step) * step


def check_names(names: Collection[str] | None) -> None:
    """Refuse names that no check has.

    Raises:
        SettingsError: such a name.
    """
    known = [group.name for group in GROUPS]
    for name in several("checks", () if names is None else names, f"several of {', '.join(known)}"):
        if name not in known:
            raise SettingsError(f"there is no check {name!r}: choose among {', '.join(known)}.")


def measure(
    subject: Subject,
    budget: Budget | None = None,
    progress: Progress | None = None,
    only: Collection[str] | None = None,
) -> None:
    """Every group of measurements that this pair, these data and the time allow, into ``subject.measured``.

    Args:
        subject: the pair and its data.
        budget: the time, or the names of the checks; None for all.
        progress: called with the groups done, in proportion to their work, and their number.
        only: names of the groups; None for all.
    """
    budget = budget or Budget()
    groups = [group for group in GROUPS if only is None or group.name in only]
    works = [1 + group.work(subject) for group in groups]  # none of them is no work at all
    for done, group in enumerate(groups, 1):
        why_not = budget.why_not(group, subject)
        try:
            if not why_not:
                subject.measured.update(budget.run(group, subject))
        except DoesNotApplyError as error:
            subject.void.update(group.gives)
            why_not = str(error)
        except BayesVaeError as error:
            why_not = str(error)
        if why_not:
            lacking = [name for name in group.gives if name not in subject.measured]
            subject.notes.update(dict.fromkeys(lacking, why_not))
        if progress is not None:
            progress(len(groups) * sum(works[:done]) / sum(works), len(groups))
