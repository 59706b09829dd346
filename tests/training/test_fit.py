"""``fit``: what it trains, what it reports, and what it leaves alone."""

import math
from dataclasses import replace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import bayes_vae as bv
from bayes_vae.data import Data
from bayes_vae.errors import DataError, NumericalError, ProgramError, SettingsError, SupportError
from bayes_vae.settings import PairSettings, TrainingSettings
from bayes_vae.training import build_pair


@pytest.fixture(scope="module")
def data() -> Data:
    """Sixty small binary images with two prototypes."""
    generator = torch.Generator().manual_seed(0)
    prototypes = torch.tensor([[0.9, 0.1, 0.9, 0.1], [0.1, 0.9, 0.1, 0.9]])
    labels = torch.randint(0, 2, (60,), generator=generator)
    pixels = torch.rand(60, 4, generator=generator) < prototypes[labels]
    return bv.load_data(pixels.to(torch.uint8) * 255, policy="threshold")


def pair(data):
    return build_pair(PairSettings(latent_dim=2, hidden_dims=(8,)), data)


def fit(model, guide, data, **settings):
    return bv.fit(model, guide, data, progress="none", **{"epochs": 2, "batch_size": 16, **settings})


def test_training_improves_the_elbo(data):
    model, guide = pair(data)
    run = fit(model, guide, data, epochs=30, learning_rate=1e-2)
    assert len(run.history) == 30
    assert run.history[-1]["validation_elbo"] > run.history[0]["validation_elbo"] + 0.3


def test_history_holds_every_term(data):
    row = fit(*pair(data), data).history[-1]
    assert {"epoch", "learning_rate", "kl_weight", "seconds", "validation_elbo_error"} <= row.keys()
    for split in ("train", "validation"):
        difference = row[f"{split}_expected_log_likelihood"] - row[f"{split}_kl_to_prior"]
        assert row[f"{split}_elbo"] == pytest.approx(difference, abs=1e-5)


def test_train_terms_are_means_over_observations(data):
    """With a learning rate of nothing, the epoch's figure is that of the start, whatever the short last batch."""
    model, guide = pair(data)
    still = {"learning_rate": 1e-12, "final_learning_rate": 1e-12}
    run = fit(model, guide, data, epochs=1, batch_size=20, num_particles=400, **still)
    assert len(data.train) % 20 == 8
    x = data.train.observations()
    terms = bv.elbo_terms(model, guide, x, 400)
    expected = terms.averages()["elbo"]
    assert run.history[0]["train_elbo"] == pytest.approx(expected.value, abs=6 * 2**0.5 * expected.monte_carlo_error)
    assert run.history[0]["train_kl_to_prior"] == pytest.approx(terms.kl_to_prior.mean().item(), abs=1e-4)


def test_same_seed_same_run(data):
    first, again, other = (fit(*pair(data), data, seed=seed).history for seed in (0, 0, 1))
    strip = [[{k: v for k, v in row.items() if "seconds" not in k} for row in h] for h in (first, again, other)]
    assert strip[0] == strip[1] != strip[2]


def test_best_weights_are_those_of_the_best_epoch(data):
    model, guide = pair(data)
    run = fit(model, guide, data, epochs=8, learning_rate=0.3, final_learning_rate=0.3)
    elbos = [row["validation_elbo"] for row in run.history]
    assert run.best_epoch == 1 + elbos.index(max(elbos))
    for name, value in model.state_dict().items():
        assert torch.equal(run.best_state[f"model.{name}"], value)
    assert any(not torch.equal(run.best_state[name], run.last_state[name]) for name in run.best_state)


def test_validation_is_at_weight_one(data):
    """With the KL weighted by zero the objective ignores it, but the validation ELBO does not."""
    row = fit(*pair(data), data, kl_weight=0.0, epochs=20, learning_rate=3e-2).history[-1]
    assert row["kl_weight"] == 0
    assert row["validation_kl_to_prior"] > 1
    difference = row["validation_expected_log_likelihood"] - row["validation_kl_to_prior"]
    assert row["validation_elbo"] == pytest.approx(difference)


def test_kl_weight_changes_what_is_trained(data):
    rates = [
        fit(*pair(data), data, kl_weight=weight, epochs=20, learning_rate=3e-2).history[-1]["train_kl_to_prior"]
        for weight in (0.0, 1.0, 20.0)
    ]
    assert rates[0] > rates[1] > rates[2]


def test_warm_up_is_recorded(data):
    weights = [row["kl_weight"] for row in fit(*pair(data), data, epochs=4, kl_warmup_epochs=2).history]
    assert weights == [0.0, 0.5, 1.0, 1.0]


def test_learning_rate_decays(data):
    rates = [row["learning_rate"] for row in fit(*pair(data), data, epochs=3).history]
    assert rates[0] > rates[1] > rates[2] >= 2e-5


def test_frozen_parameters_stay(data):
    model, guide = pair(data)
    frozen = model.decoder[0].weight.requires_grad_(False)
    before = frozen.clone()
    run = fit(model, guide, data)
    assert torch.equal(frozen, before)
    assert "model.decoder.0.weight" not in run.parameter_names
    assert "model.decoder.0.bias" in run.parameter_names


def test_two_pairs_in_turn_both_train(data):
    for _ in range(2):
        model, guide = pair(data)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        fit(model, guide, data)
        assert all(not torch.equal(before[name], value) for name, value in model.state_dict().items())


class ForeignVae(nn.Module):
    """In the style of Pyro's own example: bound methods, ``pyro.module`` and a constrained ``param`` site."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(4, 2), nn.Linear(2, 4)

    def model(self, x):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", x.shape[0]):
            z = pyro.sample("latent", dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(1))
            pyro.sample("obs", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x):
        pyro.module("encoder", self.encoder)
        scale = pyro.param("scale", torch.ones(2), constraint=dist.constraints.positive)
        with pyro.plate("data", x.shape[0]):
            pyro.sample("latent", dist.Normal(self.encoder(x), scale).to_event(1))


def test_bound_methods_and_param_sites_are_trained(data, isolated_globals):
    with isolated_globals(seed=0):
        vae = ForeignVae()
    before = vae.encoder.weight.detach().clone()
    run = fit(vae.model, vae.guide, data, epochs=5, learning_rate=1e-2)
    assert set(run.parameter_names) == {
        "model.encoder.weight",
        "model.encoder.bias",
        "model.decoder.weight",
        "model.decoder.bias",
        "scale",
    }
    assert not torch.equal(vae.encoder.weight, before)
    assert run.best_state["param.scale"].abs().min() > 0
    x = data.test.observations()
    learned = bv.elbo_terms(run.model, run.guide, x, 50).averages()["elbo"]
    assert run.history[-1]["validation_elbo"] == pytest.approx(learned.value, abs=1.5)
    fresh = bv.elbo_terms(vae.model, vae.guide, x, 50)
    assert not torch.equal(fresh.kl_to_prior, bv.elbo_terms(run.model, run.guide, x, 50).kl_to_prior)


def test_a_dirty_store_is_neither_used_nor_changed(data, clean_globals):
    """Stock Pyro trains the stale entry of the same name, and the module never (trap 8)."""
    stale = torch.full((2, 4), 7.0)
    pyro.param("encoder$$$weight", stale)
    pyro.param("scale", torch.full((2,), 3.0), constraint=dist.constraints.positive)
    vae = ForeignVae()
    before = vae.encoder.weight.detach().clone()
    fit(vae.model, vae.guide, data)
    assert not torch.equal(vae.encoder.weight, before)
    store = pyro.get_param_store()
    assert set(store.keys()) == {"encoder$$$weight", "scale"}
    assert torch.equal(store["encoder$$$weight"], stale)
    torch.testing.assert_close(store["scale"].detach(), torch.full((2,), 3.0))


def test_nothing_to_train_is_an_error(data):
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Bernoulli(logits=z[..., None].expand(*z.shape, 4)).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))

    with pytest.raises(ProgramError, match=r"nothing to train: .* Pass modules, or register"):
        fit(model, guide, data)


@pytest.mark.parametrize(("empty", "message"), [("train", "no train rows"), ("validation", "no validation rows")])
def test_training_needs_rows_of_both_kinds(data, empty, message):
    model, guide = pair(data)
    rows = getattr(data, empty)
    none = replace(rows, values=rows.values[:0], index=rows.index[:0])
    with pytest.raises(DataError, match=message):
        fit(model, guide, replace(data, **{empty: none}))


def test_rows_that_are_drawn_anew_are_looked_at_in_each_epoch(data):
    """A transform may leave the support of the likelihood after the first epoch."""
    calls = []

    def redraw(rows, seed):
        calls.append(seed)
        return np.full((len(rows), 4), 2 * (len(calls) > 4), np.float32)

    model, guide = pair(data)
    drawn = replace(data, train=replace(data.train, redraw=redraw, policy="as the loader gives"))
    with pytest.raises(SupportError, match="takes zeros and ones"):
        fit(model, guide, drawn, epochs=4)
    assert len(calls) == 5


def test_divergence_is_named(data):
    model, guide = pair(data)
    with torch.no_grad():
        guide.encoder[0].weight.fill_(math.nan)
    with pytest.raises(NumericalError, match="training diverged in epoch 1: .* Lower the learning rate"):
        fit(model, guide, data)


def test_interruption_keeps_whole_epochs(data, monkeypatch):
    model, guide = pair(data)
    calls = []

    def interrupt(*arguments, **keywords):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return bv.elbo_terms(*arguments, **keywords)

    monkeypatch.setattr("bayes_vae.training.loop.elbo_terms", interrupt)
    run = fit(model, guide, data, epochs=9)
    assert run.interrupted
    assert len(run.history) == 2
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        fit(*pair(data), data, epochs=9, interruptible=False)
    assert len(calls) == 3


def test_interruption_before_the_first_epoch_is_passed_on(data, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("bayes_vae.training.loop.elbo_terms", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(*pair(data), data)


def test_lines_name_the_parameters_and_each_epoch(data, capsys):
    bv.fit(*pair(data), data, epochs=2, batch_size=16, progress="lines")
    lines = capsys.readouterr().err.splitlines()
    threads = torch.get_num_threads()
    assert lines[0] == f"training on cpu ({threads} thread{'s' * (threads != 1)}), precision 32"
    assert lines[1].startswith("training 8 parameters: model.decoder.0.weight")
    assert lines[2].startswith("epoch 1/2  train ELBO ")
    assert lines[3].startswith("epoch 2/2  train ELBO ")


def test_unknown_progress_style(data):
    with pytest.raises(SettingsError, match="progress must be 'auto', 'bar', 'lines' or 'none', got 'loud'"):
        bv.fit(*pair(data), data, progress="loud")


def test_modes_after_training_are_evaluation(data):
    model, guide = pair(data)
    fit(model, guide, data)
    assert not model.training
    assert not guide.training


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"kl_weight": -1.0}, "kl_weight must be at least 0"),
        ({"learning_rate": 0.0}, "0 < final_learning_rate <= learning_rate"),
        ({"final_learning_rate": 0.1}, "0 < final_learning_rate <= learning_rate"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(SettingsError, match=message):
        TrainingSettings(**settings)
