"""``make trust``: all of it, with its counts written to SECURITY.md."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START, END = "<!-- counts of the last run of make trust -->", "<!-- end -->"

PARTS = {
    "kills": ("--every", "1"),
    "races": ("--rounds", "60"),
    "flips": ("--cases", "6000"),
    "fuzz": ("--cases", "10000"),
    "resumes": ("--every", "1"),
    "reads": ("--reads", "2000"),
    "names": (),
}
"""Program → its words."""


def run(name: str) -> dict[str, int]:
    """The counts of one program; what it finds ends this one too."""
    command = [sys.executable, "-m", f"trust.{name}", *PARTS[name]]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment, cwd=ROOT)
    counts = json.loads(done.stdout)
    sys.stderr.write(f"{name}: {counts}\n")
    return counts


def table(counts: dict[str, dict[str, int]]) -> str:
    """The counts in words."""
    kills, races, flips, fuzz, resumes, reads, names = (counts[name] for name in PARTS)
    acts = ", ".join(f"{act} {count}" for act, count in kills.items())
    rows = [
        ("kills", f"{sum(kills.values())} ({acts})", "the old run or the new one was there, whole, each time"),
        ("starts at once", f"{sum(races.values())} rounds of 3 processes", "one had the run, the others were refused"),
        ("harmed files", f"{flips['cases']:,}", f"{flips['refused']:,} refused; {flips.get('not read', 0):,} not read"),
        (
            "changed files",
            f"{fuzz['cases']:,}",
            f"{fuzz['refused']:,} refused with a documented error; no other escaped",
        ),
        (
            "interrupted trainings",
            f"{sum(resumes.values())} in {len(resumes)} configurations",
            "resumed bit for bit as if they had not been",
        ),
        (
            "reads during training",
            f"{reads['reads']:,}, of {reads['checkpoints']:,} checkpoints",
            "each found one whole checkpoint",
        ),
        (
            "hostile names",
            f"{names['names']} of runs, files, columns and labels",
            f"plain text in {names['outputs']} printed outputs and on {names['pages']} pages",
        ),
    ]
    lines = ["| what | how many | outcome |", "| --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join([START, f"Counts of {time.strftime('%Y-%m-%d')}:", "", *lines, "", END])


if __name__ == "__main__":
    page = ROOT / "SECURITY.md"
    counts = {name: run(name) for name in PARTS}
    before, _, rest = page.read_text(encoding="utf-8").partition(START)
    page.write_text(before + table(counts) + rest.partition(END)[2], encoding="utf-8")
