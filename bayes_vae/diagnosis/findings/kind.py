"""What a kind of finding is: a function that yields its cases, under a decorator that says the rest.

::

    @warning("prior-hole", needs=("marginal_kl_bound",), why="…", advice="…")
    def prior_hole(seen: Examined) -> Iterator[Case]:
        yield Case("The aggregate posterior is not the prior.", [seen.above("marginal_kl_bound", 0.7)])

A kind stands in a file of its own or beside its nearest kin, and in ``table``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from bayes_vae.diagnosis.findings.examined import Condition, Examined
from bayes_vae.diagnosis.findings.finding import SEVERITIES, Finding, Severity
from bayes_vae.diagnosis.measure.measurement import Measurement

__all__ = [
    "ANY_OTHER_BALANCE",
    "AT_MOST_LIKELY",
    "HELD_TOO_LITTLE",
    "HELD_TOO_MUCH",
    "OF_DECODER",
    "OF_GUIDE",
    "OF_OBJECTIVE",
    "Case",
    "Found",
    "Kind",
    "fault",
    "note",
    "warning",
]

LIKELY = 0.84
"""Probability from which a finding is reported: one standard error beyond the threshold."""

Symptom: TypeAlias = Literal["guide", "objective", "decoder", "latent"]

OF_GUIDE: tuple[Symptom, ...] = ("guide",)
"""What follows where q is not the one that was meant: symptoms to be named in ``explains``."""

OF_OBJECTIVE: tuple[Symptom, ...] = (*OF_GUIDE, "objective")
"""What follows where the pair was trained on something else than the ELBO."""

OF_DECODER: tuple[Symptom, ...] = (*OF_OBJECTIVE, "decoder", "latent")
"""What follows where p(x given z) is not the one that was meant."""


ANY_OTHER_BALANCE = ("mismatched-pair", "amortization-gap", "undertraining", "importance-weights")
"""What follows wherever q was trained for another balance than that of the ELBO."""

HELD_TOO_LITTLE = (
    "variance-collapse",
    "scale-runaway",
    "guide-too-narrow",
    "prior-hole",
    "overfitting",
    *ANY_OTHER_BALANCE,
)
"""What follows where too little holds q to the prior; a latent that is given up does not."""

HELD_TOO_MUCH = ("posterior-collapse", "unused-dimensions", "guide-too-wide", *ANY_OTHER_BALANCE)
"""What follows where q is held to the prior too strongly."""

AT_MOST_LIKELY = 0.95
"""Certainty of a finding whose numbers have other causes too."""


class Case(NamedTuple):
    """One way to come to a finding.

    Attributes:
        summary: what was found, one sentence.
        conditions: all of which must hold; their smallest probability is the finding's.
        shown: names of further numbers.
        severity: another than the usual one.
        advice: another than the usual one.
        explains: what follows from it, where that is less than of the other cases: causes have a direction.
        at_most: the largest certainty that it can have.
    """

    summary: str
    conditions: Sequence[Condition]
    shown: Sequence[str] = ()
    severity: Severity | None = None
    advice: str = ""
    explains: tuple[str, ...] | None = None
    at_most: float = 1.0


class Found(NamedTuple):
    """A finding, its kind, and what follows from it."""

    kind: Kind
    finding: Finding
    explains: tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """One kind of finding.

    Attributes:
        name: as it is reported.
        severity: the usual one.
        cases: ways to come to it, of which the first that is likely is reported.
        needs: names of the numbers without which it is not checked.
        why: why it matters, one sentence.
        advice: what to do, one or two sentences.
        explains: what follows from it and is listed behind it: names of kinds, or symptoms.
        symptom: of what it is a symptom, where something else is wrong; a wrong decoder has all three.
        of_elbo: whether it is judged by the balance or the gain of the ELBO, which another objective does not have.
        first: whether it is looked at before anything is measured; where it is found nothing is.
        at_most: the largest certainty of its cases: below that of a clear finding where it has several causes, of which
            no number here tells the one that it names.
    """

    name: str
    severity: Severity
    cases: Callable[[Examined], Iterable[Case]]
    needs: tuple[str, ...]
    why: str
    advice: str
    explains: tuple[str, ...] = ()
    symptom: Symptom | None = None
    of_elbo: bool = False
    first: bool = False
    at_most: float = 1.0

    def find(self, seen: Examined) -> Found | None:
        """The finding of the first case whose conditions are all likely to hold, or None."""
        for case in self.cases(seen):
            if min(condition.probability for condition in case.conditions) >= LIKELY:
                measurements: dict[str, Measurement] = {}
                for number in (*(condition.measurement for condition in case.conditions), *map(seen.shown, case.shown)):
                    if not math.isnan(number.value):
                        measurements.setdefault(number.name, number)
                certainty = min(self.at_most, case.at_most, *(condition.certain for condition in case.conditions))
                shown, severity = tuple(measurements.values()), case.severity or self.severity
                texts = case.summary, shown, self.why, case.advice or self.advice
                finding = Finding(self.name, severity, certainty, *texts)
                return Found(self, finding, self.explains if case.explains is None else case.explains)
        return None


def _decorator(severity: Severity) -> Callable[..., Callable[[Callable[[Examined], Iterable[Case]]], Kind]]:
    """From a name, and the other fields by name, to what makes a kind of that severity of the cases."""
    return lambda name, **rest: lambda cases: Kind(name, severity, cases, **rest)


fault, warning, note = map(_decorator, SEVERITIES)
