"""What an import loads and asks of the machine, seen in child processes. Seconds are for benchmarks/."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "arviz",
    "matplotlib",
    "numpy",
    "pyro",
    "scipy",
    "sklearn",
    "torch",
)
ROOT = Path(__file__).resolve().parents[1]


def run_python(source, **environment):
    """Run Python source in a child process whose warnings are errors, and return it when it has ended."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def loaded_by(source, names):
    """Return which of the named packages are in ``sys.modules`` after the source has run."""
    report = f"import sys; print('loaded:', *({set(names)} & set(sys.modules)))"
    child = run_python(f"{source}\n{report}")
    assert child.returncode == 0, child.stderr
    return set(child.stdout.splitlines()[-1].split()[1:])


def test_the_probe_sees_what_is_loaded():
    assert loaded_by("import json", ["json", "torch"]) == {"json"}


def test_import_bayes_vae_loads_nothing_heavy():
    assert loaded_by("import bayes_vae", HEAVY) == set()


@pytest.mark.parametrize("module", ["bayes_vae.errors", "bayes_vae.settings", "bayes_vae.cli"])
def test_modules_of_the_command_line_load_no_torch(module):
    assert "torch" not in loaded_by(f"import {module}", HEAVY)


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"]])
def test_help_loads_no_torch(arguments):
    source = f"""
import sys
from bayes_vae.cli import main
sys.argv = ["bayes-vae", *{arguments}]
try:
    main()
except SystemExit as ending:
    assert not ending.code, ending.code
"""
    assert loaded_by(source, HEAVY) == set()


@pytest.mark.parametrize("home", ["/proc/nonexistent", "new"])
def test_the_arviz_wrapper_is_quiet_and_needs_no_home(tmp_path, home):
    """ArviZ warns once a day and notes the day in a cache folder: neither may trouble our user."""
    source = """
import torch
from bayes_vae.estimators.importance.reliability import pareto_k
log_weights = torch.randn(1000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
k = pareto_k(log_weights)
assert k.shape == (3,) and bool((k < 0.7).all()), k
import platformdirs
assert platformdirs.user_cache_dir.__name__ == "user_cache_dir"
"""
    home = str(tmp_path / home)  # an absolute path stays as it is
    folders = dict.fromkeys(("HOME", "USERPROFILE", "XDG_CACHE_HOME", "LOCALAPPDATA"), home)
    child = run_python(source, **folders, MPLCONFIGDIR=str(tmp_path))
    assert child.returncode == 0, child.stderr
    assert child.stderr == ""
