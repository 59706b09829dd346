"""What is wrong with a trained pair, how sure that is, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bayes_vae.data import Data
from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.finding import Finding, NotChecked
from bayes_vae.diagnosis.findings.judge import judge, judge_first, unasked
from bayes_vae.diagnosis.measure.elbo_on_rows import DRAWS
from bayes_vae.diagnosis.measure.first_look import look_first
from bayes_vae.diagnosis.measure.groups import measure
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.diagnosis.result import Diagnosis
from bayes_vae.errors import DataError, SettingsError
from bayes_vae.terms.program import Program, undisturbed
from bayes_vae.terms.stream import Progress
from bayes_vae.terms.whole_numbers import seed_number

__all__ = ["diagnose"]

LEAST = 20
"""Observations below which no mean has an error to be trusted."""


def diagnose(
    model: Program,
    guide: Program,
    data: Data,
    *,
    history: Sequence[Mapping[str, float]] | None = None,
    settings: Mapping[str, Any] | None = None,
    num_observations: int = 800,
    seed: int = 0,
    progress: Progress | None = None,
) -> Diagnosis:
    """Look for what people get wrong with a VAE.

    Everything is measured on the pair and its data; a history and settings of the training are used where they are
    given. The pair is left as it is: what is trained a little is a copy.

    Args:
        model, guide: a pair of Pyro programs. The more of its distributions it exposes, the more is checked; what is
            not says why.
        data: its data set, of which the first training and test rows are used.
        history: one row of named figures for each epoch, as ``run.history``.
        settings: of the training, by name, as ``run.settings["training"]``.
        num_observations: training observations that are looked at, from the first on; of the test observations 300.
        seed: of every draw.
        progress: called with the groups of measurements done, and their number.

    Returns:
        :class:`Diagnosis`: the findings, the most serious first, and the numbers that they rest on.

    Raises:
        DataError: data that are not a data set with a policy.
        SettingsError: too few observations to be looked at.
        ProgramError: a pair whose terms cannot be read.
    """
    if not isinstance(data, Data):
        raise DataError(
            f"diagnose takes a data set with its policy, got {type(data).__name__}: pass bayes_vae.load_data(...) of "
            "it."
        )
    if num_observations < LEAST:
        raise SettingsError(f"num_observations must be at least {LEAST}, got {num_observations}.")
    subject = Subject(model, guide, data, seed_number("seed", seed), num_observations, history=history or ())
    seen = Examined(subject.measured, data.data_shape.numel(), settings or {}, subject.notes)
    few = min(len(data.train), len(data.test))
    if few < LEAST:
        return _diagnosis(
            subject, (), unasked(f"of training or test rows there are only {few}, and means need {LEAST}.")
        )
    with undisturbed(model, guide, device=subject.device, seed=subject.seed):
        subject.measured.update(look_first(subject))
        first = judge_first(seen)
        if first:
            subject.measured.clear()
            return _diagnosis(subject, (first,), unasked(f"{first.name}: fix that first."))
        measure(subject, progress)
    return _diagnosis(subject, *judge(seen))


def _diagnosis(subject: Subject, findings: tuple[Finding, ...], not_checked: tuple[NotChecked, ...]) -> Diagnosis:
    """The result, with the conditions of its numbers."""
    num_train = min(subject.most_train, len(subject.data.train))
    num_test = min(subject.most_test, len(subject.data.test))
    conditions = subject.seed, subject.data.policy, num_train, num_test, DRAWS
    return Diagnosis(findings, subject.measured, not_checked, *conditions)
