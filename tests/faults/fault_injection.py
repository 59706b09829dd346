"""What `bayes-vae diagnose` finds in trainings with exactly one fault, and whether it leaves healthy ones alone.

Each of ``CASES`` is trained from each seed and diagnosed; results are kept in ``--results``
and not computed again. ``--write docs/diagnosis.md`` puts the table between the two marks of that page. Thresholds were
chosen on seeds 0 to 4; only seeds from 5 on say how good they are.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from bayes_vae.diagnosis import Diagnosis, Measurement, diagnose
from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.judge import judge
from bayes_vae.diagnosis.findings.table import KINDS
from faults.cases import CASES

BEST_RANKS = 2
"""A fault counts as found where it is named first or second."""

MARKS = ("<!-- table: begin -->", "<!-- table: end -->"), ("<!-- wild: begin -->", "<!-- wild: end -->")
"""Around the table of this suite, and around that of the wild one."""

FIRST = {kind.name for kind in KINDS if kind.first}
"""Findings that need no measurement."""

Row = dict[str, Any]


def examine(name: str, seed: int) -> Row:
    """Train a case and diagnose it."""
    start = time.perf_counter()
    patient = CASES[name].build(seed)
    trained = time.perf_counter()
    known: dict[str, Any] = {"history": patient.history, "settings": patient.settings}
    found = diagnose(patient.model, patient.guide, patient.data, seed=seed, seconds=float("inf"), **known)
    seconds = time.perf_counter() - trained
    row = {"case": name, "seed": seed, "train_seconds": trained - start, "seconds": seconds, **told(found)}
    return {**row, "settings": patient.settings, "num_pixels": patient.data.data_shape.numel()}


def told(found: Diagnosis) -> Row:
    """Findings and numbers of a diagnosis, to be kept."""
    content = found.to_json()
    findings = [{key: finding[key] for key in KEPT} for finding in content["findings"]]
    numbers = {name: [number.value, number.error, number.unit] for name, number in found.measurements.items()}
    return {"findings": findings, "numbers": numbers}


KEPT = ("name", "severity", "probability", "because", "summary")


def decided_again(row: Row) -> Row:
    """The same numbers under the thresholds of now; what is looked at before anything is measured stands as it was."""
    if not row["numbers"]:
        return row
    measured = {name: Measurement(*parts) for name, parts in row["numbers"].items()}
    found, *_ = judge(Examined(measured, row["num_pixels"], row["settings"] or {}))
    before = [finding for finding in row["findings"] if finding["name"] in FIRST]
    return {**row, "findings": [*before, *({key: getattr(finding, key) for key in KEPT} for finding in found)]}


def read(path: Path) -> list[Row]:
    """Results so far."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def rank(row: Row) -> int | None:
    """Place of the expected finding among all; None where it is not there."""
    places = [
        place for place, finding in enumerate(row["findings"], 1) if finding["name"] in CASES[row["case"]].expected
    ]
    return min(places, default=None)


def is_right(row: Row) -> bool:
    """Whether the fault is named first or second; of a healthy training, whether nothing is but notes."""
    if CASES[row["case"]].expected:
        place = rank(row)
        return place is not None and place <= BEST_RANKS
    return all(finding["severity"] == "note" for finding in row["findings"])


def table(rows: Sequence[Row]) -> Iterator[str]:
    """One line for each case, in Markdown."""
    yield "| training | what was done | expected | right | first | ranks | else first or second |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, case in CASES.items():
        own = sorted((row for row in rows if row["case"] == name), key=lambda row: row["seed"])
        if not own:
            continue
        right, places = sum(map(is_right, own)), [rank(row) for row in own]
        first = sum(place == 1 for place in places)
        shown = " ".join("–" if place is None else str(place) for place in places) if case.expected else ""
        others = sorted(
            {
                finding["name"]
                for row in own
                for finding in row["findings"][:BEST_RANKS]
                if finding["name"] not in case.expected and not finding["because"]
            }
        )
        expected = " or ".join(case.expected) or "nothing but notes"
        firsts = f"{first}/{len(own)}" if case.expected else ""
        cells = (name, case.words, expected, f"{right}/{len(own)}", firsts, shown, ", ".join(others))
        yield f"| {' | '.join(cells)} |"


def summary(rows: Sequence[Row]) -> str:
    """Totals, in a sentence or two."""
    faulty = [row for row in rows if CASES[row["case"]].expected]
    healthy = [row for row in rows if not CASES[row["case"]].expected]
    found, first = sum(map(is_right, faulty)), sum(rank(row) == 1 for row in faulty)
    alarms = sum(not is_right(row) for row in healthy)
    seconds = statistics.median(row["seconds"] for row in rows)
    return (
        f"Seeds {', '.join(map(str, sorted({row['seed'] for row in rows})))}: of {len(faulty)} trainings with a fault "
        f"{found} were named first or second ({found / max(1, len(faulty)):.0%}), {first} first. Of {len(healthy)} "
        f"healthy trainings {alarms} gave a finding above a note. A diagnosis took {seconds:.1f} s (median, one core)."
    )


def put_between_marks(page: Path, text: str, marks: tuple[str, str]) -> None:
    """Replace what stands between two marks of a page."""
    before, mark, rest = page.read_text(encoding="utf-8").partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not (mark and end):
        raise SystemExit(f"{page} lacks the marks {' and '.join(marks)}.")
    page.write_text(f"{before}{mark}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def parse_seeds(text: str) -> list[int]:
    """0..4, or 0,3,5.

    >>> parse_seeds("0..2"), parse_seeds("1,4")
    ([0, 1, 2], [1, 4])
    """
    if ".." in text:
        first, last = text.split("..")
        return list(range(int(first), int(last) + 1))
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Train and diagnose what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="5", help="such as 5..9, or 0,3")
    parser.add_argument("--fault", nargs="*", help="cases; all when left out")
    parser.add_argument("--results", type=Path, default=Path("runs/fault_injection.jsonl"))
    parser.add_argument("--decide-again", action="store_true", help="apply the thresholds of now to stored numbers")
    parser.add_argument("--write", type=Path, help="a page with the two marks, which gets the table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds, names = parse_seeds(options.seeds), options.fault or list(CASES)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    done = {(row["case"], row["seed"]) for row in read(options.results)}
    for seed in seeds:
        for name in names:
            if (name, seed) in done:
                continue
            row = examine(name, seed)
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, default=str) + "\n")
            words = ", ".join(finding["name"] for finding in row["findings"][:3]) or "nothing"
            mark = "right" if is_right(row) else "WRONG"
            print(f"{mark} {name} {seed}: {words} ({row['train_seconds']:.1f} + {row['seconds']:.1f} s)", flush=True)
    rows = [row for row in read(options.results) if row["seed"] in seeds and row["case"] in names]
    rows = [decided_again(row) for row in rows] if options.decide_again else rows
    lines = [*table(rows), "", summary(rows)]
    print("\n".join(lines))
    if options.write:
        put_between_marks(options.write, "\n".join(lines), MARKS[0])


if __name__ == "__main__":
    main()
