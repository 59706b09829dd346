"""``bayes-vae rate-distortion``: one run, several, and what it refuses."""

import shutil

import pytest
from matplotlib.image import imread

from bayes_vae.cli import main

QUICK = ["--num-temperatures", "6", "--num-observations", "4", "--num-particles", "2"]


def test_the_curve_of_a_run_and_where_its_q_lies(command, trained):
    outcome = command("rate-distortion", trained, "--betas", "0.1", "1", *QUICK, "--json")
    assert outcome.code == 0
    (found,) = outcome.json["runs"]
    assert [point["beta"] for point in found["curve"]] == [0.0, 0.1, 1.0]
    assert found["curve"][0]["rate"]["value"] == 0
    assert found["own_q"]["rate"]["value"] > 0
    assert imread(outcome.json["figure"]).shape[1] > 500


def test_several_runs_share_a_figure(command, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "other")
    outcome = command("rate-distortion", trained, tmp_path / "other", "--betas", "1", *QUICK)
    assert outcome.code == 0
    assert outcome.out.count("its q") == 2
    assert "\nother\n" in outcome.out
    assert "At β = 1 rate + distortion = −log p(x)." in outcome.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["RUN", "RUN"], "a run is named twice"),
        (["RUN", "nowhere"], "nowhere is not a run directory: there is no such folder"),
        (["RUN", "--betas", "0"], "betas must be different numbers above 0, got 0"),
        (["RUN", "--betas", "1,1"], "betas must be different numbers above 0, got 1 1"),
        (["RUN", "--num-chains", "1"], "num_chains must be at least 2, got 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(command, trained, words, message):
    outcome = command("rate-distortion", *(trained if word == "RUN" else word for word in words))
    assert outcome.code == 2
    assert outcome.out == ""
    assert message in outcome.err


def test_runs_of_other_observations_or_units_are_refused(command, trained, tmp_path):
    short = ["--latent-dim", "2", "--hidden-dims", "4", "--epochs", "1", "--batch-size", "500"]
    for name, words in (("threshold", ["--policy", "threshold"]), ("gray", ["--policy", "none"])):
        likelihood = ["--likelihood", "normal"] if name == "gray" else []
        assert main(["train", *short, *words, *likelihood, "--out", str(tmp_path / name)]) == 0
    outcome = command("rate-distortion", trained, tmp_path / "threshold")
    assert outcome.code == 2
    assert "were trained on different data, or under different data policies" in outcome.err
    assert (
        main(
            ["train", *short, "--policy", "none", "--likelihood", "discretized-logistic", "--out", str(tmp_path / "d")]
        )
        == 0
    )
    outcome = command("rate-distortion", tmp_path / "gray", tmp_path / "d")
    assert outcome.code == 2
    assert "gives x a probability and the other a density" in outcome.err


def test_a_curve_given_the_label_is_not_drawn_beside_one_without(command, trained, tmp_path, capsys):
    short = ["--latent-dim", "2", "--hidden-dims", "4", "--epochs", "1", "--batch-size", "500"]
    assert main(["train", *short, "--structure", "conditional", "--out", str(tmp_path / "given")]) == 0
    capsys.readouterr()
    outcome = command("rate-distortion", trained, tmp_path / "given")
    assert (outcome.code, outcome.out) == (2, "")
    assert "is given the label y, so its curve is of p(x given y), and the other is not" in outcome.err
