"""Runs whose model has two layers, or a label: every command on a run works, or says what it leaves out."""

import numpy as np
import pytest

import bayes_vae as bv
from bayes_vae.guides import ConditionalNormalGuide, SemiSupervisedGuide, TwoLayerNormalGuide
from bayes_vae.runs import RunDirectory
from bayes_vae.settings import DataSettings, PairSettings, as_json
from bayes_vae.training import build_pair

FEW = ["--num-particles", "10", "--num-observations", "8", "--num-temperatures", "2"]
SMALL = ["--num-gap-observations", "2", "--num-encoded", "8", "--num-simulated", "20"]


@pytest.fixture
def pictures(tmp_path):
    """Ninety binary pictures of three classes, with their labels."""
    labels = np.arange(90) % 3
    noise = np.random.default_rng(0).random((90, 4, 4))
    path = tmp_path / "pictures.npz"
    np.savez(path, x=(noise < (0.2 + 0.3 * labels)[:, None, None]).astype(np.uint8), labels=labels)
    return path


@pytest.fixture
def train(command, tiny, pictures, tmp_path):
    """``train("conditional")``: a short training by the command line, without its figures but for that one."""

    def call(structure, **options):
        path, settings = tmp_path / "run", DataSettings(data=str(pictures), kind="binary", **options)
        if structure == "conditional":
            words = ["--structure", structure, "--data", pictures, "--kind", "binary"]
            outcome = command("train", *tiny, *words, "--epochs", "1", "--out", path)
            assert outcome.code == 0, outcome.err
            return path
        data = bv.load_data(settings)
        pair = build_pair(PairSettings(structure=structure, latent_dim=2, hidden_dims=(8,)), data)
        bv.fit(*pair, data, epochs=1, device="cpu", progress="none", out=path, sections={"data": as_json(settings)})
        return path

    return call


def test_two_layers(command, train):
    path = train("two-layer")
    assert isinstance(bv.load(path)[1], TwoLayerNormalGuide)
    evaluated = command("evaluate", path, *FEW, "--seed", "3", "--json").json
    assert evaluated["terms"]["elbo"]["value"] == pytest.approx(elbo_of(path), rel=1e-5)
    assert evaluated["terms"]["log_evidence"]["estimator"].startswith("annealed from the guide, ")
    layers = evaluated["latent_sites"]
    assert [layers[name]["symbol"] for name in ("z1", "z2")] == ["KL(q(z1|·) ‖ p(z1|·))", "KL(q(z2|·) ‖ p(z2|·))"]
    total = sum(layer["value"] for layer in layers.values())
    assert total == pytest.approx(evaluated["terms"]["kl_to_prior"]["value"], rel=1e-6)
    assert "KL(q(z1|·) ‖ p(z1|·))" in command("evaluate", path, *FEW, "--num-temperatures", "0").out
    assert "no single code to vary" in assert_reported(command, path)["What the latent dimensions do"]
    assert "KL(q(z2|·) ‖ p(z2|·))" in (path / "report.html").read_text(encoding="utf-8")


def test_given_labels(command, train, pictures):
    path = train("conditional")
    assert isinstance(bv.load(path)[1], ConditionalNormalGuide)
    outcome = command("evaluate", path, *FEW, "--seed", "3", "--json")
    assert "given the label y of each observation: every log p(x) is log p(x given y)." in outcome.err
    evaluated = outcome.json
    labels = bv.load_data(pictures, kind="binary").test.labels[:8]
    assert evaluated["terms"]["elbo"]["value"] == pytest.approx(elbo_of(path, labels), rel=1e-5)
    assert "What the latent dimensions do" not in assert_reported(command, path)


def test_labels_that_are_latents(command, train):
    path = train("semi-supervised", num_labelled=12)
    assert isinstance(bv.load(path)[1], SemiSupervisedGuide)
    assert RunDirectory(path).config["data"]["num_labelled"] == 12
    evaluated = command("evaluate", path, *FEW, "--seed", "3", "--json").json
    assert evaluated["terms"]["elbo"]["value"] == pytest.approx(elbo_of(path), rel=1e-5)
    assert evaluated["annealing"]["note"] == "not annealed: annealing moves along gradients, and 'y' is discrete"
    climbed = command("compare", path, "--rungs", "1", "5", *FEW[2:], "--json").json
    assert [rung["num_particles"] for rung in climbed["rungs"]] == [1, 5]
    assert "no single code to vary" in assert_reported(command, path)["What the latent dimensions do"]


def elbo_of(path, labels=None):
    """The ELBO as the library has it, of the first eight test pictures with K = 10 and seed 3."""
    model, guide = bv.load(path)
    data = bv.load_data(RunDirectory(path).settings["data"]["data"], kind="binary")
    x, index = data.test.observations(slice(0, 8), seed=3), data.test.index[:8]
    inputs = x if labels is None else (x, labels)
    return bv.elbo_terms(model, guide, inputs, 10, seed=3, index=index).averages()["elbo"].value


def assert_reported(command, path):
    """A report comes with pictures and a diagnosis, and says why of whatever it leaves out."""
    reported = command("report", path, *FEW, *SMALL, "--json").json
    assert (path / "report.html").stat().st_size == reported["bytes"]
    assert all(reason for reason in reported["left_out"].values())
    assert {"Reconstructions", "Draws from the prior", "What is wrong, if anything"}.isdisjoint(reported["left_out"])
    return reported["left_out"]
