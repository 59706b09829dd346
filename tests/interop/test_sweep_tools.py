"""The examples of docs/training.md with Hydra and Optuna, on small trainings: `make interop` has the packages."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bayes_vae as bv

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"


def needs(package):
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason="make interop has it")


def run(name, code, tmp_path, *words):
    """Run a script as a reader does, in a folder of its own."""
    (tmp_path / name).write_text(code, encoding="utf-8")
    path = os.pathsep.join([str(PAGE.parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, name, *words]
    return subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)


def example(start, full, short):
    """The Python code after a sentence of the page, its training shortened."""
    page = PAGE.read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", page.split(start)[1], re.DOTALL)[1]
    assert full in code
    return code.replace(full, short)


@needs("hydra")
def test_hydra_trains_the_grid_into_runs_that_can_be_compared(tmp_path):
    (tmp_path / "grid.yaml").write_text("latent_dim: 2\nseed: 0\n")
    code = example("\nHydra,", "data, seed=", "data, epochs=1, progress='none', seed=")
    run("grid.py", code, tmp_path, "-m", "latent_dim=2,3", "seed=0")
    runs = [tmp_path / "runs" / name for name in ("d2-s0", "d3-s0")]
    assert [bv.load(each)[0].latent_dim for each in runs] == [2, 3]
    found = bv.compare_runs(runs, num_observations=3, num_particles=4, num_temperatures=0)
    assert {each.name for each in found.contenders} == {"d2-s0", "d3-s0"}


@needs("optuna")
def test_optuna_searches(tmp_path):
    code = example("\nOptuna,", "n_trials=20", "n_trials=2").replace("epochs=10", "epochs=1")
    assert "Trial 1 finished with value: -" in run("search.py", code, tmp_path).stderr
