"""Processes that start at the same instant with one ``--out``: one of them has the run, the others are refused.

``python -m trust.races --rounds 20`` prints how often who came first, as JSON. Each process imports once, then takes
part in every round; files are the starting gun.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from trust.small_runs import interrupted_run, number_of, small_run

from bayes_vae.errors import RunError
from bayes_vae.runs import run_writer, save

PATIENCE = 120.0
"""Seconds after which a process that waits for the others gives up."""


def meet(folder: Path, what: str, me: int, count: int) -> None:
    """Wait until all are here."""
    (folder / f"{what}-{me}").touch()
    start = time.monotonic()
    while not all((folder / f"{what}-{other}").exists() for other in range(count)):
        if time.monotonic() - start > PATIENCE:
            raise TimeoutError(what)
        time.sleep(0)


def race(folder: Path, me: int, count: int, rounds: int) -> None:
    """Take part in every round; each outcome goes to a file."""
    for number in range(rounds):
        path, outcome = folder / f"run-{number}", "won"
        run = interrupted_run(me + 1)
        meet(folder, f"start-{number}", me, count)
        try:
            if number % 2:
                save(small_run(me + 1), path)
                meet(folder, f"tried-{number}", me, count)
            else:
                with run_writer(path, run) as writer:
                    meet(folder, f"tried-{number}", me, count)
                    writer.finish(small_run(me + 1))
        except RunError:
            outcome = "refused"
            meet(folder, f"tried-{number}", me, count)
        (folder / f"outcome-{number}-{me}").write_text(outcome)


def races(rounds: int, count: int = 3) -> dict[str, int]:
    """Let processes race; how many rounds each of them won. Exactly one wins, and the run is whole and its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = [sys.executable, "-m", "trust.races", "--folder", name, "--rounds", str(rounds), "--count", str(count)]
        processes = [subprocess.Popen([*words, "--me", str(me)]) for me in range(count)]
        codes = [process.wait(timeout=2 * PATIENCE + rounds) for process in processes]
        assert codes == [0] * count, codes
        wins = Counter()
        for number in range(rounds):
            outcomes = [(folder / f"outcome-{number}-{me}").read_text() for me in range(count)]
            assert sorted(outcomes) == ["refused"] * (count - 1) + ["won"], outcomes
            winner = outcomes.index("won")
            assert number_of(folder / f"run-{number}") == winner + 1
            wins[f"process {winner}"] += 1
        left = [path.name for path in folder.rglob("*") if path.name.endswith(".tmp")]
        assert not left, left
        return dict(wins)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--me", type=int)
    parser.add_argument("--count", type=int, default=3)
    options = parser.parse_args()
    if options.folder:
        os.environ["OMP_NUM_THREADS"] = "1"
        race(options.folder, options.me, options.count, options.rounds)
    else:
        sys.stdout.write(json.dumps(races(options.rounds, options.count)))
