"""``bayes-vae train``."""

import json

import pytest

import bayes_vae as bv
from bayes_vae.cli import train as train_module
from bayes_vae.errors import RunError
from bayes_vae.runs import RunDirectory
from bayes_vae.training import svi

FIGURES = {"training", "reconstructions", "prior samples", "latent means"}


def test_a_run_directory_with_settings_and_figures(trained):
    directory = RunDirectory(trained)
    chosen = {"data": "digits", "data_root": None, "policy": "stochastic"}
    assert directory.settings["data"] == chosen | {"kind": "auto", "image_size": None, "colour": "gray"}
    assert directory.settings["pair"] == {"latent_dim": 2, "hidden_dims": [8], "activation": "tanh"}
    assert directory.settings["training"]["epochs"] == len(directory.history) == 2
    names = sorted(path.name for path in (trained / "figures").iterdir())
    assert names == ["latent_means.png", "prior_samples.png", "reconstructions.png", "training.png"]
    assert all(directory.read_file(f"figures/{name}").startswith(b"\x89PNG") for name in names)


def test_the_run_can_be_loaded(trained):
    model, guide = bv.load(trained)
    assert (model.latent_dim, guide.latent_dim) == (2, 2)


def test_a_table_for_a_person(command, tmp_path, tiny):
    outcome = command("train", *tiny, "--out", tmp_path / "run")
    assert outcome.code == 0
    assert "Trained on digits: 1,297 images, data policy stochastic, 2 epochs" in outcome.out
    assert "Nats per observation. K = 2, N = 200 validation images, KL weight 1, seed 0." in outcome.out
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
    monkeypatch.setattr(svi, "_run_epochs", lambda *_: pytest.fail("training started"))
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    outcome = command("train", *tiny, "--out", trained)
    assert outcome.code == 2
    assert "already holds a run" in outcome.err
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before


def test_without_out_the_run_goes_to_a_folder_of_its_own(monkeypatch, tmp_path, command, tiny):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train_module.time, "strftime", lambda _: "20260102-030405")
    outcome = command("train", *tiny, "--json")
    assert outcome.json["run"] == "runs/digits-20260102-030405"
    assert (tmp_path / "runs/digits-20260102-030405/config.json").is_file()


def test_ctrl_c_saves_the_last_whole_epoch(monkeypatch, command, tmp_path, tiny):
    whole = svi._Training.epoch

    def epoch(self, number, batches):
        if number == 2:
            raise KeyboardInterrupt
        return whole(self, number, batches)

    monkeypatch.setattr(svi._Training, "epoch", epoch)
    outcome = command("train", *tiny, "--out", tmp_path / "run", "--json")
    assert outcome.code == 130
    assert outcome.err.splitlines()[-1] == (
        f"bayes-vae: interrupted: the weights of 1 whole epochs are in {tmp_path / 'run'}"
    )
    assert outcome.json["interrupted"] is True
    assert RunDirectory(tmp_path / "run").config["outcome"]["interrupted"] is True


def test_ctrl_c_before_the_first_epoch_saves_nothing(monkeypatch, command, tmp_path, tiny):
    def epoch(self, number, batches):
        raise KeyboardInterrupt

    monkeypatch.setattr(svi._Training, "epoch", epoch)
    outcome = command("train", *tiny, "--out", tmp_path / "run")
    assert (outcome.code, outcome.out) == (130, "")
    assert outcome.err.splitlines()[-1] == (
        "bayes-vae: interrupted before the first epoch was done: nothing was saved."
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", "0"], "epochs must be at least 1, got 0."),
        (["--activation", "square"], "unknown activation 'square'"),
        (["--hidden-dims", "0"], "every layer needs a width of at least 1"),
        (["--data", "imagenet"], "unknown data set 'imagenet'"),
        (["--data", "mnist", "--data-root", "/nowhere"], "mnist was not found"),
        (["--policy", "none"], "a Bernoulli likelihood takes zeros and ones"),
        (["--device", "abacus"], "unknown device 'abacus': choose cpu, cuda, cuda:1 and so on, or auto."),
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
        train_module.train(*[None] * 3, trained)


def test_a_result_worse_than_a_coin_is_noted(command, tmp_path, tiny):
    rates = ["--learning-rate", "1000", "--final-learning-rate", "1000"]
    outcome = command("train", *tiny, *rates, "--out", tmp_path / "run")
    assert outcome.code == 0
    assert "is below -44.4, that of a coin for each pixel: training went wrong" in outcome.err
    assert "coin" not in command("train", *tiny, "--out", tmp_path / "fine").err
