"""``bayes-vae report``."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import bayes_vae.report
from bayes_vae.runs import RunDirectory

FEW = ["--num-observations", "6", "--num-particles", "30", "--num-temperatures", "2", "--num-encoded", "12"]
FEW += ["--num-gap-observations", "0", "--num-simulated", "0"]


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the trained run, to write in."""
    return shutil.copytree(trained, tmp_path / "run")


def test_the_report_is_part_of_the_run(command, run):
    outcome = command("report", run, *FEW, "--seed", "2")
    assert outcome.code == 0
    page = RunDirectory(run).read_file("report.html").decode()
    assert "bayes-vae report run --num-observations 6 --num-particles 30 --num-temperatures 2" in page
    assert "seed 2" in page
    assert "The model gives these 6 observations a mean log p(x) of −" in outcome.out
    assert "Left out: Is the guide calibrated?: it was not asked for: num_simulated is 0." in outcome.out
    assert f"Written to {run / 'report.html'}" in outcome.out


def test_json_for_a_program_and_another_policy_beside_the_runs_own(command, run):
    result = command("report", run, *FEW, "--policy", "threshold", "--json").json
    assert result["file"] == str(run / "report-threshold.html")
    assert result["data"] == {"name": "digits", "split": "test", "policy": "threshold"}
    assert [term["symbol"] for term in result["terms"]][:4] == ["E_q log p(x|z)", "KL(q(z|x) ‖ p(z))", "ELBO", "L_30"]
    assert result["bytes"] == len(RunDirectory(run).read_file("report-threshold.html"))
    assert list(result["left_out"]) == ["What the ELBO lacks: the family or the encoder", "Is the guide calibrated?"]


def test_other_data_have_a_report_of_their_own_that_says_how_to_repeat_it(command, run, tmp_path):
    np.save(tmp_path / "a b.npy", np.eye(8, dtype=np.uint8)[None].repeat(40, 0))
    result = command("report", run, *FEW, "--data", tmp_path / "a b.npy", "--policy", "static", "--json").json
    name = Path(result["file"]).name
    assert name.startswith("report-a_b_npy-")
    assert name.endswith("-static.html")
    page = RunDirectory(run).read_file(name).decode()
    assert "--data &#39;a b.npy&#39; --policy static" in page


def test_an_interrupted_report_leaves_the_old_one(command, run, monkeypatch):
    RunDirectory(run).add_file("report.html", b"old")

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(bayes_vae.report, "report_contents", interrupt)
    outcome = command("report", run)
    assert (outcome.code, outcome.out) == (130, "")
    assert outcome.err == "bayes-vae: interrupted: no report was written, and an older one is unchanged.\n"
    assert RunDirectory(run).read_file("report.html") == b"old"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--num-observations", "0"], "num_observations must be at least 1"),
        (["--num-particles", "1"], "num_particles must be at least 2"),
        (["--num-encoded", "0"], "num_encoded must be at least 1"),
        (["--num-simulated", "-1"], "num_simulated must be at least 0"),
        (["--num-simulated", "4"], "num_simulated must be at least 20"),
    ],
)
def test_what_cannot_work_is_one_line(command, run, words, message):
    outcome = command("report", run, *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"bayes-vae: {message}")


def test_what_is_no_run_is_one_line(command, tmp_path):
    outcome = command("report", tmp_path / "nothing")
    assert outcome.code == 2
    assert "there is no such folder" in outcome.err
    (tmp_path / "file").touch()
    assert "it is a file" in command("report", tmp_path / "file").err
