"""What a change did: two diagnoses side by side, findings that went, stayed and came, and the numbers behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bayes_vae.diagnosis.measure.measurement import Measurement
from bayes_vae.diagnosis.result import Diagnosis

__all__ = ["ALWAYS", "Comparison"]

ALWAYS = ("test_elbo", "train_kl_to_prior", "kl_weight_of_means", "kl_weight_of_scales")
"""Numbers that are shown whatever was found."""


@dataclass(frozen=True)
class Comparison:
    """A diagnosis and the one that it is held against.

    Attributes:
        before: of the other pair.
        after: of this one.
    """

    before: Diagnosis
    after: Diagnosis

    @property
    def gone(self) -> tuple[str, ...]:
        """Findings that only the other has, and whose check was made here too."""
        unknown = {check.name for check in self.after.not_checked}
        return tuple(name for name in _names(self.before) if name not in _names(self.after) and name not in unknown)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Findings of the other that could not be checked here."""
        return tuple(name for name in _names(self.before) if name in {check.name for check in self.after.not_checked})

    @property
    def stayed(self) -> tuple[str, ...]:
        """Findings of both."""
        return tuple(name for name in _names(self.before) if name in _names(self.after))

    @property
    def came(self) -> tuple[str, ...]:
        """Findings that only this one has."""
        return tuple(name for name in _names(self.after) if name not in _names(self.before))

    @property
    def numbers(self) -> dict[str, tuple[Measurement, Measurement]]:
        """Numbers of both, before and after: those that a finding of either rests on, and a few that always count."""
        named = [
            number.name
            for diagnosis in (self.before, self.after)
            for finding in diagnosis.findings
            for number in finding.measurements
            if number.threshold is not None
        ]
        both = (self.before.measurements, self.after.measurements)
        return {
            name: (both[0][name], both[1][name])
            for name in dict.fromkeys([*ALWAYS, *named])
            if all(name in numbers for numbers in both)
        }

    def to_json(self) -> dict[str, Any]:
        """Names of the findings, and numbers before and after, in JSON types."""
        return {
            "gone": list(self.gone),
            "stayed": list(self.stayed),
            "came": list(self.came),
            "unknown": list(self.unknown),
            "numbers": {name: [before.value, after.value] for name, (before, after) in self.numbers.items()},
        }

    def table(self) -> str:
        """What went, stayed and came, then the numbers: before, after, and the change with its error."""
        lines = [
            f"{word}: {', '.join(names)}"
            for word, names in (
                ("Gone", self.gone),
                ("Stayed", self.stayed),
                ("New", self.came),
                ("No longer checked", self.unknown),
            )
            if names
        ] or ["Nothing was found in either."]
        width = max(map(len, self.numbers), default=0)
        for name, (before, after) in self.numbers.items():
            change = after - before
            sides = " -> ".join(str(number).strip() for number in (before, after))
            lines.append(f"  {name.replace('_', ' '):<{width}}  {sides}   ({change.value:+.3g} ± {change.error:.2g})")
        return "\n".join(lines)


def _names(diagnosis: Diagnosis) -> list[str]:
    return [finding.name for finding in diagnosis.findings]
