"""What is wrong with a trained pair, how sure that is, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bayes_vae.data import Data
from bayes_vae.diagnosis.advice import ADVICE, EXPLAINS
from bayes_vae.diagnosis.data_checks import look_at_data, look_at_support, look_at_weights
from bayes_vae.diagnosis.decoder_checks import DECODER_CHECKS, TRAINING_CHECKS
from bayes_vae.diagnosis.findings import SEVERITIES, Finding
from bayes_vae.diagnosis.judging import Check, Examined
from bayes_vae.diagnosis.latent_checks import LATENT_CHECKS
from bayes_vae.diagnosis.measurements import measure
from bayes_vae.diagnosis.numbers import Numbers
from bayes_vae.diagnosis.objective_checks import OBJECTIVE_CHECKS
from bayes_vae.diagnosis.result import Diagnosis, NotChecked
from bayes_vae.diagnosis.subject import Subject
from bayes_vae.diagnosis.terms import DRAWS
from bayes_vae.diagnosis.weight_checks import WEIGHT_CHECKS
from bayes_vae.errors import DataError, SettingsError
from bayes_vae.terms.program import Program, undisturbed
from bayes_vae.terms.stream import Progress

__all__ = ["CHECKS", "decide", "diagnose"]

CHECKS: tuple[Check, ...] = (
    *DECODER_CHECKS,
    *OBJECTIVE_CHECKS,
    *WEIGHT_CHECKS,
    *LATENT_CHECKS,
    *TRAINING_CHECKS,
)
"""Every question that is asked of a pair whose terms can be computed."""

LEAST = 20
"""Observations below which no mean has an error to be trusted."""

TIGHTER = ("importance-weighted", "doubly-reparameterized")
"""Objectives that are a tighter bound than the ELBO, and have another best guide."""

OF_THE_ELBO = (
    *(check.name for check in (*OBJECTIVE_CHECKS, *WEIGHT_CHECKS)),
    "guide-too-narrow",
    "guide-too-wide",
    "amortization-gap",
    "undertraining",
)
"""What is judged by the balance or by the gain of the ELBO."""


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
    subject = Subject(model, guide, data, int(seed), num_observations)
    few = min(len(data.train), len(data.test))
    if few < LEAST:
        return _not_asked(subject, f"of training or test rows there are only {few}, and means need {LEAST}.")
    with undisturbed(model, guide, device=subject.device, seed=subject.seed):
        first = look_at_support(subject) or look_at_weights(subject) or look_at_data(subject)
        numbers = Numbers() if first else measure(subject, history or (), progress)
    if first:
        return _not_asked(subject, f"{first.name}: mend that first.", first)
    examined = Examined(numbers, data.data_shape.numel(), settings or {})
    findings, not_checked = decide(examined)
    return Diagnosis(findings, dict(numbers.found), not_checked, *_conditions(subject))


def _not_asked(subject: Subject, reason: str, *found: Finding) -> Diagnosis:
    """A diagnosis without the checks that need numbers."""
    not_checked = tuple(NotChecked(check.name, reason) for check in CHECKS)
    return Diagnosis(found, {}, not_checked, *_conditions(subject))


def _conditions(subject: Subject) -> tuple[int, str, int, int, int]:
    """Seed, policy, rows and draws, which stand with the numbers."""
    data = subject.data
    num_train, num_test = min(subject.most_train, len(data.train)), min(subject.most_test, len(data.test))
    return subject.seed, data.policy, num_train, num_test, DRAWS


def decide(seen: Examined) -> tuple[tuple[Finding, ...], tuple[NotChecked, ...]]:
    """Ask every question, and put causes before what follows from them.

    Args:
        seen: the numbers, and what is known of the training.

    Returns:
        the findings, the most serious first, and what could not be asked.
    """
    findings, not_checked = [], []
    objective = seen.settings.get("objective", "elbo")
    for check in CHECKS:
        if objective in TIGHTER and check.name in OF_THE_ELBO:
            reason = f"the run was trained on the objective {objective}, which comes to rest elsewhere than the ELBO."
            not_checked.append(NotChecked(check.name, reason))
            continue
        lacking = [name for name in check.needs if name not in seen.numbers]
        if lacking:
            not_checked.append(NotChecked(check.name, _reason(seen.numbers, lacking[0])))
            continue
        found = check.decide(seen)
        if found:
            findings.append(found)
    return _in_order(findings), tuple(not_checked)


def _reason(numbers: Numbers, name: str) -> str:
    """Why a number was not measured."""
    return numbers.reasons.get(name, f"{name.replace('_', ' ')} was not measured.")


def _explained_by(cause: Finding) -> tuple[str, ...]:
    """What follows from a finding; nothing from a suspicion, which has less than the usual severity."""
    return EXPLAINS.get(cause.name, ()) if cause.severity == ADVICE[cause.name].severity else ()


def _in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Those that stand for themselves first, by severity; then what they explain."""
    order = list(ADVICE)
    by_cause = sorted(findings, key=lambda finding: order.index(finding.name))
    explained = []
    for number, finding in enumerate(by_cause):
        causes = [cause.name for cause in by_cause[:number] if finding.name in _explained_by(cause)]
        if causes:
            finding = replace(finding, because=causes[0], advice=f"Mend {causes[0]} first, then look again.")
        explained.append(finding)
    return tuple(
        sorted(
            explained,
            key=lambda finding: (bool(finding.because), SEVERITIES.index(finding.severity), order.index(finding.name)),
        )
    )
