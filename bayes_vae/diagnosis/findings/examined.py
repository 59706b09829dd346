"""What findings are decided from: numbers compared with thresholds, and how sure it is that they lie beyond."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Any, NamedTuple

from bayes_vae.diagnosis.measure.measurement import Measurement

__all__ = ["CLEARLY", "Condition", "Examined", "agree", "probability_above"]


THRESHOLD_ERROR = 0.1
"""Share of a threshold by which it may be wrong for a model of another kind: it counts for what is called clear."""


CLEARLY = 0.977
"""Probability of two standard errors."""


class Condition(NamedTuple):
    """A number that is compared with a threshold, and how sure it is that it lies beyond.

    Attributes:
        measurement: the number.
        probability: given the number's standard error alone: what decides whether a finding is reported.
        certainty: given also that the threshold may be wrong by a tenth; as ``probability`` when None.
    """

    measurement: Measurement
    probability: float
    certainty: float | None = None

    @property
    def certain(self) -> float:
        """The certainty, or the probability where both are one."""
        return self.probability if self.certainty is None else self.certainty


@dataclass(frozen=True, eq=False)
class Examined:
    """What is known of a pair.

    Attributes:
        measured: the numbers by name.
        num_pixels: numbers in one observation.
        settings: of the training, where they are known.
        notes: name of a number → why it could not be measured, or in words what it does not say.
        void: names of numbers of parts that the pair does not have.
        strictness: factor by which every threshold is moved away from a healthy pair's numbers; 1 outside of the suite
            that chooses thresholds.
    """

    measured: Mapping[str, Measurement]
    num_pixels: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    void: Collection[str] = ()
    strictness: float = 1.0

    def setting(self, name: str, otherwise: float) -> float:
        """A number of the settings; another where it is not there or None."""
        value = self.settings.get(name)
        return otherwise if value is None else float(value)

    def value(self, name: str) -> float:
        """The value of a number; NaN where it was not measured."""
        return self.measured[name].value if name in self.measured else math.nan

    def shown(self, name: str) -> Measurement:
        """A number by its name, to stand in a finding; NaN where it was not measured."""
        return replace(self.measured.get(name, Measurement(math.nan)), name=name)

    def at_least(self, nats: float, share: float) -> float:
        """A threshold that grows with what the codes say: so many nats, or a share of the KL where that is more."""
        kl = self.value("train_kl_to_prior")
        return nats if math.isnan(kl) else max(nats, share * kl)

    def above(self, name: str, threshold: float, or_share_of_kl: float = 0.0) -> Condition:
        """A number that must lie above a threshold, or above a share of the KL where that is more."""
        least = self.at_least(threshold, or_share_of_kl) if or_share_of_kl else threshold
        return self._beyond(name, least * self.strictness, 1.0)

    def below(self, name: str, threshold: float) -> Condition:
        """A number that must lie below a threshold."""
        factor = self.strictness if threshold < 0 else 1 / self.strictness
        return self._beyond(name, threshold * factor, -1.0)

    def off(self, name: str, value: float, factor: float) -> Condition:
        """A number that must lie beyond a factor of a value, on either side."""
        factor = factor**self.strictness
        sides = self._beyond(name, value * factor, 1.0), self._beyond(name, value / factor, -1.0)
        return max(sides, key=lambda side: side.probability)

    def within(self, name: str, value: float, factor: float) -> Condition:
        """A number that must agree with a value up to a factor; its error counts for the certainty alone."""
        seen, factor = self.shown(name), factor ** (1 / self.strictness)
        if not agree(seen.value, value, factor):
            return Condition(seen, 0.0)
        room = math.log(factor) - abs(math.log(seen.value / value))
        error = math.hypot(seen.error / seen.value, THRESHOLD_ERROR * math.log(factor))
        return Condition(seen, 1.0, probability_above(room, error, 0.0))

    def clearly_positive(self, name: str) -> bool:
        """Whether a number lies two standard errors above 0."""
        return probability_above(self.value(name), self.shown(name).error, 0.0) > CLEARLY

    def holds(self, fact: bool, name: str = "") -> Condition:
        """A fact that must hold, and the number that is shown for it, if any."""
        return Condition(self.shown(name), 1.0 if fact else 0.0)

    def _beyond(self, name: str, threshold: float, sign: float) -> Condition:
        seen = self.shown(name)
        probability = probability_above(sign * seen.value, seen.error, sign * threshold)
        error = math.hypot(seen.error, THRESHOLD_ERROR * threshold)
        certainty = min(probability, probability_above(sign * seen.value, error, sign * threshold))
        return Condition(replace(seen, threshold=threshold), probability, certainty)


def agree(value: float, other: float, factor: float) -> bool:
    """Whether two numbers are positive and within a factor of each other; never where one is NaN."""
    return value > 0 and other > 0 and abs(math.log(value / other)) < math.log(factor)


def probability_above(value: float, error: float, threshold: float) -> float:
    r"""How sure it is that a measured number lies above a threshold.

    .. math:: \Phi\big((v - t) / s\big)

    Args:
        value: v.
        error: s, its standard error; 0 for a number taken as exact, and NaN where it is unknown, so that nothing is
            sure.
        threshold: t.

    >>> probability_above(2.0, 0.5, 1.5) > 0.84, probability_above(2.0, 0.0, 1.5)
    (True, 1.0)
    """
    if math.isnan(value):
        return 0.0
    if math.isinf(value) or error == 0:
        return 1.0 if value > threshold else 0.0
    if not math.isfinite(error):
        return 0.0
    return NormalDist().cdf((value - threshold) / error)
