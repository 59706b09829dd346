"""A run that the command line trained, small, and the way to call a command."""

import json
import math
from pathlib import Path
from typing import NamedTuple

import pytest

from bayes_vae.cli import main

TINY = ["--latent-dim", "2", "--hidden-dims", "8", "--epochs", "2"]


class Outcome(NamedTuple):
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out, parse_constant=pytest.fail)


@pytest.fixture
def command(capsys, monkeypatch):
    """``command("evaluate", run, "--json")``: call the command line in this process, with no progress if it is slow."""
    monkeypatch.setattr("bayes_vae.progress.SECONDS_BETWEEN_LINES", math.inf)

    def call(*words):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def trained(tmp_path_factory, isolated_globals) -> Path:
    """A run directory on the digits, of two epochs. Tests read it, or write what evaluations write."""
    path = tmp_path_factory.mktemp("trained") / "run"
    with isolated_globals():
        assert main(["train", *TINY, "--out", str(path)]) == 0
    return path


@pytest.fixture
def tiny():
    """Flags of a small and short training."""
    return TINY
