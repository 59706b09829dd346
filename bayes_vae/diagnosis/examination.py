"""What is wrong with a trained pair, how sure that is, and what to do."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bayes_vae.data import Data, as_data
from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.finding import Finding
from bayes_vae.diagnosis.findings.judge import Judgement, judge, judge_first, unasked
from bayes_vae.diagnosis.findings.unusable import gray_data, gray_summary
from bayes_vae.diagnosis.measure.elbo_on_rows import DRAWS
from bayes_vae.diagnosis.measure.first_look import look_first
from bayes_vae.diagnosis.measure.gray import as_density, as_trained, on_binarized
from bayes_vae.diagnosis.measure.groups import Announce, Budget, check_names, measure
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.diagnosis.result import Diagnosis
from bayes_vae.errors import UncheckedLikelihoodWarning
from bayes_vae.progress import Progress, shown
from bayes_vae.terms.probe import warning_of_scales_once
from bayes_vae.terms.program import Program, undisturbed
from bayes_vae.terms.whole_numbers import real_number, seed_number, whole_number

__all__ = ["diagnose"]

LEAST = 20
"""Observations below which no mean has an error to be trusted."""

AS_TRAINED = "as it was trained, by cross-entropy on gray values, which is no density of them"
ON_BINARIZED = "on pixels that were binarized for it, since its likelihood has no density of gray ones"


@warning_of_scales_once()
def diagnose(
    model: Program,
    guide: Program,
    data: Data | Any,
    *,
    history: Sequence[Mapping[str, float]] | None = None,
    settings: Mapping[str, Any] | None = None,
    num_observations: int = 800,
    seed: int = 0,
    seconds: float = 60.0,
    checks: Collection[str] | None = None,
    progress: Progress | bool | None = None,
    announce: Announce | None = None,
) -> Diagnosis:
    """Look for what people get wrong with a VAE.

    Everything is measured on the pair and its data; a history and settings of the training are used where they are
    given. The pair is left as it is: what is trained a little is a copy. The cheapest checks come first, and one that
    would take longer than the time that is left is not made; the clock decides nothing else, so that the same checks
    give the same numbers.

    Args:
        model, guide: a pair of Pyro programs. The more of its distributions it exposes, the more is checked; what is
            not says why.
        data: its data set, of which the first training and test rows are used. Of a pair that was trained elsewhere
            give the split that it was trained with, ``load_data(train=..., test=...)``: test rows that training saw
            hide overfitting. Rows, such as a tensor, a tuple (x, covariates, …), a DataFrame or a DataLoader, are
            taken as they are and split at random.
        history: one row of named figures for each epoch, as ``run.history``.
        settings: of the training, by name, as ``run.settings["training"]``.
        num_observations: training observations that are looked at, from the first on; of the test observations 300.
        seed: of every draw.
        seconds: that it may take.
        checks: names of the only checks to be made, whatever the time; ``diagnosis.checks`` of another diagnosis
            repeats what was made there.
        progress: called with the checks done, in proportion to their work, and their number; or True, as in
            :func:`bayes_vae.log_terms`.
        announce: called with a sentence before a check that takes longer than five seconds.

    Returns:
        :class:`Diagnosis`: the findings, the most serious first, and the numbers that they rest on.

    Raises:
        DataError: data that are not a data set with a policy.
        SettingsError: too few observations to be looked at, no time, or a check that does not exist.
        ProgramError: a pair whose terms cannot be read.
    """
    data = as_data(data, model, "diagnose")
    num_observations = whole_number("num_observations", num_observations, least=LEAST)
    seconds = real_number("seconds", seconds, "above 0, the time that a diagnosis may take")
    check_names(checks)
    subject = Subject(model, guide, data, seed_number("seed", seed), num_observations, history=history or ())
    few = min(len(data.train), len(data.test))
    if few < LEAST:
        reason = (
            f"of training or test rows there are only {few}, and means need {LEAST}. Choose another split: "
            "load_data(x, test=0.4), --split 0.4 0.2 0.4 with --data FILE."
        )
        return _diagnosis(subject, Judgement((), unasked(reason), ()), Budget())
    budget = Budget(seconds, checks, announce)
    known = settings or {}
    with (
        shown(progress, "diagnosis", "checks", seconds if checks is None else math.inf) as told,
        undisturbed(model, guide, device=subject.device, seed=subject.seed),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", UncheckedLikelihoodWarning)  # it stands among what was not checked
        subject.measured.update(look_first(subject))
        first = judge_first(_examined(subject, known))
        if first is None:
            measure(subject, budget, told)
            return _diagnosis(subject, judge(_examined(subject, known)), budget)
        if first.kind is gray_data:
            return _on_gray(subject, first.finding, known, budget, told)
    subject.measured.clear()
    reason = f"{first.finding.name}: fix that first."
    return _diagnosis(subject, Judgement((first.finding,), unasked(reason), ()), budget)


def _examined(subject: Subject, settings: Mapping[str, Any]) -> Examined:
    pixels = subject.data.data_shape.numel()
    return Examined(subject.measured, pixels, settings, subject.notes, subject.void)


def _on_gray(
    subject: Subject, gray: Finding, settings: Mapping[str, Any], budget: Budget, progress: Progress | None
) -> Diagnosis:
    """Go on with the objective of the training, and with binarized pixels; both readings stand in the finding."""
    trained = as_trained(subject)
    used = trained or on_binarized(subject)
    measure(used, budget, progress)
    judged = judge(_examined(used, settings))
    density = as_density(subject, budget) if trained else {}
    gray = replace(
        gray,
        summary=f"{gray.summary} {gray_summary(used.measured, density)}".strip(),
        measurements=(*gray.measurements, *(replace(number, name=name) for name, number in density.items())),
    )
    used.measured.update(density)
    read_as = AS_TRAINED if trained else ON_BINARIZED
    return _diagnosis(used, judged._replace(findings=(gray, *judged.findings)), budget, read_as)


def _diagnosis(subject: Subject, judged: Judgement, budget: Budget, read_as: str = "") -> Diagnosis:
    """The result, with the conditions of its numbers."""
    num_train = min(subject.most_train, len(subject.data.train))
    num_test = min(subject.most_test, len(subject.data.test))
    conditions = subject.seed, subject.data.policy, num_train, num_test, DRAWS
    trained_here = bool(subject.history)
    split_by = None if trained_here and subject.data.split_by == "load_data" else subject.data.split_by
    rest: dict[str, Any] = {"not_applicable": judged.not_applicable, "checks": tuple(budget.made), "read_as": read_as}
    rest["missing_share"] = subject.data.missing_share
    return Diagnosis(judged.findings, subject.measured, judged.not_checked, *conditions, split_by=split_by, **rest)
