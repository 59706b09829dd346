"""The rate–distortion curve of a fixed model, against the closed form of the linear-Gaussian one."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import NotDefinedError, SettingsError
from bayes_vae.estimators.rate_distortion_curve import RateDistortion
from bayes_vae.models import LinearGaussianVAE
from bayes_vae.terms import Provenance

BETAS = (0.05, 0.3, 1.0, 2.0)


def closed_form(model, x, beta):
    """Rate and distortion of p(z) p(x|z)^β / Z_β, each of shape (N,)."""
    weight, variance = model.weight.detach(), float((2 * model.log_scale.detach()).exp())
    centred = x.flatten(1) - model.bias.detach()
    size, count = weight.shape[1], weight.shape[0]
    precision = torch.eye(size, dtype=x.dtype) + beta / variance * weight.T @ weight
    covariance = precision.inverse()
    mean = beta / variance * centred @ weight @ covariance
    squares = (centred - mean @ weight.T).square().sum(-1) + (weight @ covariance @ weight.T).trace()
    distortion = squares / (2 * variance) + count / 2 * math.log(2 * math.pi * variance)
    rate = (covariance.trace() + mean.square().sum(-1) - size + precision.logdet()) / 2
    return rate, distortion


@pytest.mark.parametrize(("source", "betas", "temperatures"), [("distributions", BETAS, 100), ("traces", (0.3,), 40)])
def test_the_curve_is_the_closed_one(linear_gaussian, within, source, betas, temperatures):
    model, x = linear_gaussian
    found = bv.rate_distortion(model, None, x, betas, num_temperatures=temperatures, num_chains=32, source=source)
    assert found.betas.tolist() == [0, *betas]
    for number, beta in enumerate([0.0, *betas]):
        settled = found.converged[number]
        assert settled.double().mean() > 0.8
        rate, distortion = (part[settled] for part in closed_form(model, x, beta))
        within(found.rate[number][settled], rate, found.rate_error[number][settled] + 1e-9)
        within(found.distortion[number][settled], distortion, found.distortion_error[number][settled])


def test_rate_and_distortion_at_the_posterior_add_up_to_minus_log_evidence(linear_gaussian):
    model, x = linear_gaussian
    found = bv.rate_distortion(model, None, x, [1.0], num_temperatures=30)
    total = found.rate[-1] + found.distortion[-1]
    torch.testing.assert_close(total, -found.log_normalizer[-1])
    assert (found.rate[0] == 0).all()


@pytest.fixture(scope="module")
def many(isolated_globals):
    """A model of two latents, and 600 copies of one observation, whose chains are independent."""
    with isolated_globals(seed=3):
        model = LinearGaussianVAE(2, (5,), noise_scale=0.6).double()
    return model, model.sample(1, seed=1).expand(600, 5)


def test_the_means_have_no_bias_beyond_the_one_that_is_told(many):
    """Few chains: the mean over copies is off by the bias that the errors hold, to second order."""
    model, x = many
    found = bv.rate_distortion(model, None, x, (0.05, 0.15), num_temperatures=60, num_chains=8, num_leapfrog=3)
    for point in found.curve()[1:]:
        rate, distortion = (float(part[0]) for part in closed_form(model, x[:1], point.beta))
        for average, truth in ((point.rate, rate), (point.distortion, distortion)):
            assert abs(average.value - truth) <= 4.9 * average.monte_carlo_error, (point.beta, average.name)


def test_the_errors_cover(many):
    """Of 300 independent estimates about 95 % lie within two errors, whose size is that of the scatter."""
    model, x = many
    found = bv.rate_distortion(model, None, x[:300], BETAS[:3], num_temperatures=60, num_chains=16)
    for number, beta in enumerate(BETAS[:3], 1):
        settled = found.converged[number]
        assert settled.double().mean() > 0.7
        rate, distortion = closed_form(model, x[:1], beta)
        for name, truth in (("rate", rate), ("distortion", distortion)):
            errors = getattr(found, f"{name}_error")[number][settled]
            scores = (getattr(found, name)[number][settled] - truth) / errors
            assert (scores.abs() <= 2).double().mean() > 0.88, (beta, name)
            assert 0.7 < scores.square().mean().sqrt() < 1.35, (beta, name)


@pytest.fixture(scope="module")
def made_up():
    """Chains whose weights and likelihoods are drawn from a normal of known moments, at one β."""
    noise = torch.Generator().manual_seed(5)
    likelihood = -3 + torch.randn(1, 10, 40_000, generator=noise, dtype=torch.float64)
    weights = 0.3 * (likelihood + 3) + 0.2 * torch.randn(1, 10, 40_000, generator=noise, dtype=torch.float64)
    origin = Provenance(0, "distributions", "vectorized", "per observation")
    below, none = weights[:, :2] - 50, torch.zeros(1, 40_000)
    found = RateDistortion(
        torch.tensor([0.7], dtype=torch.float64), weights, likelihood, below, none.bool(), none, 50, origin
    )
    distortion = 3 - 0.3
    return found, {"distortion": distortion, "rate": -0.7 * distortion - (0.3**2 + 0.2**2) / 2}


@pytest.mark.parametrize("name", ["rate", "distortion"])
def test_the_bias_that_is_told_is_the_one_there_is(made_up, name):
    found, truth = made_up
    average = getattr(found.curve()[0], name)
    errors = getattr(found, f"{name}_error")[0]
    own = float(errors.square().sum().sqrt()) / len(errors)
    told = math.sqrt(average.monte_carlo_error**2 - own**2)
    assert abs(average.value - truth[name]) == pytest.approx(told, rel=0.25)
    assert (average.value > truth[name]) == (name == "distortion")


@pytest.mark.parametrize("name", ["rate", "distortion"])
def test_the_errors_are_those_of_the_scatter(made_up, name):
    """But for the factor (K + 1) / (K − 1) by which every log mean weight's error is widened."""
    found, _ = made_up
    widened = getattr(found, f"{name}_error")[0].square().mean().sqrt()
    assert widened * 9 / 11 == pytest.approx(float(getattr(found, name)[0].std()), rel=0.1)


def test_the_weights_count(many):
    """With three temperatures the states lag behind p_β: only their weights bring them there."""
    model, x = many
    found = bv.rate_distortion(model, None, x, [1.0], num_temperatures=3, num_chains=64, num_leapfrog=1)
    _, distortion = closed_form(model, x[:1], 1.0)
    weighted, plain = found.distortion[-1].mean(), -found.log_likelihood[-1].mean()
    assert abs(weighted - distortion) < 0.3 * abs(plain - distortion)


def test_a_cut_changes_nothing(linear_gaussian):
    model, x = linear_gaussian
    settings = {"num_temperatures": 12, "num_chains": 4}
    whole = bv.rate_distortion(model, None, x, [0.5], **settings)
    parts = bv.rate_distortion(model, None, x, [0.5], batch_size=3, **settings)
    torch.testing.assert_close(whole.rate, parts.rate)
    torch.testing.assert_close(whole.distortion, parts.distortion)


def test_few_steps_for_a_sharp_likelihood_read_as_not_converged(isolated_globals):
    with isolated_globals(seed=0):
        model = LinearGaussianVAE(4, (30,), noise_scale=0.02).double()
    x = model.sample(5, seed=0)
    found = bv.rate_distortion(model, None, x, [0.01, 1.0], num_temperatures=2)
    point = found.curve()[-1]
    assert "not converged: annealed chains disagree" in str(point.rate.reading)
    assert math.isnan(point.rate.monte_carlo_error)


def test_one_chain_has_no_error(linear_gaussian):
    model, x = linear_gaussian
    found = bv.rate_distortion(model, None, x, [1.0], num_temperatures=8, num_chains=1)
    assert found.rate_error.isnan().all()
    assert "the weight of one chain says nothing about its error" in str(found.curve()[1].distortion.reading)


def test_a_program_of_ones_own_needs_no_guide(within, isolated_globals):
    def model(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("code", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("obs", dist.Normal(torch.cat([z, z], -1), 0.5).to_event(1), obs=x)

    with isolated_globals(seed=0):
        same = LinearGaussianVAE(2, (4,), noise_scale=0.5).double()
    with torch.no_grad():
        same.weight.copy_(torch.eye(2).repeat(2, 1))
    x = same.sample(4, seed=2)
    found = bv.rate_distortion(model, None, x, [0.5], num_temperatures=100, num_chains=32)
    rate, distortion = closed_form(same, x, 0.5)
    within(found.rate[1], rate, found.rate_error[1])
    within(found.distortion[1], distortion, found.distortion_error[1])


@pytest.mark.parametrize("betas", [(), (0.0, 1.0), (1.0, 1.0), (float("inf"),), ("a",), None])
def test_other_betas_are_refused(linear_gaussian, betas):
    with pytest.raises(SettingsError, match="betas must be different finite numbers above 0"):
        bv.rate_distortion(linear_gaussian[0], None, linear_gaussian[1], betas)


def test_a_discrete_latent_is_refused():
    def model(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Bernoulli(x.new_tensor(0.5)))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    with pytest.raises(NotDefinedError, match="latent site 'z' is discrete"):
        bv.rate_distortion(model, None, torch.zeros(3))


def test_the_tables_name_rate_and_distortion_at_each_beta(linear_gaussian):
    model, x = linear_gaussian
    found = bv.rate_distortion(model, None, x, [0.5], num_temperatures=8)
    assert list(found.to_pandas().columns) == ["rate_0", "distortion_0", "rate_0.5", "distortion_0.5"]
    assert "rate at β = 0.5" in repr(found)
    assert [point["beta"] for point in found.as_json()] == [0.0, 0.5]


def needle(x):
    """A wide hill of p(x|z) at 0, and 20 nats above it a narrow one at 4 that draws of the prior do not come near."""
    with pyro.plate("rows", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
        height = torch.logaddexp(-0.5 * z**2, 20 - 0.5 * ((z - 4) / 0.05) ** 2)
        pyro.sample("x", dist.Exponential(height.exp()), obs=x)


def at_the_needle(x):
    with pyro.plate("rows", len(x)):
        pyro.sample("z", dist.Normal(x.new_full((len(x),), 4.0), 0.05))


def test_chains_that_agree_and_missed_most_of_the_posterior_are_found_out():
    """log p(x) is 9.0 by quadrature; the chains from the prior agree on −0.35."""
    x = torch.zeros(4, dtype=torch.float64)
    found = bv.rate_distortion(needle, at_the_needle, x, [0.05, 1.0], num_temperatures=40)
    z = torch.linspace(-8, 8, 100_001, dtype=torch.float64)
    height = torch.logaddexp(-0.5 * z**2, 20 - 0.5 * ((z - 4) / 0.05) ** 2)
    truth = (height - 0.5 * z**2 - 0.5 * math.log(2 * math.pi)).logsumexp(0) + math.log(16 / 100_000)
    assert truth == pytest.approx(9.0, abs=0.1)
    assert (found.log_weights[-1].std(0) < 0.5).all()
    assert (found.log_normalizer[-1] < truth - 9).all()
    assert found.converged.tolist() == [[True] * 4, [True] * 4, [False] * 4]
    assert found.rate_error[-1].isnan().all()
    assert found.distortion_error[-1].isnan().all()


def test_a_point_after_one_whose_chains_disagree_has_no_error(made_up):
    found, _ = made_up
    scattered = found.log_weights.clone()
    scattered[:, 0, ::2] += 5.0
    twice = RateDistortion(
        torch.tensor([0.3, 0.7], dtype=torch.float64),
        torch.cat([scattered, found.log_weights]),
        found.log_likelihood.repeat(2, 1, 1),
        found.check_log_weights.repeat(2, 1, 1),
        found.more_modes.repeat(2, 1),
        found.resolution.repeat(2, 1),
        50,
        found.provenance,
    )
    assert not twice.converged[:, ::2].any()
    assert twice.converged[:, 1::2].all()


def test_a_likelihood_sharper_than_its_floats_has_no_error(made_up):
    found, _ = made_up
    sharp = RateDistortion(**{**vars(found), "resolution": torch.ones_like(found.resolution)})
    point = sharp.curve()[0]
    assert math.isnan(point.rate.monte_carlo_error)
    assert "too sharp for its floats" in str(point.rate.reading)


def test_few_chains_that_scatter_have_no_error():
    """Their log weights are off by 3 nats each, and some sets of eight look alike by chance: hardly any may pass."""
    noise = torch.Generator().manual_seed(0)
    weights = 3 * torch.randn(1, 8, 5_000, generator=noise, dtype=torch.float64)
    none = torch.zeros(1, 5_000)
    origin = Provenance(0, "distributions", "vectorized", "per observation")
    beta = torch.tensor([1.0], dtype=torch.float64)
    found = RateDistortion(beta, weights, weights, weights[:, :4] - 99, none.bool(), none, 50, origin)
    assert found.converged.double().mean() < 0.04


def test_of_a_sharp_likelihood_hardly_any_observation_passes_by_chance(isolated_globals):
    """By the error of Z alone 13 of 100 passed at these β, with figures off by five errors in the root mean square."""
    with isolated_globals(seed=0):
        model = LinearGaussianVAE(4, (30,), noise_scale=0.1).double()
    x = model.sample(60, seed=1)
    found = bv.rate_distortion(model, None, x, [0.1, 1.0], num_temperatures=50, num_leapfrog=3)
    assert found.converged[0].all()
    assert found.converged[1:].double().mean() < 0.03
