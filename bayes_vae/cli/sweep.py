"""``bayes-vae sweep``: train a grid of settings, one run each, and compare them."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bayes_vae.cli.comparing_runs import comparison_tables
from bayes_vae.cli.flags import Flags
from bayes_vae.cli.grid import Cell, cells_of, varied_settings
from bayes_vae.cli.output import json_text, note, say, table
from bayes_vae.errors import BayesVaeError, NumericalError, RunError, SettingsError, Terminated
from bayes_vae.process import ENDS_WITH_STDIN
from bayes_vae.progress import ProgressBar
from bayes_vae.settings import DataSettings, PairSettings, TrainingSettings

__all__ = ["run"]

DESCRIPTION = (
    "Train a grid of settings, one run each, one after the other or several at once, and compare them at the end. Runs "
    "that are done are skipped and unfinished ones resumed, so the same command continues after an interruption. "
    "Example: bayes-vae sweep --vary latent_dim=2,4,8 --vary seed=0,1,2 --out 'runs/d{latent_dim}-s{seed}'"
)

FAILED = 2
"""Exit code where a training failed; the others are trained and compared all the same."""

SECONDS_BETWEEN_LOOKS = 0.1


@dataclass
class Outcome:
    """A training of the grid, and what became of it.

    Attributes:
        cell: the training.
        state: "to train", "to resume", then "trained", "resumed", "skipped" or "failed".
        error: why it failed.
    """

    cell: Cell
    state: str
    error: str = ""

    @property
    def words(self) -> list[str]:
        """What ``bayes-vae train`` is called with."""
        return ["--resume", str(self.cell.out)] if self.state == "to resume" else list(self.cell.words)

    @property
    def usable(self) -> bool:
        """Whether there is a finished run."""
        return self.state in ("trained", "resumed", "skipped")

    def end(self, code: int, error: str = "") -> None:
        """Note how the training ended."""
        self.error = error if code else ""
        self.state = "failed" if code else {"to train": "trained", "to resume": "resumed"}[self.state]


def flags() -> Flags:
    """The flags of the command: those of ``train``, and the grid's."""
    parser = Flags("sweep", "--vary NAME=A,B ... --out TEMPLATE [--flag value ...]", DESCRIPTION)
    add_grid_flags(parser.add_argument_group("grid"))
    parser.add_settings(DataSettings, "data")
    parser.add_settings(PairSettings, "networks of the model and the guide")
    parser.add_settings(TrainingSettings, "training")
    parser.add_common()
    return parser


def add_grid_flags(group: Any) -> None:
    """Add the flags that ``train`` does not have."""
    group.add_argument(
        "--vary",
        metavar="NAME=A,B",
        action="append",
        default=[],
        help="a setting of train and its values; give it once for each setting that varies. A value that is itself a "
        "list has spaces: 'hidden_dims=200 200,100'",
    )
    group.add_argument("--grid", metavar="FILE", help="a YAML file of such lists, for example latent_dim: [2, 4, 8]")
    group.add_argument("--out", metavar="TEMPLATE", help="the folder of each run, with {NAME} for what varies")
    group.add_argument(
        "--jobs", metavar="N", default="1", help="trainings at once, each in a process of its own (default: 1)"
    )
    group.add_argument(
        "--compare",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compare the runs by log p(x) on the test set at the end",
    )
    group.add_argument(
        "--num-observations", metavar="N", default="500", help="test observations in the comparison (default: 500)"
    )


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = flags().parse_args(arguments)
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_grid_flags(own)
    own.add_argument("--json", action="store_true")
    own.add_argument("--debug", action="store_true")
    _, shared = own.parse_known_args([_dashed(word) for word in arguments])
    jobs, observations = (_at_least_one(name, getattr(options, name)) for name in ("jobs", "num_observations"))
    if not options.out:
        raise SettingsError("say where the runs go: --out TEMPLATE, such as 'runs/d{latent_dim}-s{seed}'.")
    cells = cells_of(varied_settings(options.vary, options.grid), options.out, shared)
    outcomes = [_looked_at(cell) for cell in cells]
    _train_all([each for each in outcomes if each.state != "skipped"], jobs, len(outcomes))
    usable = [each.cell.out for each in outcomes if each.usable]
    comparison, why_not = _compared(usable, observations) if options.compare else (None, "")
    result = {
        "runs": [
            {"run": str(each.cell.out), **each.cell.values, "state": each.state, "error": each.error or None}
            for each in outcomes
        ],
        "comparison": comparison,
        "why_not_compared": why_not or None,
    }
    say(json_text(result) if options.json else _text(outcomes, comparison, why_not))
    return FAILED if any(each.state == "failed" for each in outcomes) else 0


def _dashed(word: str) -> str:
    """A flag with dashes, as :class:`Flags` reads it."""
    name, equals, value = word.partition("=")
    return f"{name.replace('_', '-')}{equals}{value}" if word.startswith("--") else word


def _at_least_one(name: str, text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10**9:
        raise SettingsError(f"--{name.replace('_', '-')}: expected a whole number of at least 1, got {text}.")
    return int(text)


def _looked_at(cell: Cell) -> Outcome:
    """What is to be done for a training; nothing where its run is there.

    Raises:
        RunError: its folder holds something else, or a run of other settings.
    """
    from bayes_vae.runs import RunDirectory, check_destination
    from bayes_vae.runs.manifest import MANIFEST

    if not (cell.out / MANIFEST).is_file():
        check_destination(cell.out)
        return Outcome(cell, "to train")
    directory = RunDirectory(cell.out)
    differences = cell.differences(directory.settings)
    if differences:
        raise RunError(
            f"{cell.out} holds a run whose settings are not those of {cell.name} in this sweep: "
            f"{'; '.join(differences)}. Choose another --out, or move that run away."
        )
    return Outcome(cell, "to resume" if directory.unfinished else "skipped")


def _train_all(outcomes: Sequence[Outcome], jobs: int, of: int) -> None:
    """Train what is left, one after the other or several at once."""
    if of > 1:
        note(f"sweep: {of} trainings, {of - len(outcomes)} of them done already")
    try:
        if jobs == 1:
            for number, each in enumerate(outcomes, 1):
                if len(outcomes) > 1:
                    note(f"sweep: {number} of {len(outcomes)}: {each.cell.out}")
                _train_here(each)
        else:
            _train_in_processes(outcomes, jobs)
    except KeyboardInterrupt as interruption:
        done = sum(each.usable for each in outcomes)
        said = (
            f"the sweep was interrupted after {done} of {len(outcomes)} trainings. The same command continues from "
            "there."
        )
        interruption.args = (said,)
        raise


def _train_here(outcome: Outcome) -> None:
    """Train in this process. One that diverges is noted, and the sweep goes on; any other error would hit the rest."""
    from bayes_vae.cli import train

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            train.run(outcome.words)
    except NumericalError as error:
        outcome.end(FAILED, " ".join(str(error).split()))
        note(f"sweep: {outcome.cell.out} failed: {outcome.error}")
    else:
        outcome.end(0)


def _train_in_processes(outcomes: Sequence[Outcome], jobs: int) -> None:
    """Train several at once, each in a process of its own that shares the cores."""
    waiting, active = list(outcomes), list[_Process]()
    try:
        while waiting or active:
            while waiting and len(active) < jobs:
                active.append(_Process(waiting.pop(0), jobs))
            time.sleep(SECONDS_BETWEEN_LOOKS)
            active = [each for each in active if not each.ended()]
    except KeyboardInterrupt as interruption:
        number = interruption.number if isinstance(interruption, Terminated) else signal.SIGINT
        with _passing_on(active):
            for each in active:
                each.process.send_signal(number)
            for each in active:
                each.process.wait()
        for each in active:
            each.ended()
        raise


@contextlib.contextmanager
def _passing_on(active: Sequence[_Process]) -> Iterator[None]:
    """Pass a second Ctrl-C on to the trainings, which then end at once."""

    def again(number: int, frame: Any) -> None:
        for each in active:
            each.process.send_signal(number)

    before = signal.signal(signal.SIGINT, again)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Process:
    """A training in a process of its own, out of reach of the terminal's Ctrl-C: the sweep passes it on, once.

    It holds the other end of the training's standard input, so that a sweep that is killed takes its trainings along.
    """

    def __init__(self, outcome: Outcome, jobs: int) -> None:
        self.outcome, self.last = outcome, ""
        words = [sys.executable, "-m", "bayes_vae", "train", *outcome.words]
        threads = os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": threads, ENDS_WITH_STDIN: "1"},
            start_new_session=True,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._tell, daemon=True)
        self._reader.start()

    def _tell(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self.last = line.strip() or self.last
                note(f"{self.outcome.cell.out}: {line.rstrip()}")

    def ended(self) -> bool:
        """Whether it came to its end, which is then noted."""
        code = self.process.poll()
        if code is None:
            return False
        assert self.process.stdin is not None
        self.process.stdin.close()
        self._reader.join()
        if code not in (0, 130, -signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGTERM):
            self.outcome.end(FAILED, self.last.removeprefix("bayes-vae: ") or f"exit code {code}")
        elif code == 0:
            self.outcome.end(0)
        return True


def _compared(runs: Sequence[Any], num_observations: int) -> tuple[dict[str, Any] | None, str]:
    """The runs compared on the test set, in JSON types; None and the reason where that cannot be."""
    from bayes_vae.runs import RunDirectory, compare_runs

    if len(runs) < 2:
        return None, "a comparison needs at least two runs."
    try:
        with ProgressBar("comparison") as progress:
            found = compare_runs(runs, num_observations=num_observations, progress=progress)
        return {"data": RunDirectory(runs[0]).config["data"], "seed": 0, **found.as_json()}, ""
    except BayesVaeError as error:
        return None, str(error)


def _text(outcomes: Sequence[Outcome], comparison: dict[str, Any] | None, why_not: str) -> str:
    """The result as a person reads it."""
    names = list(outcomes[0].cell.values)
    rows = [[str(each.cell.out), *each.cell.values.values(), each.state] for each in outcomes]
    parts = [table(["run", *names, ""], rows, right=range(1, len(names) + 1)), ""]
    parts += [f"{each.cell.out} failed: {each.error}" for each in outcomes if each.error]
    parts += [comparison_tables(comparison)] if comparison is not None else []
    parts += [f"Not compared: {why_not}"] if why_not else []
    usable = [str(each.cell.out) for each in outcomes if each.usable]
    return "\n".join([*parts, f"\nNext: bayes-vae compare {shlex.join(usable)}"])
