"""Every kind of finding is asked about; causes stand before what follows from them."""

from __future__ import annotations

from dataclasses import replace

from bayes_vae.diagnosis.findings import table
from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.finding import SEVERITIES, Finding, NotChecked
from bayes_vae.diagnosis.findings.kind import Kind

__all__ = ["judge", "judge_first", "unasked"]

TIGHTER = ("importance-weighted", "doubly-reparameterized")
"""Objectives that are a tighter bound than the ELBO, and have another best guide."""


def judge_first(seen: Examined) -> Finding | None:
    """What rules out every measurement, or None."""
    found = (kind.find(seen) for kind in table.KINDS if kind.first and not _obstacle(kind, seen))
    return next(filter(None, found), None)


def unasked(reason: str) -> tuple[NotChecked, ...]:
    """Every other kind, unasked for one reason."""
    return tuple(NotChecked(kind.name, reason) for kind in table.KINDS if not kind.first)


def judge(seen: Examined) -> tuple[tuple[Finding, ...], tuple[NotChecked, ...]]:
    """Ask every question, and put causes before what follows from them.

    Args:
        seen: the numbers, and what is known of the training.

    Returns:
        the findings, the most serious first, and what could not be asked.
    """
    found: list[tuple[Kind, Finding]] = []
    not_checked = []
    for kind in table.KINDS:
        if kind.first:
            continue
        reason = _obstacle(kind, seen)
        finding = None if reason else kind.find(seen)
        if reason:
            not_checked.append(NotChecked(kind.name, reason))
        elif finding:
            found.append((kind, _explained(kind, finding, found)))
    return tuple(sorted((finding for _, finding in found), key=_place)), tuple(not_checked)


def _obstacle(kind: Kind, seen: Examined) -> str:
    """Why a kind cannot be asked about; empty where it can."""
    objective = seen.settings.get("objective", "elbo")
    if objective in TIGHTER and kind.of_elbo:
        return f"the run was trained on the objective {objective}, which comes to rest elsewhere than the ELBO."
    lacking = next((name for name in kind.needs if name not in seen.measured), None)
    return "" if lacking is None else seen.notes.get(lacking, f"{lacking.replace('_', ' ')} was not measured.")


def _explained(kind: Kind, finding: Finding, before: list[tuple[Kind, Finding]]) -> Finding:
    """The finding with the first of the causes before it; a suspicion, of less than its usual severity, is no cause."""
    for cause, found in before:
        if found.severity == cause.severity and {kind.name, kind.symptom} & set(cause.explains):
            advice = f"Fix {cause.name} first, then rerun diagnose."
            return replace(finding, because=cause.name, advice=advice)
    return finding


def _place(finding: Finding) -> tuple[bool, int]:
    """Those that stand for themselves first, by severity; then what they explain; else as in the table."""
    return bool(finding.because), SEVERITIES.index(finding.severity)
