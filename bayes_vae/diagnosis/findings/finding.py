"""One thing that is wrong with a pair: how sure that is, from what it was seen, why it matters, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from bayes_vae.diagnosis.measure.measurement import Measurement

__all__ = ["SEVERITIES", "Finding", "NotChecked", "Severity"]

Severity = Literal["fault", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("fault", "warning", "note")
"""From the most serious to the least: figures or samples are wrong, better ones are possible, good to know."""

CLEAR = 0.99
"""Probability from which a finding is called clear."""


class NotChecked(NamedTuple):
    """A check that was not made.

    Attributes:
        name: of the finding that it could have come to.
        reason: why it was not made.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or good to know.

    Attributes:
        name: of the kind of finding, such as "posterior-collapse".
        severity: "fault" (figures or samples are not what they seem to be), "warning" (better ones are possible),
            or "note" (good to know).
        probability: that the numbers lie beyond their thresholds, given their standard errors: the smallest over those
            that the finding rests on; 1 for what is known exactly.
        summary: what was found, one sentence.
        measurements: the numbers that it rests on, each with its threshold, then those that are shown beside them.
        why: why it matters, one sentence.
        advice: what to do, one or two sentences.
        because: name of the finding that explains this one; empty where it stands for itself.
    """

    name: str
    severity: Severity
    probability: float
    summary: str
    measurements: tuple[Measurement, ...]
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
