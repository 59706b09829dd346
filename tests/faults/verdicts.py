"""How a diagnosis of the wild suite is counted: found, misnamed, missed, false alarm, and how sure it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from faults.families import FAMILIES
from faults.fault_injection import BEST_RANKS, Row
from faults.several_sites import OF_SITES, SITES
from faults.wild_cases import WILD

__all__ = ["calibration", "false_clear", "interval", "is_false", "summary", "table", "verdict", "wrong"]

CLEAR = 0.99

WAYS = {**WILD, **OF_SITES}
"""Every way of training, by name."""

WORDS = {name: what.words for kinds in (FAMILIES, SITES, WAYS) for name, what in kinds.items()}
"""What every family and way of training is."""


def verdict(row: Row) -> str:
    """found, missed, misnamed; right or false alarm of a healthy training; right or misnamed where no number tells."""
    what = WAYS[row["case"]]
    standing = {finding["name"] for finding in _standing(row)}
    names = {finding["name"] for finding in row["findings"][:BEST_RANKS]}
    if names & set(what.expected):
        return "found"
    if standing - set(what.also):
        return "false alarm" if what.healthy else "misnamed"
    return "missed" if what.expected else "right"


def _standing(row: Row) -> list[dict[str, Any]]:
    """Findings above a note that stand for themselves."""
    return [finding for finding in row["findings"] if finding["severity"] != "note" and not finding["because"]]


def is_false(row: Row, finding: dict[str, Any]) -> bool:
    """Whether a finding is neither what was done nor what may be said of it."""
    what = WAYS[row["case"]]
    return finding["name"] not in (*what.expected, *what.also)


def false_clear(row: Row) -> list[str]:
    """Findings above a note that are called clear, stand for themselves and are neither expected nor allowed."""
    return [f["name"] for f in _standing(row) if f["probability"] >= CLEAR and is_false(row, f)]


def interval(count: int, of: int) -> tuple[float, float]:
    """Wilson's interval at 95 % of a share.

    >>> [round(end, 3) for end in interval(1, 100)]
    [0.002, 0.054]
    """
    if not of:
        return 0.0, 1.0
    share, square = count / of, 1.96**2
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = (square * (share * (1 - share) / of + square / (4 * of * of))) ** 0.5 / (1 + square / of)
    return max(0.0, middle - half), min(1.0, middle + half)


def shown(count: int, of: int) -> str:
    """A share with its counts and its interval."""
    if not of:
        return "none"
    low, high = (f"{100 * end:.0f}" for end in interval(count, of))
    return f"{count} of {of} ({100 * count / of:.0f} %, {low}–{high} %)"


def calibration(rows: Sequence[Row]) -> dict[str, tuple[int, int]]:
    """Of the findings called clear, and of those called likely: how many are false, of how many."""
    found: dict[str, tuple[int, int]] = {}
    for word in ("clear", "likely"):
        said = [(row, f) for row in rows for f in _standing(row) if (f["probability"] >= CLEAR) == (word == "clear")]
        found[word] = sum(is_false(*each) for each in said), len(said)
    return found


def table(rows: Sequence[Row]) -> Iterator[str]:
    """One line for each family, then for each way of training, in Markdown."""
    yield "| | trainings | found or rightly quiet | misnamed | missed | false alarm | clear, of them false |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for key, names in (("family", [*FAMILIES, *SITES]), ("case", [*WAYS])):
        for name in names:
            own = [row for row in rows if row[key] == name]
            if own:
                yield _line(f"{name}: {WORDS[name]}", own)
    yield _line("all", list(rows))


def _line(name: str, rows: Sequence[Row]) -> str:
    verdicts = [verdict(row) for row in rows]
    counts = [sum(v in kind for v in verdicts) for kind in (("found", "right"), ("misnamed",), ("missed",))]
    healthy = [v for v, row in zip(verdicts, rows, strict=True) if WAYS[row["case"]].healthy]
    alarms = f"{healthy.count('false alarm')} of {len(healthy)}" if healthy else ""
    false, clear = calibration(rows)["clear"]
    return f"| {name} | {len(rows)} | {counts[0]} | {counts[1]} | {counts[2]} | {alarms} | {clear}, {false} |"


def summary(rows: Sequence[Row]) -> Iterator[str]:
    """The shares that count, each with its counts and its interval at 95 %."""
    faults = [verdict(row) for row in rows if WAYS[row["case"]].expected]
    quiet = [verdict(row) for row in rows if not WAYS[row["case"]].expected and not WAYS[row["case"]].healthy]
    healthy = [verdict(row) for row in rows if WAYS[row["case"]].healthy]
    said = calibration(rows)
    yield f"- named first or second: {shown(faults.count('found'), len(faults))}"
    yield f"- something else named: {shown(faults.count('misnamed'), len(faults))}"
    yield f"- of what no number tells, nothing false said: {shown(quiet.count('right'), len(quiet))}"
    yield f"- healthy trainings above a note: {shown(healthy.count('false alarm'), len(healthy))}"
    yield f"- findings called clear that are false: {shown(*said['clear'])}"
    yield f"- findings called likely that are false: {shown(*said['likely'])}"


def wrong(rows: Sequence[Row]) -> Iterator[str]:
    """What is not right, and clear findings that are false, with what was named."""
    for row in rows:
        false = false_clear(row)
        if verdict(row) not in ("found", "right") or false:
            named = ", ".join(f"{f['name']} {f['probability']:.2f}" for f in _standing(row)) or "nothing"
            clear = f" (clear and false: {', '.join(false)})" if false else ""
            yield f"- {verdict(row)}: {row['case']} in {row['family']}, seed {row['seed']}: {named}{clear}"
