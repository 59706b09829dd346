"""One thing that is wrong with a pair: how sure that is, from what it was seen, why it matters, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bayes_vae.terms.averages import with_error

__all__ = ["SEVERITIES", "Evidence", "Finding", "Severity"]

Severity = Literal["fault", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("fault", "warning", "note")
"""From the most serious to the least: figures or samples are wrong, better ones are to be had, good to know."""

CLEAR = 0.99
"""Probability from which a finding is called clear."""


@dataclass(frozen=True)
class Evidence:
    """A measured number that a finding rests on.

    Attributes:
        name: as in the measurements.
        value: what was measured.
        error: its standard error; 0 where it is exact, NaN where it is unknown.
        unit: "nats", or "" for a number without one.
        threshold: beyond which it counts; None where it is shown beside the others.
    """

    name: str
    value: float
    error: float = 0.0
    unit: str = ""
    threshold: float | None = None

    def __str__(self) -> str:
        """Name, value with error, unit and threshold."""
        plain = not self.error > 0 or abs(self.value) >= 1e5
        shown = f"{self.value:.3g}" if plain else with_error(self.value, self.error)
        unit = f" {self.unit}" if self.unit else ""
        beyond = "" if self.threshold is None else f" (threshold {self.threshold:.3g})"
        return f"{self.name.replace('_', ' ')} {shown}{unit}{beyond}"


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or good to know.

    Attributes:
        name: of the kind of finding, such as "posterior-collapse".
        severity: "fault" (figures or samples are not what they are taken for), "warning" (better ones are to be had),
            or "note" (good to know).
        probability: that the numbers lie beyond their thresholds, given their standard errors: the smallest over those
            that the finding rests on; 1 for what is known exactly.
        summary: what was found, one sentence.
        evidence: the numbers.
        why: why it matters, one sentence.
        advice: what to do, one or two sentences.
        because: name of the finding that explains this one; empty where it stands for itself.
    """

    name: str
    severity: Severity
    probability: float
    summary: str
    evidence: tuple[Evidence, ...]
    why: str
    advice: str
    because: str = ""

    @property
    def sureness(self) -> str:
        """In a word: "clear" from 0.99 on, 2.3 standard errors beyond every threshold; else "likely"."""
        return "clear" if self.probability >= CLEAR else "likely"

    def __str__(self) -> str:
        """Name, severity and summary."""
        return f"{self.name} ({self.severity}, {self.sureness}): {self.summary}"
