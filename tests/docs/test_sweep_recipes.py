"""The recipes for sweeps of docs/training.md: the shell loop and the Slurm array call what they should, once each.

Those in Python are in tests/interop, since their packages are not installed here.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"

CLUSTER = """#!/bin/sh
echo "$@" >> calls
case "$*" in
  "train --resume "*) exit 0 ;;
  train*) for word in "$@"; do out=$word; done; mkdir -p "$out"; touch "$out/manifest.json" ;;
esac
"""
"""In the place of bayes-vae: it notes what it is called with, and a training leaves a run."""

GRID = [(d, s) for d in (2, 4, 8) for s in (0, 1, 2)]
TRAINED = [f"train --latent-dim {d} --seed {s} --out runs/d{d}-s{s}" for d, s in GRID]
RESUMED = [f"train --resume runs/d{d}-s{s}" for d, s in GRID]


def recipe(start):
    """The shell code after a sentence of the page."""
    return re.search(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8").split(start)[1], re.DOTALL)[1]


@pytest.fixture
def shell(tmp_path):
    """``shell(code, **environment)``: run it with a bayes-vae that only notes its calls; the calls since the last."""
    stub = tmp_path / "bin" / "bayes-vae"
    stub.parent.mkdir()
    stub.write_text(CLUSTER)
    stub.chmod(0o755)

    def run(code, **environment):
        (tmp_path / "calls").write_text("")
        path = f"{stub.parent}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(["bash", "-eu", "-c", code], cwd=tmp_path, env={"PATH": path, **environment}, check=True)
        return (tmp_path / "calls").read_text().splitlines()

    return run


def test_the_shell_loop_trains_the_grid_then_goes_on_with_what_is_there(shell):
    code = recipe("A shell loop, which skips what is done:")
    compared = "compare " + " ".join(f"runs/d{d}-s{s}" for d, s in GRID)
    assert shell(code) == [*TRAINED, compared]
    assert shell(code) == [*RESUMED, compared]


def test_the_tasks_of_the_slurm_array_are_the_grid_and_a_task_that_runs_again_resumes(shell):
    code = recipe("A Slurm array,")
    first, last = map(int, re.search(r"--array=(\d+)-(\d+)", code).groups())
    tasks = [{"SLURM_ARRAY_TASK_ID": str(number)} for number in range(first, last + 1)]
    assert [shell(code, **task) for task in tasks] == [[words] for words in TRAINED]
    assert [shell(code, **task) for task in tasks] == [[words] for words in RESUMED]
