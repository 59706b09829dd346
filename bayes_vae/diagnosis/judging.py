"""From numbers and thresholds to a finding."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bayes_vae.diagnosis.advice import ADVICE
from bayes_vae.diagnosis.findings import Evidence, Finding, Severity
from bayes_vae.diagnosis.numbers import Numbers, probability_above
from bayes_vae.diagnosis.thresholds import LIKELY

__all__ = ["Check", "Condition", "Examined", "conclude", "unless"]


class Condition(NamedTuple):
    """A number that is compared with a threshold, and how sure it is that it lies beyond."""

    evidence: Evidence
    probability: float


@dataclass(frozen=True, eq=False)
class Examined:
    """What the checks decide from.

    Attributes:
        numbers: what was measured.
        num_pixels: numbers in one observation.
        settings: of the training, where they are known.
    """

    numbers: Numbers
    num_pixels: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    def setting(self, name: str, otherwise: float) -> float:
        """A number of the settings; another where it is not there or None."""
        value = self.settings.get(name)
        return otherwise if value is None else float(value)

    def value(self, name: str) -> float:
        """The value of a number; NaN where it was not measured."""
        return self.numbers.value(name)

    def at_least(self, nats: float, share: float) -> float:
        """A threshold that grows with what the codes say: so many nats, or a share of the KL where that is more."""
        kl = self.value("train_kl_to_prior")
        return nats if math.isnan(kl) else max(nats, share * kl)

    def above(self, name: str, threshold: float) -> Condition:
        """A number that must lie above a threshold."""
        return self._compared(name, threshold, 1.0)

    def below(self, name: str, threshold: float) -> Condition:
        """A number that must lie below a threshold."""
        return self._compared(name, threshold, -1.0)

    def within(self, name: str, value: float, factor: float) -> Condition:
        """A positive number that must agree with a value up to a factor; its error is not added to the factor."""
        evidence = self.shown(name)
        inside = evidence.value > 0 and value > 0 and abs(math.log(evidence.value / value)) < math.log(factor)
        return Condition(evidence, 1.0 if inside else 0.0)

    def off(self, name: str, value: float, factor: float) -> Condition:
        """A number that must lie beyond a factor of a value, on either side."""
        sides = self.above(name, value * factor), self.below(name, value / factor)
        return max(sides, key=lambda side: side.probability)

    def shown(self, name: str) -> Evidence:
        """A number that stands beside the others."""
        number = self.numbers.found.get(name)
        if number is None:
            return Evidence(name, math.nan)
        return Evidence(name, number.value, number.error, number.unit)

    def _compared(self, name: str, threshold: float, sign: float) -> Condition:
        seen = self.shown(name)
        probability = probability_above(sign * seen.value, seen.error, sign * threshold)
        return Condition(Evidence(name, seen.value, seen.error, seen.unit, threshold), probability)


def unless(fact: bool) -> Condition:
    """A condition that a fact rules out, with no number to show."""
    return Condition(Evidence("", math.nan), 0.0 if fact else 1.0)


Decide = Callable[[Examined], Finding | None]


class Check(NamedTuple):
    """A question to a pair.

    Attributes:
        name: of the finding that it may come to.
        needs: names of the numbers without which it is not made.
        decide: from what was examined to the finding, or None.
    """

    name: str
    needs: tuple[str, ...]
    decide: Decide


def conclude(
    name: str,
    summary: str,
    conditions: Sequence[Condition],
    shown: Sequence[Evidence] = (),
    severity: Severity | None = None,
) -> Finding | None:
    """A finding where all conditions are likely, else None.

    Args:
        name: of the finding.
        summary: what was found.
        conditions: all of which must hold; their smallest probability is the finding's.
        shown: further numbers.
        severity: another than the usual one.
    """
    probability = min(condition.probability for condition in conditions)
    if probability < LIKELY:
        return None
    advice = ADVICE[name]
    evidence: dict[str, Evidence] = {}
    for seen in (*(condition.evidence for condition in conditions), *shown):
        if not math.isnan(seen.value):
            evidence.setdefault(seen.name, seen)
    found = tuple(evidence.values())
    return Finding(name, severity or advice.severity, probability, summary, found, advice.why, advice.what_to_do)
