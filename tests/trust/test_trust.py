"""A small part of ``make trust``: kills at every few file operations, starts at the same instant, and so on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills and locks as POSIX has them")


def outcome(module, *words):
    """What a program of this folder counted, in a process of its own, which it forks and kills copies of."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", f"trust.{module}", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_a_killed_process_leaves_the_old_run_or_the_new():
    counts = outcome("kills", "--every", "7")
    assert min(counts.values()) >= 1
    assert sum(counts.values()) >= 25


def test_of_processes_that_start_at_once_one_has_the_run():
    assert sum(outcome("races", "--rounds", "6").values()) == 6


def test_harmed_files_are_refused():
    counts = outcome("flips", "--cases", "120")
    assert counts["refused"] >= 90


def test_changed_files_make_documented_errors_only():
    counts = outcome("fuzz", "--cases", "200")
    assert counts["refused"] >= 100
    assert counts["refused"] + counts.get("read", 0) == 200


def test_interrupted_trainings_resume_bit_for_bit():
    counts = outcome("resumes", "--every", "5")
    assert min(counts.values()) == 1
    assert len(counts) == 14


def test_a_run_that_is_read_while_it_is_trained_is_whole():
    counts = outcome("reads", "--reads", "40")
    assert counts["checkpoints"] >= 2


def test_hostile_names_stay_plain_text():
    counts = outcome("names", "--names", "1")
    assert counts["pages"] == 2
    assert counts["outputs"] == 10
