"""Long sweeps over every estimator of log p(x), run by `make test-statistical`."""

import math
from statistics import NormalDist

import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae.distributions import diagonal_normal
from bayes_vae.guides import SingleLatentGuide
from bayes_vae.models import VAE

pytestmark = pytest.mark.statistical

NOMINAL = 1.959964


class WideGuide(SingleLatentGuide):
    """A little wider than the prior, and blind to x: bounded weights on any likelihood of pixels."""

    def variational_posterior(self, x):
        zeros = torch.zeros(len(x), 2, dtype=torch.float64)
        return diagonal_normal(zeros, torch.full_like(zeros, 1.1))


class StretchedPosterior(SingleLatentGuide):
    """The exact posterior, its deviations times s: with two latents the weights are Pareto with index 1 − s²."""

    def __init__(self, model, factor):
        super().__init__()
        self._model, self.factor = (model,), factor

    def variational_posterior(self, x):
        exact = self._model[0].exact_posterior(x)
        return dist.MultivariateNormal(exact.loc, scale_tril=self.factor * exact.scale_tril, validate_args=False)


@pytest.fixture(scope="module", params=["linear-Gaussian", "tanh decoder"])
def known(request, linear_gaussian, rescaled_guide, isolated_globals):
    """A model, a guide wider than its posterior, one observation, and its log p(x)."""
    if request.param == "linear-Gaussian":
        model, x = linear_gaussian
        return model, rescaled_guide(model, 1.8), x[:1], model.log_evidence(x[:1]).detach()
    with isolated_globals(seed=5):
        model = VAE(latent_dim=2, data_shape=(6,), hidden_dims=(8,)).double()
        with torch.no_grad():
            for parameter in model.decoder.parameters():
                parameter.mul_(1.5)
    guide, x = WideGuide(), model.sample(1, seed=1)
    exact = bv.quadrature_log_evidence(model, guide, x, method="grid", tolerance=1e-8)
    assert exact.converged.all()
    return model, guide, x, exact.log_evidence


def importance(replicates, num_particles, **settings):
    """How one estimator runs: number of replicates, and the function that makes them."""

    def estimate(model, guide, copies):
        return bv.estimate_log_evidence(model, guide, copies, num_particles, **settings).log_evidence

    return replicates, estimate


def annealed(replicates, start, **settings):
    def estimate(model, guide, copies):
        return bv.annealed_log_evidence(model, guide, copies, start=start, num_leapfrog=2, **settings).log_evidence

    return replicates, estimate


ESTIMATORS = {
    "importance": importance(40_000, 3),
    "pilot-adapted": importance(4000, 1024, tolerance=0.05),
    "normal": importance(2000, 2, proposal="normal"),
    "full_covariance": importance(2000, 2, proposal="full_covariance"),
    "student_t": importance(2000, 2, proposal="student_t"),
    "pilot-adapted student_t": importance(1500, 512, proposal="student_t", tolerance=0.02),
    "annealed from the guide": annealed(10_000, "guide", num_temperatures=5, num_chains=2),
    "annealed from the prior": annealed(10_000, "prior", num_temperatures=5, num_chains=2),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_exp_of_the_estimate_is_unbiased(known, within, name):
    model, guide, x, truth = known
    replicates, estimate = ESTIMATORS[name]
    ratio = (estimate(model, guide, x.repeat(replicates, *[1] * (x.dim() - 1))) - truth).exp()
    within(ratio.mean(), 1.0, ratio.std() / replicates**0.5 + 1e-8)


@pytest.mark.parametrize("tail_index", [0.1, 0.2, 0.28])
def test_errors_cover_where_the_tail_index_is_below_three_tenths(linear_gaussian, tail_index):
    """A third moment of the weights, and K = 1,000, are what the delta method needs here."""
    model, x = linear_gaussian
    copies, truth = x[:1].repeat(4000, 1), model.log_evidence(x[:1]).detach()
    estimate = bv.estimate_log_evidence(model, StretchedPosterior(model, math.sqrt(1 - tail_index)), copies, 1000)
    assert estimate.converged.double().mean() > 0.99
    stated = (1 / estimate.effective_sample_size - 1 / 1000).sqrt()
    covered = ((estimate.log_evidence - truth).abs() <= NOMINAL * stated).double().mean()
    assert 0.935 <= covered <= 0.965


def test_annealed_errors_cover_with_64_chains(linear_gaussian):
    model, x = linear_gaussian
    copies, truth = x[:1].repeat(4000, 1), model.log_evidence(x[:1]).detach()
    guide = StretchedPosterior(model, 1.5)
    estimate = bv.annealed_log_evidence(model, guide, copies, num_temperatures=10, num_chains=64, num_leapfrog=2)
    covered = ((estimate.log_evidence - truth).abs() <= NOMINAL * estimate.standard_error).double().mean()
    assert 0.935 <= covered <= 0.965


@pytest.mark.parametrize(("start", "num_temperatures"), [("guide", 60), ("prior", 200)])
def test_the_sandwich_closes_and_contains_the_exact_value(linear_gaussian, start, num_temperatures, within):
    """Under 0.1 nat at 4 chains each way and 5 leapfrog steps: 60 temperatures from the guide, 200 from the prior."""
    model, _ = linear_gaussian
    guide = StretchedPosterior(model, 1.5) if start == "guide" else None
    bounds = bv.bidirectional_bounds(model, guide, num_observations=1000, num_temperatures=num_temperatures)
    truth = model.log_evidence(bounds.observations).detach()
    for miss in (truth - bounds.lower, bounds.upper - truth):
        assert miss.mean() > -4.9 * miss.std() / 1000**0.5
        assert miss.mean() < 0.05
    assert -0.01 < bounds.averages()["gap"].value < 0.1
    for ratio in ((bounds.lower - truth).exp(), (truth - bounds.upper).exp()):
        within(ratio.mean(), 1.0, ratio.std() / 1000**0.5)


@pytest.mark.parametrize("factor", [0.15, 0.3])
def test_a_narrow_guide_is_flagged_and_not_averaged_in_silence(linear_gaussian, factor):
    """Tail indices k of 0.98 and 0.91: as many are flagged as they should be, and the average states no error.

    From the largest 3 √K = 212 weights the deviation of k̂ is about (1 + k) / √212 (Hosking, Wallis 1987), so it exceeds
    0.7 for 98 % and 95 % of the observations.
    """
    tail_index = 1 - factor**2
    expected = NormalDist().cdf((tail_index - 0.7) * math.sqrt(212) / (1 + tail_index))
    model, x = linear_gaussian
    estimate = bv.estimate_log_evidence(model, StretchedPosterior(model, factor), x[:1].repeat(300, 1), 5000)
    flagged = ~estimate.converged
    assert flagged.double().mean() > expected - 4.9 * math.sqrt(expected * (1 - expected) / 300)
    assert torch.equal(estimate.standard_error.isnan(), flagged)
    average = estimate.averages()["log_evidence"]
    assert math.isnan(average.monte_carlo_error)
    assert f"lower bound, not converged: k̂ above 0.70 for {int(flagged.sum())} of 300" in str(average.reading)
