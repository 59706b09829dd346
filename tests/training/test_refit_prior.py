"""A better prior for a trained pair, on linear-Gaussian pairs whose log p(x) is known under any normal prior."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

import bayes_vae as bv
from bayes_vae.errors import DataError, NumericalError, ProgramError, RunError, SettingsError
from bayes_vae.estimators.contenders import Contender
from bayes_vae.guides import AmortizedNormalGuide, LocalNormalGuide, PriorGuide
from bayes_vae.models import VAE, LinearGaussianVAE
from bayes_vae.training.refitted_prior import NEW, OLD
from bayes_vae.vocabulary.readings import Reading

WEIGHT = torch.tensor([[1.0, 0.5], [-0.5, 1.0], [0.3, 0.8], [0.9, -0.2]])
NOISE = 0.4
QUICK = {"num_particles": 20, "num_temperatures": 0, "num_observations": 60, "epochs": 30}
"""Of two latents quadrature gives log p(x), and nothing needs annealing."""


class Decoder(nn.Module):
    """x = W z."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(WEIGHT.clone())

    def forward(self, z):
        return z @ self.weight.T


class Encoder(nn.Module):
    """Mean and log deviation of the exact posterior under N(0, 1), its correlations left out."""

    def __init__(self):
        super().__init__()
        precision = torch.eye(2) + WEIGHT.T @ WEIGHT / NOISE**2
        self.gain = nn.Parameter(precision.inverse() @ WEIGHT.T / NOISE**2)
        self.log_scale = nn.Parameter(-0.5 * precision.diagonal().log())

    def forward(self, x):
        return x @ self.gain.T, self.log_scale.expand(len(x), 2)


@pytest.fixture(scope="module")
def linear_pair():
    """A pair whose prior, N(0, 1), is wrong for its data: z is N((2, −1), diag(0.5, 1.5)²)."""
    return bv.pair_from_networks(
        Encoder(),
        Decoder(),
        likelihood={"name": "normal", "scale": NOISE},
        encoder_output="loc-and-log-scale",
        decoder_output="mean",
        latent_dim=2,
        data_shape=(4,),
    )


TRUE_MEAN, TRUE_SCALE = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 1.5])


@pytest.fixture(scope="module")
def linear_data():
    """Rows of the linear model under the true prior."""
    noise = torch.Generator().manual_seed(7)
    z = TRUE_MEAN + TRUE_SCALE * torch.randn(1500, 2, generator=noise)
    x = z @ WEIGHT.T + NOISE * torch.randn(1500, 4, generator=noise)
    return bv.load_data(x.numpy(), kind="real")


def exact(x, mean, variance):
    """log p(x) under a normal prior, shape (N,)."""
    covariance = WEIGHT @ torch.diag(variance) @ WEIGHT.T + NOISE**2 * torch.eye(4)
    return MultivariateNormal(WEIGHT @ mean, covariance).log_prob(x)


@pytest.fixture(scope="module")
def refitted(linear_pair, linear_data):
    return bv.refit_prior(*linear_pair, linear_data, {"name": "mixture", "num_components": 1}, **QUICK)


def test_one_component_comes_to_the_moments_of_the_codes(refitted, linear_pair, linear_data):
    """The maximum of E_q log N(z; m, s²) is known: the mean of q's means, and their variance plus that of q."""
    means, scale = Encoder()(linear_data.train.observations())[0], Encoder().log_scale.exp()
    variance = means.var(0) + scale.square()
    component = refitted.new_model.prior().components
    error = (variance / len(means)).sqrt()
    assert ((component.mean[0] - means.mean(0)).abs() < 3 * error).all()
    torch.testing.assert_close(component.variance[0].sqrt(), variance.sqrt(), rtol=0.08, atol=0)


def test_log_evidence_before_and_after_is_the_closed_one(refitted, linear_data, within):
    """Under the wrong prior, under the fitted one, and their difference, observation by observation."""
    x = linear_data.test[: QUICK["num_observations"]].observations()
    component = refitted.new_model.prior().components
    truths = {
        OLD: exact(x, torch.zeros(2), torch.ones(2)),
        NEW: exact(x, component.mean[0].detach(), component.variance[0].detach()),
    }
    found = {each.name: each for each in refitted.comparison.contenders}
    for name, truth in truths.items():
        within(found[name].average.value, float(truth.mean()), found[name].average.monte_carlo_error + 1e-4)
    rise = refitted.rise.average
    within(rise.value, float((truths[NEW] - truths[OLD]).mean()), rise.monte_carlo_error + 1e-4)
    best = exact(x, TRUE_MEAN, TRUE_SCALE.square()).mean()
    assert truths[OLD].mean() < truths[NEW].mean() < best + 0.1
    assert refitted.kept == "new"
    assert refitted.model is refitted.new_model
    assert "rose by" in refitted.sentence()


def test_the_marginal_kl_falls_by_what_the_elbo_rises(refitted, within):
    before, after = refitted.marginal_kl()
    rise = refitted.elbo_rise
    error = math.hypot(before.monte_carlo_error, after.monte_carlo_error, rise.monte_carlo_error)
    within(before.value - after.value, rise.value, error)
    assert after.value < 0.3 * before.value


def test_decoder_and_guide_stay_as_they_are(linear_pair, linear_data):
    model, guide = linear_pair
    before = {name: value.clone() for module in (model, guide) for name, value in module.state_dict().items()}
    found = bv.refit_prior(model, guide, linear_data, {"name": "mixture", "num_components": 2}, **QUICK)
    after = {name: value for module in (model, guide) for name, value in module.state_dict().items()}
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(weight.grad is None for module in (model, guide) for weight in module.parameters())
    assert found.old_model is model
    assert model.prior_family.name == "standard-normal"
    assert found.kept == "new"


def test_the_epoch_that_is_best_on_validation_rows_is_kept(refitted):
    history = refitted.fitted.history
    best = max(history, key=lambda row: row["validation_elbo"])
    assert refitted.fitted.best_epoch == best["epoch"]
    assert refitted.candidate.history is history
    for row in history:
        assert row["train_elbo"] == pytest.approx(row["train_expected_log_likelihood"] - row["train_kl_to_prior"])


def test_it_stops_when_validation_rows_gain_no_more(linear_pair, linear_data):
    settings = {**QUICK, "epochs": 400, "patience": 3, "learning_rate": 0.05}
    found = bv.refit_prior(*linear_pair, linear_data, "learned-normal", **settings)
    assert found.candidate.ending == "patience"
    assert len(found.fitted.history) - found.fitted.best_epoch == 3
    kept, last = found.new_model.prior_family.state_dict(), found.fitted.last_weights
    assert not any(torch.equal(kept[name], last[name]) for name in kept)


def test_the_same_seed_gives_the_same_prior(linear_pair, linear_data, refitted):
    again = bv.refit_prior(*linear_pair, linear_data, {"name": "mixture", "num_components": 1}, **QUICK)
    for name, value in refitted.new_model.prior_family.state_dict().items():
        assert torch.equal(value, again.new_model.prior_family.state_dict()[name])
    assert again.as_json()["log_evidence"] == refitted.as_json()["log_evidence"]


def test_a_right_prior_is_kept(linear_pair, linear_data):
    """A fit with far too large steps makes log p(x) fall: the old prior stays, and there is nothing to save."""
    good = bv.refit_prior(*linear_pair, linear_data, "learned-normal", **QUICK)
    rough = {**QUICK, "epochs": 1, "learning_rate": 1.0}
    worse = bv.refit_prior(good.model, good.guide, linear_data, "learned-normal", **rough)
    assert worse.rise.average.value < 0
    assert worse.kept == "old"
    assert worse.model is good.model
    assert worse.run is None
    assert "fell by" in worse.sentence()
    assert worse.sentence().lower().endswith("the old prior is kept.")


def contender(name, mean, reading):
    noise = 0.01 * torch.randn(100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Contender(name, torch.full((100,), mean, dtype=torch.float64) + noise, torch.full((100,), 0.1), reading)


SETTLED, OPEN = Reading("estimate"), Reading("lower_bound_not_converged", 5, 100)


@pytest.mark.parametrize(
    ("old", "new", "elbo", "kept", "words"),
    [
        ((-2.0, SETTLED), (-1.0, SETTLED), -1.0, "new", "rose by 1.0"),
        ((-2.0, SETTLED), (-1.0, OPEN), -1.0, "new", "rose by at least 1.0"),
        ((-1.0, SETTLED), (-2.0, SETTLED), 1.0, "old", "fell by 1.0"),
        ((-1.0, OPEN), (-2.0, SETTLED), 1.0, "old", "fell by 1.0"),
        ((-1.0, SETTLED), (-1.001, SETTLED), 1.0, "old", "no rise that can be told"),
        ((-1.001, SETTLED), (-1.0, SETTLED), 1.0, "old", "no rise that can be told"),
        ((-2.0, OPEN), (-1.0, SETTLED), 0.5, "new", "the ELBO decides: on the test rows it rose by 0.5"),
        ((-2.0, OPEN), (-1.0, SETTLED), -0.5, "old", "the ELBO decides: on the test rows it fell by 0.5"),
        ((-1.0, SETTLED), (-2.0, OPEN), 0.5, "new", "log p(x) under the new prior has not converged"),
    ],
)
def test_what_decides(refitted, old, new, elbo, kept, words):
    """log p(x) where its order can be stated, else the ELBO; a rise within its error is none."""
    contenders = sorted([contender(OLD, *old), contender(NEW, *new)], key=lambda each: -each.average.value)
    comparison = replace(refitted.comparison, contenders=tuple(contenders))
    ratios = torch.full((4, 100), elbo) + 0.01 * (torch.arange(4.0) - 1.5).unsqueeze(1)
    found = replace(refitted, comparison=comparison, log_prior_ratios=ratios)
    assert found.kept == kept
    assert words in found.sentence()
    assert found.sentence().lower().endswith(f"the {kept} prior is kept.")
    json.dumps(found.as_json())


@pytest.fixture(scope="module")
def digits_pair(isolated_globals):
    """A small pair, trained a little on the digits."""
    data = bv.load_data("digits")
    networks = {"latent_dim": 4, "data_shape": data.data_shape, "hidden_dims": (32,)}
    with isolated_globals(seed=0):
        model, guide = VAE(**networks), AmortizedNormalGuide(**networks)
    bv.fit(model, guide, data, epochs=4, progress="none")
    return model, guide, data


@pytest.mark.parametrize("prior", ["vamp", "flow"])
def test_the_run_is_loaded_again_with_its_new_prior(digits_pair, prior, tmp_path):
    model, guide, data = digits_pair
    settings = {"num_particles": 10, "num_temperatures": 0, "num_observations": 20, "epochs": 15}
    found = bv.refit_prior(model, guide, data, prior, **settings)
    bv.save(found.candidate, tmp_path / "run")
    loaded = bv.load(tmp_path / "run")
    assert loaded[0].prior_family.name == prior
    z = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(loaded[0].prior().log_prob(z), found.new_model.prior().log_prob(z))
    torch.testing.assert_close(loaded[0].likelihood(z).mean, model.likelihood(z).mean)
    assert found.candidate.parameter_names
    assert all(name.startswith("model.prior_family.") for name in found.candidate.parameter_names)
    with pytest.raises(RunError, match="holds no checkpoint to resume from"):
        bv.fit(*loaded, data, resume=tmp_path / "run", epochs=20)


def test_pseudo_inputs_keep_to_the_range_of_the_data(linear_pair, linear_data):
    """Of real values, whether the prior comes by its name or as a mapping."""
    for prior in ("vamp", {"name": "vamp", "num_components": 3}):
        found = bv.refit_prior(*linear_pair, linear_data, prior, num_components=3, **{**QUICK, "epochs": 1})
        assert found.new_model.prior_family.options == {"num_components": 3, "values": "real"}


def test_a_prior_with_nothing_to_fit_is_refused(digits_pair):
    with pytest.raises(SettingsError, match="'standard-normal' has nothing to fit: choose mixture, flow or vamp"):
        bv.refit_prior(*digits_pair, "standard-normal")


def test_an_unknown_prior_or_setting_is_refused(digits_pair):
    with pytest.raises(SettingsError, match="prior must be one of standard-normal, learned-normal, mixture"):
        bv.refit_prior(*digits_pair, "cauchy")
    with pytest.raises(SettingsError, match="refit_prior knows no setting 'steps': choose from prior, num_comp"):
        bv.refit_prior(*digits_pair, steps=3)


def test_models_whose_prior_is_no_part_are_refused(linear_data, isolated_globals):
    with isolated_globals(seed=0):
        model = LinearGaussianVAE(2, (4,))
    with pytest.raises(
        ProgramError, match="refit_prior replaces the prior of a model whose p\\(z\\) is a part by name"
    ):
        bv.refit_prior(model, lambda x: None, linear_data)


def test_guides_that_look_at_the_prior_are_refused(digits_pair):
    model, _, data = digits_pair
    local = LocalNormalGuide(num_observations=10, latent_dim=2)
    for guide in (PriorGuide(model), local):
        with pytest.raises(ProgramError, match="computes q\\(z given x\\) from the model's own prior"):
            bv.refit_prior(model, guide, data)


def test_data_without_validation_rows_are_refused(digits_pair):
    model, guide, data = digits_pair
    with pytest.raises(DataError, match="but there are no validation rows"):
        bv.refit_prior(model, guide, replace(data, validation=data.validation[:0]))


def test_a_fit_that_diverges_says_so(digits_pair, monkeypatch):
    model, guide, data = digits_pair
    with pytest.raises(NumericalError, match="of the new prior is .* at the codes of some rows: lower the learning"):
        bv.refit_prior(model, guide, data, "flow", learning_rate=1e30, epochs=5)
