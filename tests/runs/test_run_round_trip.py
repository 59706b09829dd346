"""What is saved comes back: weights, pair, settings, figures of each epoch."""

import json
import os
import platform
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bayes_vae.guides import AmortizedNormalGuide, ExactLinearGaussianGuide
from bayes_vae.models import VAE, LinearGaussianVAE
from bayes_vae.runs import RunDirectory, load, read_config, save


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_pair_comes_back_with_the_best_weights(run, saved, same):
    model, guide = load(saved)
    assert (type(model), type(guide)) == (VAE, AmortizedNormalGuide)
    same(model.state_dict(), run.model.state_dict())
    same(guide.state_dict(), run.guide.state_dict())
    x = (torch.arange(18).reshape(2, 3, 3) % 2).float()
    z = guide.variational_posterior(x).mean
    assert torch.equal(z, run.guide.variational_posterior(x).mean)
    assert torch.equal(model.likelihood(z).log_prob(x), run.model.likelihood(z).log_prob(x))


def test_the_best_weights_are_loaded_not_those_of_the_module(make_run, tmp_path, same):
    run = make_run()
    with torch.no_grad():
        for parameter in run.model.parameters():
            parameter.zero_()
    save(run, tmp_path / "run")
    model, _ = load(tmp_path / "run")
    same(
        {f"model.{key}": value for key, value in model.state_dict().items()},
        {key: value for key, value in run.best_state.items() if key.startswith("model.")},
    )


def test_a_loaded_pair_is_in_evaluation_mode_on_the_cpu_and_can_train(saved):
    for module in load(saved):
        assert not module.training
        assert all(p.device.type == "cpu" and p.requires_grad for p in module.parameters())


def test_what_is_printed_is_one_line(run):
    assert repr(run).startswith("Run of VAE and AmortizedNormalGuide on ")
    assert f"best epoch: {run.best_epoch}, ended by all epochs" in repr(run)
    assert len(repr(run)) < 200


def test_best_and_last_weights(run, saved, same):
    directory = RunDirectory(saved)
    same(directory.weights(), run.best_state)
    same(directory.weights("last"), run.last_state)


def test_the_files_of_a_run_directory(saved):
    files = ["checkpoints/best.safetensors", "checkpoints/last.safetensors", "config.json"]
    assert files_in(saved) == ["MODEL_CARD.md", *files, "manifest.json", "metrics.csv", "model.safetensors"]
    assert (saved / "figures").is_dir()
    assert [path.name for path in saved.parent.iterdir()] == ["run"]


def test_the_configuration(run, saved):
    config = read_config(saved)
    assert config["format_version"] == 1
    networks = {"latent_dim": 2, "data_shape": [3, 3], "hidden_dims": [5], "activation": "elu", "network": "mlp"}
    families = {"likelihood": "bernoulli", "prior": "standard-normal"}
    assert config["model"] == {"class": "VAE", "settings": networks | families}
    assert config["guide"] == {"class": "AmortizedNormalGuide", "settings": networks}
    assert config["data"] == run.data
    assert config["outcome"] == {"epochs": 2, "best_epoch": 2, "ending": "all epochs", "interrupted": False}
    assert config["settings"] == RunDirectory(saved).settings == run.settings
    count = sum(p.numel() for program in (run.model, run.guide) for p in program.parameters())
    assert config["parameters"] == {"count": count, "names": list(run.best_state)}
    assert config["versions"].keys() >= {"python", "numpy", "torch", "pyro", "bayes_vae"}
    assert config["versions"]["python"] == platform.python_version()
    assert config["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert config["created"].endswith("+00:00")


def test_a_version_that_nobody_knows_is_said_to_be_so(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules["bayes_vae.runs.config"]._DISTRIBUTIONS, "bayes_vae", "no-such-distribution")
    save(run, tmp_path / "run")
    assert read_config(tmp_path / "run")["versions"]["bayes_vae"] == "unknown"


def test_the_figures_of_each_epoch_come_back_exactly(run, saved):
    assert RunDirectory(saved).history == run.history
    assert (saved / "metrics.csv").read_text() == "epoch,elbo,extra\n1,-3.25,\n2,-0.1,1e-300\n"


@pytest.mark.parametrize("history", [[], [{"elbo": 0.1 + 0.2}], [{"elbo": float("-inf")}]])
def test_any_history_comes_back(make_run, tmp_path, history):
    save(make_run(history=history), tmp_path / "run")
    assert RunDirectory(tmp_path / "run").history == history


def test_numbers_of_numpy_and_nan_are_numbers(make_run, tmp_path):
    import numpy as np

    save(make_run(history=[{"elbo": np.float64(0.1), "error": float("nan")}]), tmp_path / "run")
    row = RunDirectory(tmp_path / "run").history[0]
    assert row["elbo"] == 0.1
    assert row["error"] != row["error"]


def test_a_guide_that_follows_its_model(isolated_globals, make_run, tmp_path):
    with isolated_globals(seed=2):
        model = LinearGaussianVAE(latent_dim=2, data_shape=(4,))
    save(make_run(model=model, guide=ExactLinearGaussianGuide(model)), tmp_path / "run")
    loaded, guide = load(tmp_path / "run")
    x = torch.ones(3, 4)
    log_joint = loaded.prior().log_prob(torch.zeros(3, 2)) + loaded.likelihood(torch.zeros(3, 2)).log_prob(x)
    log_posterior = guide.variational_posterior(x).log_prob(torch.zeros(3, 2))
    torch.testing.assert_close(log_joint - log_posterior, model.log_evidence(x))


def test_double_precision_comes_back(isolated_globals, make_run, tmp_path, same):
    with isolated_globals(seed=2):
        model = LinearGaussianVAE(latent_dim=2, data_shape=(4,)).double()
    save(make_run(model=model, guide=ExactLinearGaussianGuide(model)), tmp_path / "run")
    loaded, guide = load(tmp_path / "run")
    same(loaded.state_dict(), model.state_dict())
    x = torch.ones(3, 4, dtype=torch.float64)
    assert torch.equal(loaded.log_evidence(x), model.log_evidence(x))
    assert guide.variational_posterior(x).mean.dtype == torch.float64


def test_files_have_the_usual_permissions(run, tmp_path):
    mask = os.umask(0o022)
    try:
        save(run, tmp_path / "run")
        RunDirectory(tmp_path / "run").add_file("figures/a.txt", b"a")
    finally:
        os.umask(mask)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "run").rglob("*")}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o644}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o755}


def test_an_empty_folder_may_be_there_and_parents_are_made(run, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    save(run, tmp_path / "empty")
    save(run, str(tmp_path / "a" / "b"))
    monkeypatch.chdir(tmp_path)
    save(run, "relative")
    for folder in (tmp_path / "empty", tmp_path / "a" / "b", tmp_path / "relative"):
        load(folder)


def test_nothing_is_pickled(saved):
    for name in files_in(saved):
        content = (saved / name).read_bytes()
        assert not content.startswith((b"\x80", b"PK")), name
    header = int.from_bytes((saved / "model.safetensors").read_bytes()[:8], "little")
    json.loads((saved / "model.safetensors").read_bytes()[8 : 8 + header])


def test_no_module_of_the_package_can_unpickle():
    folder = Path(__file__).resolve().parents[2] / "bayes_vae" / "runs"
    source = "".join(path.read_text() for path in folder.glob("*.py"))
    forbidden = r"pickle|(?<!safetensors\.)torch\.(load|save)\(|(?<!\.)(eval|exec)\("
    assert re.search(forbidden, source) is None


def test_another_process_reads_it(saved):
    source = f"import bayes_vae.runs as r; model, guide = r.load({str(saved)!r}); print(type(model).__name__)"
    command = [sys.executable, "-W", "error", "-c", source]
    folder = Path(__file__).resolve().parents[2]
    assert subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout == "VAE\n"
