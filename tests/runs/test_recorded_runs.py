"""Runs that version 0.1.0 wrote, finished and interrupted in its second epoch: they load, resume and give its figures.

Both are of the digits, 64-8-2 and two epochs from seed 0, so the interrupted one, resumed, ends as the finished one.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch

import bayes_vae as bv
from bayes_vae.cli import main
from bayes_vae.errors import UnfinishedRunWarning
from bayes_vae.runs import RunDirectory

DATA = Path(__file__).parent / "data"
ROUNDING = 1e-4
"""Relative; weights are float32, and other machines round otherwise."""

EVALUATE = ("--num-observations", "20", "--num-particles", "50", "--num-temperatures", "0", "--num-draws", "0")


@pytest.fixture
def copied(tmp_path):
    """``copied("finished")``: a copy of one of the runs, which may be written to."""

    def copy(name):
        return Path(shutil.copytree(DATA / name, tmp_path / name))

    return copy


@pytest.fixture(scope="module")
def figures():
    """What version 0.1.0 evaluated the finished run to."""
    return json.loads((DATA / "figures.json").read_text())


@pytest.fixture(scope="module")
def digits():
    return bv.load_data("digits", policy="stochastic")


def test_a_finished_run_evaluates_to_the_same_figures(copied, figures, capsys):
    assert main(["evaluate", str(copied("finished")), *EVALUATE, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    for name, expected in figures["terms"].items():
        if name in ("log_evidence", "inference_gap"):  # L_K led then; with two latent dimensions quadrature does now
            continue
        for part, value in expected.items():
            assert found["terms"][name][part] == pytest.approx(value, rel=ROUNDING, abs=1e-6), (name, part)
    bound = found["terms"]["importance_weighted_bound"]["value"]
    assert bound == pytest.approx(figures["terms"]["log_evidence"]["value"], rel=ROUNDING)
    assert found["terms"]["log_evidence"]["value"] == pytest.approx(bound, abs=0.1)
    for part, value in figures["reliability"].items():
        assert found["reliability"][part] == pytest.approx(value, rel=ROUNDING), part


def test_a_finished_run_gives_the_pair_back(figures, digits):
    model, guide = bv.load(DATA / "finished")
    x, index = digits.test.observations(slice(4)), digits.test.index[:4]
    terms = bv.elbo_terms(model, guide, x, 30, index=index)
    expected = torch.tensor(figures["elbo_of_four"], dtype=torch.float64)
    torch.testing.assert_close(terms.elbo, expected, rtol=ROUNDING, atol=0)


def test_a_checkpoint_resumes_and_ends_as_the_whole_training(copied, digits, clean_globals):
    path = copied("unfinished")
    assert RunDirectory(path).unfinished
    with pytest.warns(UnfinishedRunWarning):
        pair = bv.load(path)
    resumed = bv.fit(*pair, digits, resume=path, progress="none")
    assert (resumed.ending, resumed.best_epoch) == ("all epochs", 2)
    whole, written = RunDirectory(DATA / "finished"), RunDirectory(path)
    assert not written.unfinished
    for expected, found in zip(whole.history, written.history, strict=True):
        for name, value in expected.items():
            if "seconds" not in name:
                assert found[name] == pytest.approx(value, rel=ROUNDING), name
    for which in ("best", "last"):
        for name, value in whole.weights(which).items():
            torch.testing.assert_close(written.weights(which)[name], value, rtol=ROUNDING, atol=ROUNDING)


def test_the_command_line_resumes_it_too(copied, capsys, clean_globals):
    path = copied("unfinished")
    assert main(["train", "--resume", str(path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    last = RunDirectory(DATA / "finished").history[-1]
    assert (result["epochs"], result["ending"]) == (2, "all epochs")
    assert result["validation"]["elbo"] == pytest.approx(last["validation_elbo"], rel=ROUNDING)
