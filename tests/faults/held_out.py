"""Thresholds chosen with whole families left out in turn, on kept numbers: how right they are where none was chosen.

Each kind of finding has one number to choose, by which all its thresholds move away from a healthy pair (or towards
it): ``STRICTNESS``. Chosen is what makes the fewest mistakes on all families but one; where several do, what is nearest
to the thresholds as they stand in the library. Then the family that was left out is judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from bayes_vae.diagnosis import Measurement
from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.judge import arranged, obstacle
from bayes_vae.diagnosis.findings.kind import Found
from bayes_vae.diagnosis.findings.table import KINDS
from faults.fault_injection import KEPT, Row
from faults.verdicts import false_clear, verdict

__all__ = ["STRICTNESS", "chosen", "judged_while_left_out", "moved"]

STRICTNESS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0)
"""Factors on the thresholds of a kind of finding, 1 as they stand."""

Answers = dict[str, dict[float, Found | None]]
"""Kind of finding → factor → what it answers."""


def answers(row: Row) -> Answers:
    """What each kind of finding answers to a row's numbers under each factor."""
    measured = {name: Measurement(*parts) for name, parts in row["numbers"].items()}
    seen = Examined(measured, row["num_pixels"], row["settings"] or {})
    asked = [kind for kind in KINDS if not kind.first and not obstacle(kind, seen)] if measured else []
    return {kind.name: {each: kind.find(replace(seen, strictness=each)) for each in STRICTNESS} for kind in asked}


def judged(row: Row, known: Answers, factors: Mapping[str, float]) -> Row:
    """The row with the findings under some factors; a row without numbers keeps its own."""
    if not known:
        return row
    found = [known[name][factors.get(name, 1.0)] for name in known]
    findings = arranged([answer for answer in found if answer])
    return {**row, "findings": [{key: getattr(finding, key) for key in KEPT} for finding in findings]}


def mistakes(row: Row) -> int:
    """1 where the verdict is wrong, and 1 for each clear finding that is false."""
    return (verdict(row) not in ("found", "right")) + len(false_clear(row))


def chosen(rows: Sequence[Row], known: Sequence[Answers]) -> dict[str, float]:
    """The factor of each kind that makes the fewest mistakes on these rows, one kind after the other."""
    factors: dict[str, float] = {}
    for kind in KINDS:
        touched = [
            (row, each) for row, each in zip(rows, known, strict=True) if len(set(_findings(each, kind.name))) > 1
        ]
        if touched:
            costs = {
                factor: sum(mistakes(judged(row, each, {**factors, kind.name: factor})) for row, each in touched)
                for factor in STRICTNESS
            }
            factors[kind.name] = min(STRICTNESS, key=lambda factor: (costs[factor], abs(math.log(factor))))
    return {name: factor for name, factor in factors.items() if factor != 1}


def _findings(known: Answers, name: str) -> list[float]:
    """Its certainty under each factor; −1 where nothing is found."""
    return [answer.finding.probability if answer else -1.0 for answer in known.get(name, {}).values()]


def judged_while_left_out(rows: Sequence[Row]) -> tuple[list[Row], dict[str, dict[str, float]]]:
    """Each row under the thresholds that were chosen on the other families, and these factors by family."""
    known = [answers(row) for row in rows]
    found, by_family = list[Row](), dict[str, dict[str, float]]()
    for family in dict.fromkeys(row["family"] for row in rows):
        others = [place for place, row in enumerate(rows) if row["family"] != family]
        factors = chosen([rows[place] for place in others], [known[place] for place in others])
        by_family[family] = factors
        found += [judged(row, each, factors) for row, each in zip(rows, known, strict=True) if row["family"] == family]
    return found, by_family


def moved(by_family: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Which thresholds were moved, and with how many families left out."""
    counts: dict[tuple[str, float], int] = {}
    for factors in by_family.values():
        for each in factors.items():
            counts[each] = counts.get(each, 0) + 1
    for (name, factor), count in sorted(counts.items()):
        yield f"`{name}` times {factor:g} ({count} of {len(by_family)})"
