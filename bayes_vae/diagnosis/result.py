"""What a diagnosis gives: findings, the numbers behind them, and what could not be checked."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bayes_vae.data.data_set import SplitBy
from bayes_vae.diagnosis.findings import table
from bayes_vae.diagnosis.findings.finding import Finding, NotChecked
from bayes_vae.diagnosis.measure.measurement import Measurement

__all__ = ["Diagnosis", "by_reason"]

WIDTH = 100

UNKNOWN_SPLIT = (
    "The test rows were chosen at random by load_data: if this pair was trained elsewhere it may have seen them, and "
    "overfitting cannot be ruled out. Give its own split: load_data(train=..., test=...)."
)

SPLIT_SENTENCES: dict[SplitBy, str] = {
    "load_data": UNKNOWN_SPLIT,
    "caller": "training and test rows are those that you gave.",
    "data set": "the test rows are those that the data set comes with.",
}


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What is wrong with a pair, if anything.

    Attributes:
        findings: those that stand for themselves first, the most serious first; then what they explain.
        measurements: every number that was measured, by name.
        not_checked: what could not be checked, with the reason.
        seed: of every draw.
        data_policy: of the data set.
        num_train, num_test: observations that were looked at.
        num_particles: draws from q for each (K), where an estimator does not need more.
        split_by: who chose which rows are test rows: the ``caller``, the ``data set``, or ``load_data`` at random; None
            where the training used this split.
        not_applicable: what asks about a part that the pair does not have, with the reason.
        checks: names of the measurements that were made; ``diagnose(checks=...)`` makes the same ones again.
        read_as: how the pair was read, where that is not as its own likelihood says.
        missing_share: share of the numbers of x that are missing: all terms are of what was observed.
    """

    findings: tuple[Finding, ...]
    measurements: Mapping[str, Measurement] = field(repr=False)
    not_checked: tuple[NotChecked, ...] = field(repr=False)
    seed: int
    data_policy: str
    num_train: int
    num_test: int
    num_particles: int
    not_applicable: tuple[NotChecked, ...] = field(default=(), repr=False)
    checks: tuple[str, ...] = field(default=(), repr=False)
    read_as: str = ""
    split_by: SplitBy | None = None
    missing_share: float = 0.0

    @property
    def healthy(self) -> bool | None:
        """False where something above a note was found, True where every check was made and found none, else None."""
        if any(finding.severity != "note" for finding in self.findings):
            return False
        return None if self.not_checked else True

    @property
    def num_checks(self) -> int:
        """Checks that apply to this pair, but for those that rule out every other."""
        return sum(not kind.first for kind in table.KINDS) - len(self.not_applicable)

    @property
    def num_made(self) -> int:
        """Checks of them that could be made."""
        return self.num_checks - len(self.not_checked)

    def finding(self, name: str) -> Finding | None:
        """The finding of a name, or None."""
        return next((finding for finding in self.findings if finding.name == name), None)

    def sentence(self) -> str:
        """The diagnosis in a sentence or two: what was found, and how much could be checked."""
        serious = [finding for finding in self.findings if finding.severity != "note" and not finding.because]
        if self.not_checked and not self.findings and not self.measurements:
            return f"Nothing could be checked: {self.not_checked[0].reason}"
        if serious:
            names = [f"{finding.name} ({finding.severity}, {finding.sureness})" for finding in serious]
            first = "First: " if len(names) > 1 else ""
            return f"Found: {'; '.join(names)}. {first}{serious[0].summary}{self._made()}"
        unknown = f" {UNKNOWN_SPLIT}" if self.split_by == "load_data" else ""
        if self.healthy is None:
            return (
                f"{self.num_made} of {self.num_checks} checks could be made on this pair, and they found nothing "
                f"wrong; "
                f"whether the rest is right is not known.{unknown}"
            )
        return (
            f"Nothing was found to be wrong, by any of the {self.num_checks} checks that apply to this pair.{unknown}"
        )

    def _made(self) -> str:
        return f" {self.num_made} of {self.num_checks} checks could be made." if self.not_checked else ""

    def to_json(self) -> dict[str, Any]:
        """Findings, measurements and what was not checked, in JSON types; what is not finite is None."""
        return {
            "sentence": self.sentence(),
            "healthy": self.healthy,
            "findings": [_plain({**asdict(finding), "sureness": finding.sureness}) for finding in self.findings],
            "num_checks": self.num_checks,
            "num_made": self.num_made,
            "not_checked": [check._asdict() for check in self.not_checked],
            "not_applicable": [check._asdict() for check in self.not_applicable],
            "checks": list(self.checks),
            "read_as": self.read_as,
            "measurements": {
                name: _plain({"value": number.value, "error": number.error, "unit": number.unit})
                for name, number in self.measurements.items()
            },
            "seed": self.seed,
            "data_policy": self.data_policy,
            "num_train": self.num_train,
            "num_test": self.num_test,
            "num_particles": self.num_particles,
            "split_by": self.split_by,
            **({"missing_share": self.missing_share} if self.missing_share else {}),
        }

    def table(self) -> str:
        """The findings for a terminal: name and summary, then numbers, reason and advice."""
        blocks = [self.sentence()]
        blocks += [f"All numbers are {self.read_as}."] if self.read_as else []
        for number, finding in enumerate(self.findings, 1):
            cause = f", because of {finding.because}" if finding.because else ""
            head = f"{number}. {finding.name} ({finding.severity}, {finding.sureness}{cause})"
            rows = (
                ("found", finding.summary),
                ("measured", "; ".join(map(str, finding.measurements))),
                ("why it matters", finding.why),
                ("what to do", finding.advice),
            )
            blocks.append("\n".join([head, *(_row(label, text) for label, text in rows)]))
        for title, checks in (("Not checked", self.not_checked), ("Does not apply", self.not_applicable)):
            lines = [_row("", f"{', '.join(names)}: {reason}") for reason, names in by_reason(checks).items()]
            blocks += ["\n".join([title, *lines])] if lines else []
        if self.split_by:
            blocks.append(textwrap.fill(f"Split: {SPLIT_SENTENCES[self.split_by]}", WIDTH))
        return "\n\n".join(blocks)

    def __str__(self) -> str:
        """The table."""
        return self.table()


def by_reason(checks: Sequence[NotChecked]) -> dict[str, list[str]]:
    """Each reason, with the names of the checks that were not made for it."""
    reasons: dict[str, list[str]] = {}
    for name, reason in checks:
        reasons.setdefault(reason, []).append(name)
    return reasons


def _row(label: str, text: str) -> str:
    head = f"   {label}".ljust(18) if label else "   "
    return textwrap.fill(text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head))


def _plain(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
