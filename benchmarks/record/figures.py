"""Every figure that the library gives on small fixed pairs, recorded as JSON and compared later, bit for bit.

    python benchmarks/record/figures.py --write before.json
    ... change the code ...
    python benchmarks/record/figures.py --against before.json

On one machine nothing may differ. Other machines and versions of torch round otherwise: ``--rounding`` allows for that.
``--only 'exposed/*'`` takes some jobs; a file remembers which, and ``--against`` runs the same ones. Five minutes for
all, on one thread.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pyro
import torch
from commands import RUNS, commands
from comparing import changes, load, write
from entries import Entry, Record, refusal
from estimators import ESTIMATORS, LENGTHY, container, distributions, estimates
from pairs import DOZEN, PAIRS, Case, make
from training import FITS, OBJECTIVES, diagnosed, fitted, step, under_svi

Job = Callable[[], Iterator[tuple[str, Entry]]]

DIAGNOSED = {"exposed": "stochastic", "networks": "binary", "own-gamma": "binary", "conditional": "labelled"}
"""Pair → the data that it is trained on and diagnosed with."""


def jobs() -> dict[str, Job]:
    """Name → what records a part."""
    found: dict[str, Job] = {}
    for pair in PAIRS:
        for name in ESTIMATORS:
            if pair in DOZEN or name not in LENGTHY:
                found[f"{pair}/{name}"] = partial(on_pair, partial(estimates, name=name), pair)
        found[f"{pair}/to_arviz"] = partial(on_pair, container, pair)
        found[f"{pair}/distributions"] = partial(on_pair, distributions, pair)
        for objective in OBJECTIVES:
            found[f"{pair}/objective {objective}"] = partial(step, pair, objective)
        found[f"{pair}/SVI"] = partial(under_svi, pair)
        if PAIRS[pair][1]:
            found[f"{pair}/fit as it is"] = partial(fitted, pair, "as it is", {})
    for label, options in FITS.items():
        found[f"exposed/fit {label}"] = partial(fitted, "exposed", label, {"data": "stochastic", **options})
    for pair, data in DIAGNOSED.items():
        found[f"{pair}/diagnose"] = partial(diagnosed, pair, data)
    for run in RUNS:
        found[f"commands/{run}"] = partial(commands, run)
    return found


def on_pair(function: Callable[[Case], Iterator[tuple[str, Entry]]], pair: str) -> Iterator[tuple[str, Entry]]:
    """What a function records of a pair."""
    return function(make(pair))


def chosen(only: list[str]) -> dict[str, Job]:
    """The jobs whose names fit one of the patterns."""
    return {name: job for name, job in jobs().items() if any(fnmatchcase(name, pattern) for pattern in only)}


def record(only: list[str]) -> Record:
    """Run the jobs whose names fit one of the patterns; every key starts with the name of its job."""
    found: Record = {}
    wanted = chosen(only)
    for number, (name, job) in enumerate(wanted.items(), 1):
        start = time.perf_counter()
        pyro.clear_param_store()
        torch.manual_seed(0)
        place = name.partition("/")[0] if not name.startswith("commands/") else name
        try:
            found.update({f"{place}/{key}": entry for key, entry in job()})
        except Exception as error:  # recorded too: what did not fail before must not fail after
            print(f"{name} failed: {type(error).__name__}: {error}", file=sys.stderr)
            found[name] = refusal(error)
        if sys.stderr.isatty():
            print(f"\r{number} of {len(wanted)}  {name[:60]:<60}", end="", file=sys.stderr)
        if time.perf_counter() - start > SLOW:
            print(f"{time.perf_counter() - start:.1f} s  {name}", file=sys.stderr)
    return found


SLOW = 3.0
"""Seconds from which a job is named."""


def machine() -> dict[str, str]:
    """What the last bits of the numbers depend on."""
    packages = ("torch", "pyro-ppl", "numpy", "arviz")
    where = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }
    return {**where, "threads": str(torch.get_num_threads()), **{name: version(name) for name in packages}}


def main() -> int:
    """Record, then write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the record there")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with it; exit code 1 if any differs")
    parser.add_argument("--only", nargs="+", metavar="PATTERN", help="jobs, as 'exposed/*' or '*/evaluate'")
    parser.add_argument("--rounding", action="store_true", help="allow for rounding, as between machines")
    options = parser.parse_args()
    before = load(options.against) if options.against else None
    only = options.only or (before["only"] if before else ["*"])
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    figures = record(only)
    print(f"{len(figures):,} figures in {time.perf_counter() - start:.0f} s")
    if options.write:
        write(options.write, {"machine": machine(), "only": only}, figures)
    if before is None:
        return 0
    if before["machine"] != machine() and not options.rounding:
        print(f"note: recorded on another machine or with other versions: {before['machine']}, here {machine()}")
    if options.only:
        again = chosen(only)
        before["figures"] = {
            key: entry
            for key, entry in before["figures"].items()
            if any(key == job or key.startswith(f"{job}/") for job in again)
        }
    found = changes(before, figures, options.rounding)
    print("\n".join([*found, f"{len(found)} of {len(before['figures']):,} figures differ"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
