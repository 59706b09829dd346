"""Every kind of finding is asked about; causes stand before what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from bayes_vae.diagnosis.findings import table
from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.finding import SEVERITIES, Finding, NotChecked
from bayes_vae.diagnosis.findings.kind import Found, Kind
from bayes_vae.vocabulary.number_text import joined

__all__ = ["Judgement", "arranged", "judge", "judge_first", "obstacle", "unasked"]

TIGHTER = ("importance-weighted", "doubly-reparameterized")
"""Objectives that are a tighter bound than the ELBO, and have another best guide."""


def judge_first(seen: Examined) -> Found | None:
    """What rules out every measurement as it stands, or None."""
    found = (kind.find(seen) for kind in table.KINDS if kind.first and not obstacle(kind, seen))
    return next(filter(None, found), None)


def unasked(reason: str) -> tuple[NotChecked, ...]:
    """Every other kind, unasked for one reason."""
    return tuple(NotChecked(kind.name, reason) for kind in table.KINDS if not kind.first)


class Judgement(NamedTuple):
    """The findings, the most serious first, what could not be asked, and what does not apply to the pair."""

    findings: tuple[Finding, ...]
    not_checked: tuple[NotChecked, ...]
    not_applicable: tuple[NotChecked, ...]


def judge(seen: Examined) -> Judgement:
    """Ask every question, and put causes before what follows from them.

    Args:
        seen: the numbers, and what is known of the training.
    """
    found: list[Found] = []
    not_checked: list[NotChecked] = []
    not_applicable: list[NotChecked] = []
    for kind in table.KINDS:
        if kind.first:
            why = [seen.notes.get(name) for name in kind.needs if name not in seen.measured]
            not_checked += [NotChecked(kind.name, reason) for reason in filter(None, why)]
            continue
        reason = obstacle(kind, seen)
        if reason:
            (not_applicable if set(kind.needs) & set(seen.void) else not_checked).append(NotChecked(kind.name, reason))
            continue
        answer = kind.find(seen)
        found += [answer] if answer else []
    return Judgement(arranged(found), tuple(not_checked), tuple(not_applicable))


def arranged(found: Sequence[Found]) -> tuple[Finding, ...]:
    """Findings with their causes, from answers in the order of the table: those that stand for themselves first."""
    return tuple(sorted((_explained(answer, found) for answer in found), key=_place))


def obstacle(kind: Kind, seen: Examined) -> str:
    """Why a kind cannot be asked about; empty where it can."""
    objective = seen.settings.get("objective", "elbo")
    if objective in TIGHTER and kind.of_elbo:
        return f"the run was trained on the objective {objective}, whose optimum is not that of the ELBO."
    lacking = next((name for name in kind.needs if name not in seen.measured), None)
    return "" if lacking is None else seen.notes.get(lacking, f"{lacking.replace('_', ' ')} was not measured.")


def _explained(answer: Found, found: Sequence[Found]) -> Finding:
    """The finding with the first of its causes; a suspicion, of less than its usual severity, is no cause.

    Of two that explain each other the one that stands first in the table is the cause.
    """
    finding, place = answer.finding, found.index(answer)
    causes = [
        cause.kind.name
        for at, cause in enumerate(found)
        if _causes(cause, answer) and (at < place or not _causes(answer, cause)) and at != place
    ]
    if not causes:
        return finding
    first, *others = causes
    also = f" ({joined(others)} could cause it too)" if others else ""
    return replace(finding, because=first, advice=f"Fix {first} first{also}, then rerun diagnose.")


def _causes(cause: Found, answer: Found) -> bool:
    kind = answer.kind
    return cause.finding.severity == cause.kind.severity and bool({kind.name, kind.symptom} & set(cause.explains))


def _place(finding: Finding) -> tuple[bool, int]:
    """Those that stand for themselves first, by severity; then what they explain; else as in the table."""
    return bool(finding.because), SEVERITIES.index(finding.severity)
