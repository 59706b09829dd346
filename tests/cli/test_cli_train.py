"""``bayes-vae train``."""

import json
import os
import signal
from types import SimpleNamespace

import pytest
import torch

import bayes_vae as bv
from bayes_vae.cli import train as train_module
from bayes_vae.errors import RunError
from bayes_vae.runs import RunDirectory
from bayes_vae.settings import DataSettings, PairSettings, TrainingSettings, as_json
from bayes_vae.training.loop import Training

FIGURES = {"training", "reconstructions", "prior samples", "latent means"}


def test_a_run_directory_with_settings_and_figures(trained):
    directory = RunDirectory(trained)
    chosen = {"data": "digits", "data_root": None, "policy": "stochastic"}
    rest = {"kind": "auto", "image_size": None, "colour": None, "num_labelled": None}
    own = {"validation_data": None, "test_data": None, "split": [], "label_column": None, "standardize": False}
    own |= {"standardize_columns": [], "stream": False}
    assert directory.settings["data"] == chosen | rest | own
    assert directory.settings["pair"] == as_json(PairSettings(2, (8,)))
    assert directory.settings["training"]["epochs"] == len(directory.history) == 2
    names = {path.name for path in (trained / "figures").iterdir()}  # other commands may have drawn theirs by now
    assert {"latent_means.png", "prior_samples.png", "reconstructions.png", "training.png"} <= names
    assert all(directory.read_file(f"figures/{name}").startswith(b"\x89PNG") for name in names)


def test_the_run_can_be_loaded(trained):
    model, guide = bv.load(trained)
    assert (model.latent_dim, guide.latent_dim) == (2, 2)


def test_a_table_for_a_person(command, tmp_path, tiny):
    outcome = command("train", *tiny, "--out", tmp_path / "run")
    assert outcome.code == 0
    assert "Trained on digits: 1,297 observations, data policy stochastic, 2 epochs" in outcome.out
    conditions = "K = 2 · N = 200 validation observations · data policy: stochastic · KL weight 1 · seed 0."
    assert f"Nats per observation · {conditions}" in outcome.out
    for name in ("expected_log_likelihood", "kl_to_prior", "elbo", str(tmp_path / "run" / "figures")):
        assert name in outcome.out
    assert "epoch 2/2" in outcome.err


def test_json_for_a_program(command, tmp_path, tiny):
    outcome = command("train", *tiny, "--out", tmp_path / "run", "--json", "--policy", "static")
    result = outcome.json
    assert outcome.code == 0
    assert result["run"] == str(tmp_path / "run")
    assert set(result["figures"]) == FIGURES
    row = RunDirectory(tmp_path / "run").history[result["best_epoch"] - 1]
    validation = result["validation"]
    assert validation["elbo"] == row["validation_elbo"]
    conditions = {"num_particles": 2, "num_observations": 200, "data_policy": "static", "kl_weight": 1.0, "seed": 0}
    assert conditions.items() <= validation.items()


def test_a_run_that_is_there_is_refused_before_training_and_left_alone(command, trained, monkeypatch, tiny):
    monkeypatch.setattr(Training, "step", lambda _: pytest.fail("training started"))
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    outcome = command("train", *tiny, "--out", trained)
    assert outcome.code == 2
    assert "already holds a run" in outcome.err
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before


def test_without_out_the_run_goes_to_a_folder_of_its_own(monkeypatch, tmp_path, command, tiny):
    monkeypatch.chdir(tmp_path)
    clock = SimpleNamespace(strftime=lambda _: "20260102-030405")  # of this module alone: pandas reads the time too
    monkeypatch.setattr(train_module, "time", clock)
    outcome = command("train", *tiny, "--json")
    assert outcome.json["run"] == "runs/digits-20260102-030405"
    assert (tmp_path / "runs/digits-20260102-030405/config.json").is_file()


def press_ctrl_c_in(monkeypatch, steps):
    """Press Ctrl-C within the given step, of 13 in each epoch."""
    whole = Training.step

    def step(self):
        if self.total_steps + 1 == steps:
            os.kill(os.getpid(), signal.SIGINT)
        whole(self)

    monkeypatch.setattr(Training, "step", step)


@pytest.mark.parametrize(("steps", "where"), [(5, "0 epochs and 5 steps"), (18, "1 epochs and 5 steps")])
def test_ctrl_c_ends_with_a_checkpoint_and_says_how_to_resume(monkeypatch, command, tmp_path, tiny, steps, where):
    with monkeypatch.context() as patched:
        press_ctrl_c_in(patched, steps)
        outcome = command("train", *tiny, "--out", tmp_path / "run")
    assert (outcome.code, outcome.out) == (130, "")
    assert outcome.err.splitlines()[-1] == (
        f"bayes-vae: interrupted after {where}. Resume with: bayes-vae train --resume {tmp_path / 'run'}"
    )
    assert RunDirectory(tmp_path / "run").unfinished
    again = command("train", "--resume", tmp_path / "run", "--json")
    assert again.code == 0
    assert (again.json["run"], again.json["epochs"]) == (str(tmp_path / "run"), 2)
    assert set(again.json["figures"]) == FIGURES
    whole = command("train", *tiny, "--out", tmp_path / "whole", "--json").json
    assert again.json["validation"] == whole["validation"]
    directories = [RunDirectory(tmp_path / name) for name in ("run", "whole")]
    weights = [directory.weights("last") for directory in directories]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[1])
    assert directories[0].settings == directories[1].settings


def test_ctrl_c_before_training_saves_nothing(monkeypatch, command, tmp_path, tiny):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Training, "__init__", interrupt)
    outcome = command("train", *tiny, "--out", tmp_path / "run")
    assert (outcome.code, outcome.out) == (130, "")
    assert outcome.err.splitlines()[-1] == "bayes-vae: interrupted before training began: nothing was saved."
    assert not (tmp_path / "run").exists()


def test_a_finished_run_with_nothing_left_to_do_says_so(command, trained):
    outcome = command("train", "--resume", trained)
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == (
        f"bayes-vae: {trained} is finished, its 2 epochs are done: nothing is left to resume. Ask for more with "
        "--epochs.\n"
    )
    result = command("train", "--resume", trained, "--json").json
    assert result["run"] == str(trained)
    assert "nothing is left to resume" in result["nothing_left"]


def test_the_settings_that_a_resumed_training_would_have_can_be_printed(command, trained):
    outcome = command("train", f"--resume={trained}", "--epochs", "7", "--print-config")
    assert outcome.code == 0
    assert "latent_dim: 2\n  hidden_dims: [8]" in outcome.out
    assert "epochs: 7\n" in outcome.out


def test_more_epochs_of_a_finished_run_go_to_another_folder(command, trained, tmp_path):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    outcome = command("train", "--resume", trained, "--epochs", "3", "--out", tmp_path / "longer", "--json")
    assert outcome.json["epochs"] == 3
    assert "note: the cosine schedule now spans 3 epochs instead of 2" in outcome.err
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before


def test_a_run_that_was_extended_says_that_its_repetition_differs(command, trained, tmp_path):
    """Under the cosine, which spans all epochs; a run in one go, and its repetition, say nothing."""
    longer, again = tmp_path / "longer", tmp_path / "again"
    command("train", "--resume", trained, "--epochs", "4", "--out", longer)
    assert json.loads((longer / "config.json").read_text())["extended_at"] == [2]
    words = (
        "the run was trained to 2 epochs, then extended to 4: under the cosine schedule a repetition, which trains all "
        "epochs in one go, will differ."
    )
    outcome = command("train", "--config", longer, "--out", again)
    assert outcome.code == 0
    assert f"note: {words}\n" in outcome.err
    metrics = [(run / "metrics.csv").read_text().splitlines() for run in (longer, again)]
    rates = [[row.split(",")[rows[0].split(",").index("learning_rate")] for row in rows[1:]] for rows in metrics]
    assert len(rates[0]) == len(rates[1]) == 4
    assert rates[0] != rates[1]
    cards = [(run / "MODEL_CARD.md").read_text() for run in (longer, again, trained)]
    assert [f"T{words[1:]}" in card for card in cards] == [True, False, False]
    assert ["# the same training once more" in card for card in cards] == [False, True, True]
    assert json.loads((again / "config.json").read_text())["extended_at"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--latent-dim", "3"], "a resumed training keeps its networks, but latent_dim is 2 in RUN and 3 now."),
        (["--learning-rate", "1"], "a resumed training keeps its settings, but learning_rate is 0.003 in RUN and 1.0 "),
        (["--policy", "static"], "these are not the data of RUN: the data policy was stochastic there (digits) and is"),
        (["--out", "RUN"], "RUN already holds a run, and a run is never replaced unasked."),
    ],
)
def test_what_cannot_be_resumed_is_one_line(command, trained, words, message):
    words = [word.replace("RUN", str(trained)) for word in words]
    outcome = command("train", "--resume", trained, "--epochs", "9", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"bayes-vae: {message.replace('RUN', str(trained))}")
    assert len(outcome.err.splitlines()) == 1


def test_a_run_is_never_trained_over_an_unfinished_one(monkeypatch, command, tmp_path, tiny):
    with monkeypatch.context() as patched:
        press_ctrl_c_in(patched, 5)
        command("train", *tiny, "--out", tmp_path / "run")
    outcome = command("train", *tiny, "--out", tmp_path / "run")
    assert outcome.code == 2
    assert (
        f"already holds an unfinished run, and a run is never replaced unasked. Choose another --out, or go on with "
        f"it: --resume {tmp_path / 'run'}" in outcome.err
    )


def test_an_unfinished_run_can_be_evaluated_and_its_results_go_when_training_does(monkeypatch, command, tmp_path, tiny):
    with monkeypatch.context() as patched:
        press_ctrl_c_in(patched, 18)
        command("train", *tiny, "--out", tmp_path / "run")
    outcome = command("evaluate", tmp_path / "run", "--num-particles", "30", "--num-observations", "5")
    assert outcome.code == 0
    assert "is unfinished (1 of 2 epochs are done): these are the best weights so far, of epoch 1." in outcome.err
    assert (tmp_path / "run" / "evaluation.json").exists()
    command("train", "--resume", tmp_path / "run")
    assert not (tmp_path / "run" / "evaluation.json").exists()
    assert "evaluation.json" not in (tmp_path / "run" / "manifest.json").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", "0"], "epochs must be at least 1, got 0."),
        (["--activation", "square"], "unknown activation 'square'"),
        (["--hidden-dims", "0"], "each of hidden_dims must be at least 1, got 0"),
        (["--data", "imagenet"], "unknown data set 'imagenet'"),
        (["--data", "mnist", "--data-root", "/nowhere"], "mnist was not found"),
        (["--policy", "none"], "a Bernoulli likelihood takes zeros and ones"),
        (["--device", "abacus"], "unknown device 'abacus': use cpu, cuda, cuda:1 and so on, mps, or auto."),
        (["--device", "cuda:99"], "device 'cuda:99' is not here: torch sees"),
    ],
)
def test_what_cannot_work_is_one_line_and_leaves_nothing(command, tmp_path, tiny, words, message):
    outcome = command("train", *tiny, *words, "--out", tmp_path / "run")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"bayes-vae: {message}")
    assert len(outcome.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_data_of_the_users_own(command, tmp_path, tiny):
    import numpy as np

    pixels = np.random.default_rng(0).integers(0, 2, (40, 6), dtype=np.uint8)
    np.save(tmp_path / "mine.npy", pixels)
    out = tmp_path / "run"
    assert command("train", *tiny, "--data", tmp_path / "mine.npy", "--policy", "none", "--out", out).code == 0
    settings = json.loads((out / "config.json").read_text())["settings"]["data"]
    assert settings["data"] == str(tmp_path / "mine.npy")
    outcome = command("evaluate", out, "--num-particles", "40", "--json")
    assert outcome.code == 0
    assert outcome.json["data"] == {"name": "mine.npy", "split": "test", "policy": "none"}


def test_save_refuses_what_train_refuses(trained):
    with pytest.raises(RunError, match="already holds a run"):
        train_module.train(DataSettings(), PairSettings(), TrainingSettings(), trained)


def test_a_result_worse_than_a_coin_is_noted(command, tmp_path, tiny):
    rates = ["--learning-rate", "1000", "--final-learning-rate", "1000"]
    outcome = command("train", *tiny, *rates, "--out", tmp_path / "run")
    assert outcome.code == 0
    assert "is below -44.4, that of a fair coin for each pixel: training went wrong" in outcome.err
    assert "coin" not in command("train", *tiny, "--out", tmp_path / "fine").err
