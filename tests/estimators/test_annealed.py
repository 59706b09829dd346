"""Annealed importance sampling against exact evidence."""

import math
from itertools import pairwise

import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae import reference
from bayes_vae.errors import NotDefinedError, SettingsError
from bayes_vae.estimators.annealing.temperatures import inverse_temperatures
from bayes_vae.guides import ExactLinearGaussianGuide

SOURCES = ("distributions", "traces")


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("factor", [0.7, 1.5, None])
def test_estimate_is_within_its_error(linear_gaussian, rescaled_guide, within, source, factor):
    """From a guide that is too narrow, one that is too wide, and from the prior."""
    model, x = linear_gaussian
    guide, start = (None, "prior") if factor is None else (rescaled_guide(model, factor), "guide")
    settings = {"start": start, "num_temperatures": 60, "num_chains": 64, "source": source}
    estimate = bv.annealed_log_evidence(model, guide, x, **settings)
    within(estimate.log_evidence, model.log_evidence(x), estimate.standard_error)
    assert estimate.estimator == f"annealed from the {start}"
    assert (estimate.acceptance > 0.6).all()


@pytest.mark.parametrize("schedule", ["linear", "sigmoid", "adaptive"])
def test_nonlinear_model_against_the_grid(small_vae, within, schedule):
    model, guide, x = small_vae
    decoder = lambda z: model.decoder(z).detach()  # noqa: E731
    truth = torch.tensor([reference.log_evidence_by_grid(row, decoder) for row in x.flatten(1)])
    for start in ("guide", "prior"):
        estimate = bv.annealed_log_evidence(
            model, guide, x, start=start, num_temperatures=40, num_chains=64, schedule=schedule
        )
        within(estimate.log_evidence, truth, estimate.standard_error)


@pytest.mark.parametrize("start", ["guide", "prior"])
def test_a_likelihood_that_does_not_use_z_is_its_own_evidence(within, start):
    """As after posterior collapse; its gradient is zero then, and from the prior every weight the same."""
    x = torch.tensor([[0.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    likelihood = dist.Bernoulli(torch.tensor([0.3, 0.6, 0.9])).to_event(1)

    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", likelihood, obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))

    estimate = bv.annealed_log_evidence(model, guide, x, start=start, num_temperatures=8, num_chains=8)
    truth = likelihood.log_prob(x).double()
    if start == "guide":
        within(estimate.log_evidence, truth, estimate.standard_error)
    else:
        torch.testing.assert_close(estimate.log_evidence, truth, rtol=0, atol=1e-5)


@pytest.mark.parametrize("settings", [{"refine": False}, {"schedule": "adaptive"}])
@pytest.mark.parametrize("start", ["guide", "prior"])
def test_mean_weight_is_unbiased(linear_gaussian, rescaled_guide, within, start, settings):
    """exp(estimate) of many short annealings averages to p(x), the pilot's tuning included."""
    model, x = linear_gaussian
    guide = rescaled_guide(model, 1.0)
    copies, truth = x[:1].repeat(3000, 1), model.log_evidence(x[:1]).detach()
    estimate = bv.annealed_log_evidence(
        model, guide, copies, start=start, num_temperatures=12, num_chains=1, num_leapfrog=2, **settings
    )
    ratio = (estimate.log_evidence - truth).exp()
    within(ratio.mean(), 1.0, ratio.std() / len(ratio) ** 0.5)
    short = truth - estimate.log_evidence
    assert short.mean() > -4.9 * short.std() / len(short) ** 0.5
    assert estimate.standard_error.isnan().all()


def test_finer_annealing_spreads_less(linear_gaussian, rescaled_guide):
    model, x = linear_gaussian
    spreads = [
        bv.annealed_log_evidence(model, rescaled_guide(model, 1.5), x, num_temperatures=t, num_chains=32, refine=False)
        .spread.mean()
        .item()
        for t in (4, 16, 64)
    ]
    assert spreads[0] > spreads[1] > spreads[2]


@pytest.mark.parametrize("source", SOURCES)
def test_result_does_not_depend_on_the_batch(small_vae, source):
    model, guide, x = small_vae
    whole = bv.annealed_log_evidence(model, guide, x, num_temperatures=10, source=source)
    rows = torch.tensor([3, 1])
    some = bv.annealed_log_evidence(model, guide, x[rows], num_temperatures=10, index=rows, source=source)
    torch.testing.assert_close(some.log_evidence, whole.log_evidence[rows], rtol=0, atol=1e-9)


def test_sources_agree(small_vae):
    model, guide, x = small_vae
    first, second = (
        bv.annealed_log_evidence(model, guide, x, num_temperatures=10, source=source).log_weights for source in SOURCES
    )
    torch.testing.assert_close(first, second, rtol=0, atol=1e-9)


def test_tolerance_doubles_until_levels_agree(linear_gaussian, rescaled_guide):
    model, x = linear_gaussian
    guide = rescaled_guide(model, 1.5)
    estimate = bv.annealed_log_evidence(model, guide, x, num_temperatures=2, num_chains=16, tolerance=0.05)
    assert estimate.num_temperatures >= 4
    assert abs(estimate.doubling_step.mean()) <= 0.05
    fixed, half = (
        bv.annealed_log_evidence(model, guide, x, num_temperatures=estimate.num_temperatures // part, num_chains=16)
        for part in (1, 2)
    )
    assert torch.equal(estimate.log_weights, fixed.log_weights)
    assert not torch.isclose(estimate.doubling_step, fixed.log_evidence - half.log_evidence).any()
    once = bv.annealed_log_evidence(model, guide, x, num_temperatures=2)
    assert once.doubling_step.isnan().all()


@pytest.mark.parametrize("from_guide", [True, False])
def test_several_sites_and_constrained_supports(gamma_poisson, within, from_guide):
    model, guide, x, truth = gamma_poisson
    start = "guide" if from_guide else "prior"
    estimate = bv.annealed_log_evidence(model, guide, x, start=start, num_temperatures=60, num_chains=64)
    within(estimate.log_evidence, truth, estimate.standard_error)


def test_discrete_latents_are_refused():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(torch.full((len(x),), 0.3)))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(torch.full((len(x),), 0.5)))

    with pytest.raises(NotDefinedError, match="latent site 'z' is discrete: annealing moves along gradients"):
        bv.annealed_log_evidence(model, guide, torch.zeros(3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_temperatures": 0}, "num_temperatures must be a whole number of at least 1, got 0"),
        ({"num_temperatures": 2.5}, "num_temperatures must be a whole number of at least 1, got 2.5"),
        ({"num_chains": 0}, "num_chains must be a whole number of at least 1"),
        ({"schedule": "cubic"}, "schedule must be 'linear', 'sigmoid' or 'adaptive', got 'cubic'"),
        ({"tolerance": 0.0}, "tolerance must be positive, in nats, got 0"),
        ({"tolerance": math.nan}, "tolerance must be positive, in nats, got nan"),
    ],
)
def test_settings_are_checked(linear_gaussian, settings, message):
    model, x = linear_gaussian
    with pytest.raises(SettingsError, match=message):
        bv.annealed_log_evidence(model, ExactLinearGaussianGuide(model), x, **settings)


@pytest.mark.parametrize("schedule", ["linear", "sigmoid"])
def test_schedules_rise_from_zero_to_one(schedule):
    betas = inverse_temperatures(10, schedule).tolist()
    assert len(betas) == 11
    assert betas[0] == 0
    assert betas[-1] == pytest.approx(1)
    assert all(low < high for low, high in pairwise(betas))
    assert [1 - beta for beta in reversed(betas)] == pytest.approx(betas)
