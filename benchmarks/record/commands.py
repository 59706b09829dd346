"""The numbers that the commands print and write, on small runs that they train themselves."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from entries import Entry, entries
from estimators import arrays
from safetensors.torch import load_file
from training import findings, without_times

from bayes_vae.cli import main

TRAIN = ("--epochs", "2", "--hidden-dims", "8", "--latent-dim", "2", "--device", "cpu")

RUNS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "conditional": ("--structure", "conditional"),
    "semi-supervised": ("--structure", "semi-supervised", "--num-labelled", "200"),
    "vamp": ("--prior", "vamp", "--num-components", "5", "--guide", "full-covariance", "--policy", "static"),
    "local": ("--guide", "local", "--objective", "sticking-the-landing", "--epochs", "1"),
}
"""Name → flags of `train` on the digits, for two epochs."""

EVALUATE = ("--num-observations", "16", "--num-particles", "20", "--num-temperatures", "3", "--device", "cpu")

COMMANDS: dict[str, tuple[str, ...]] = {
    "evaluate": ("evaluate", *EVALUATE, "--num-draws", "2"),
    "evaluate, seed 3": ("evaluate", *EVALUATE, "--num-draws", "0", "--seed", "3", "--policy", "threshold"),
    "compare": (
        *("compare", "--rungs", "1", "5", "20", "--num-observations", "12", "--num-temperatures", "3"),
        *("--device", "cpu"),
    ),
    "explain": (
        *("explain", "--index", "7", "--num-particles", "20", "--num-temperatures", "4", "--num-points", "15"),
        *("--device", "cpu"),
    ),
    "diagnose": ("diagnose", "--num-observations", "60", "--seconds", "1e9", "--device", "cpu"),
    "report": (
        *("report", "--num-observations", "16", "--num-particles", "20", "--num-temperatures", "3"),
        *("--num-gap-observations", "3", "--num-encoded", "40", "--num-simulated", "30", "--num-diagnosed", "60"),
        *("--device", "cpu"),
    ),
}
"""Label → command and flags; the run comes last."""

FOR_ALL = ("evaluate", "explain")
"""Commands on every run; all of them on the first."""

NO_FIGURE = ("second", "bytes")
"""Keys with one of these are no figures: they change from run to run, or with a word of the report."""


def told(*words: str) -> dict[str, Any]:
    """What a command prints as JSON.

    Raises:
        RuntimeError: it fails; with what it says.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*words, "--json"])
    if code and not out.getvalue():  # diagnose says by its code what it found
        raise RuntimeError(f"bayes-vae {' '.join(words)} failed: {err.getvalue()}")
    content: dict[str, Any] = json.loads(out.getvalue())
    return content


def commands(name: str) -> Iterator[tuple[str, Entry]]:
    """Train a run, and every command's numbers on it."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        yield from numbers("train", told("train", *TRAIN, *RUNS[name], "--out", str(run)))
        yield from entries("train/weights", load_file(run / "model.safetensors"))
        yield from entries("train/checkpoint", load_file(run / "checkpoints" / "training.safetensors"))
        for epoch, row in enumerate(csv.DictReader((run / "metrics.csv").read_text().splitlines()), 1):
            figures = {key: float(value) for key, value in row.items() if value}
            yield from entries(f"train/epoch {epoch}", without_times(figures))
        for label, (command, *flags) in COMMANDS.items():
            if name == "plain" or label in FOR_ALL:
                yield from numbers(label, told(command, str(run), *flags))
                if label == "evaluate":
                    yield from arrays(f"{label}/evaluation.nc", run / "evaluation.nc")


def numbers(label: str, content: dict[str, Any]) -> Iterator[tuple[str, Entry]]:
    """The numbers of a command's JSON, under the names that stand there."""
    yield from entries(label, plain({key: value for key, value in content.items() if key != "findings"}))
    yield from findings(label, content.get("findings", []))


def plain(content: Any) -> Any:
    """JSON without what is no figure, and with lists of named things by name."""
    if isinstance(content, dict):
        return {key: plain(value) for key, value in content.items() if not any(part in key for part in NO_FIGURE)}
    if isinstance(content, list) and content and all(isinstance(part, dict) and "name" in part for part in content):
        names = [f"{place} {part['name']}" for place, part in enumerate(content)]
        return {name: plain(part) for name, part in zip(names, content, strict=True)}
    return [plain(part) for part in content] if isinstance(content, list) else content
