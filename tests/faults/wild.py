"""What the diagnosis says of trainings unlike those it was made on: every fault in every family, and healthy ones.

Trained weights and measured numbers are kept under ``--results`` and not computed again, so that the suite resumes;
``--decide-again`` applies the thresholds of now to the numbers. Below the table every family is also judged by
thresholds that were chosen on the others. One round (``--seeds 0``) has all healthy trainings and a third of the
others; three rounds have every fault in every family. A fault counts as found where one of its names stands first or
second; where no number tells it, any of ``also`` is right, or nothing. ``--seconds`` ends a part.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from bayes_vae.diagnosis import diagnose
from faults.families import FAMILIES, Programs
from faults.fault_injection import MARKS, Row, decided_again, parse_seeds, put_between_marks, read, told
from faults.held_out import judged_while_left_out, moved
from faults.losses import train
from faults.several_sites import OF_SITES, SITES, trained_sites
from faults.verdicts import summary, table, verdict, wrong
from faults.wild_cases import WILD

__all__ = ["cells", "examine"]

Cell = tuple[str, str, int]
"""Family, case and seed."""

ROUNDS = 3


def cells(families: Sequence[str], cases: Sequence[str], seeds: Iterable[int], whole: bool = False) -> list[Cell]:
    """What is trained, mixed, so that any beginning of it has something of everything.

    A round has each healthy training, and each fault in a third of the families: fault i in family j where i + j and
    the seed leave the same rest. Families of several sites have cases of their own, all of them in each round.
    """
    faults, kinds = [name for name in WILD if not WILD[name].healthy], list(FAMILIES)
    chosen: list[Cell] = []
    for seed in seeds:
        found = [
            (family, case, seed)
            for family in families
            if family in FAMILIES
            for case in cases
            if case in WILD
            if whole or WILD[case].healthy or (faults.index(case) + kinds.index(family) - seed) % ROUNDS == 0
        ]
        found += [
            (family, case, seed)
            for family in families
            if family in SITES
            for case in SITES[family].cases
            if case in cases
        ]
        chosen += sorted(found, key=lambda cell: hashlib.sha256(repr(cell).encode()).hexdigest())
    return chosen


def trained(family: str, case: str, seed: int, weights: Path) -> tuple[Any, Any, Any]:
    """The pair and its data, trained now or read."""
    if family in SITES:
        return trained_sites(family, case, seed, weights)
    kind, what = FAMILIES[family], WILD[case]
    pair, data = kind.fresh(seed + what.start)
    pair = what.change(pair)
    both, file = nn.ModuleList(pair), weights / f"{family}+{'healthy' if what.altered else case}+{seed}.safetensors"
    if file.exists():
        both.load_state_dict(load_file(file))
    else:
        train(
            *pair,
            data,
            what.loss,
            epochs=max(2, round(kind.epochs * what.epochs)),
            seed=seed,
            rate=kind.rate * what.rate,
            falling=what.epochs >= 1,
            batch=max(1, round(kind.batch * what.batch)),
            optimizer=what.optimizer or kind.optimizer,
        )
        save_file({name: part.clone() for name, part in both.state_dict().items()}, file)
    both.eval()
    pair = what.after(pair)
    if kind.programs:
        programs = Programs(pair)
        pair = (programs.model, programs.guide)
    return (*pair, what.data(data))


def examine(family: str, case: str, seed: int, weights: Path, rows: int) -> Row:
    """Train and diagnose one."""
    start = time.perf_counter()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, guide, data = trained(family, case, seed, weights)
    middle = time.perf_counter()
    found = diagnose(model, guide, data, seed=seed, num_observations=rows, seconds=float("inf"))
    spent = {"train_seconds": middle - start, "seconds": time.perf_counter() - middle}
    named = {"family": family, "case": case, "seed": seed, "rows": rows, "num_pixels": data.data_shape.numel()}
    return {**named, **spent, **told(found), "settings": None}


def measure_missing(wanted: Sequence[Cell], rows: int, results: Path, seconds: float) -> None:
    """Train and diagnose what is not there yet, until the time is up."""
    start, file = time.perf_counter(), results / "numbers.jsonl"
    (results / "weights").mkdir(parents=True, exist_ok=True)
    done = {(row["family"], row["case"], row["seed"]) for row in read(file) if row["rows"] == rows}
    for cell in (cell for cell in wanted if cell not in done):
        if time.perf_counter() - start > seconds:
            return
        row = examine(*cell, results / "weights", rows)
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(row, default=str) + "\n")
        named = ", ".join(f"{f['name']}{'' if f['probability'] >= 0.99 else '?'}" for f in row["findings"][:4])
        spent = f"{row['train_seconds']:.0f} + {row['seconds']:.0f} s"
        print(f"{verdict(row)}: {cell[1]} in {cell[0]}, seed {cell[2]}: {named or 'nothing'} ({spent})", flush=True)


def main() -> None:
    """Train and diagnose what is not there yet; print what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    present = [name for name, family in FAMILIES.items() if family.present]
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--rows", type=int, default=800)
    parser.add_argument("--families", nargs="*", default=[*present, *SITES])
    parser.add_argument("--faults", nargs="*", default=[*WILD, *OF_SITES])
    parser.add_argument("--whole", action="store_true", help="every fault in every family in each round")
    parser.add_argument("--results", type=Path, default=Path("runs/wild"))
    parser.add_argument("--seconds", type=float, default=float("inf"), help="when to stop; a later call goes on")
    parser.add_argument("--decide-again", action="store_true", help="apply the thresholds of now to stored numbers")
    parser.add_argument("--wrong", action="store_true", help="list what is wrong, with what was named")
    parser.add_argument("--write", type=Path, help="a page with the two marks, which gets the table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    wanted = cells(options.families, options.faults, parse_seeds(options.seeds), options.whole)
    measure_missing(wanted, options.rows, options.results, options.seconds)
    chosen = set(wanted)
    rows = [row for row in read(options.results / "numbers.jsonl") if row["rows"] == options.rows]
    rows = [row for row in rows if (row["family"], row["case"], row["seed"]) in chosen]
    rows = [decided_again(row) for row in rows] if options.decide_again else rows
    lines = [*table(rows), "", "With the thresholds of now:", "", *summary(rows), ""]
    left_out, by_family = judged_while_left_out(rows)
    lines += [f"Each of {len(by_family)} families under thresholds chosen on the others:", "", *summary(left_out), ""]
    lines += ["Moved: " + ("; ".join(moved(by_family)) or "none") + "."]
    if options.wrong:
        lines += ["", *wrong(rows)]
    print("\n".join(lines))
    if options.write:
        put_between_marks(options.write, "\n".join(lines), MARKS[1])


if __name__ == "__main__":
    main()
