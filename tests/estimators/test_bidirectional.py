"""Forward and reverse annealing: a sandwich that closes."""

import pyro
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import NotDefinedError, SettingsError
from bayes_vae.estimators.simulation import simulate
from bayes_vae.guides import ExactLinearGaussianGuide


@pytest.mark.parametrize(("start", "num_temperatures"), [("guide", 60), ("prior", 200)])
def test_sandwich_closes_on_the_exact_value(linear_gaussian, rescaled_guide, start, num_temperatures):
    """Under 0.1 nat, at 60 temperatures from the guide and 200 from the prior, with 4 chains each way."""
    model, _ = linear_gaussian
    guide = rescaled_guide(model, 1.2) if start == "guide" else None
    bounds = bv.bidirectional_bounds(model, guide, num_observations=300, num_temperatures=num_temperatures)
    truth = model.log_evidence(bounds.observations).detach()
    below, above = truth - bounds.lower, bounds.upper - truth
    for error in (below, above):  # each bound may miss by chance, but not in the mean
        assert error.mean() > -4.9 * error.std() / 300**0.5
    assert bounds.averages()["gap"].value < 0.1


def test_coarse_annealing_leaves_a_gap_on_both_sides(linear_gaussian, rescaled_guide):
    """With few temperatures the bounds stand apart, the exact value between them: neither sign is flipped."""
    model, _ = linear_gaussian
    bounds = bv.bidirectional_bounds(model, None, num_observations=400, num_temperatures=3, num_chains=1)
    truth = model.log_evidence(bounds.observations).detach()
    for error in (truth - bounds.lower, bounds.upper - truth):
        assert error.mean() > 4.9 * error.std() / 400**0.5


def test_reverse_mean_weight_is_unbiased_for_one_over_the_evidence(linear_gaussian, rescaled_guide, within):
    model, _ = linear_gaussian
    bounds = bv.bidirectional_bounds(
        model, rescaled_guide(model, 1.2), num_observations=2000, num_temperatures=12, num_chains=1, num_leapfrog=2
    )
    ratio = (model.log_evidence(bounds.observations).detach() - bounds.upper).exp()
    within(ratio.mean(), 1.0, ratio.std() / len(ratio) ** 0.5)


def test_exact_guide_has_a_small_gap(linear_gaussian):
    model, _ = linear_gaussian
    bounds = bv.bidirectional_bounds(model, ExactLinearGaussianGuide(model), num_observations=50, num_temperatures=50)
    assert bounds.gap.abs().mean() < 0.2
    assert bounds.provenance.data_policy == "simulated"


def test_the_smallest_numbers(linear_gaussian):
    """One observation, one chain, and one temperature: plain importance sampling from the prior, each way."""
    model, _ = linear_gaussian
    numbers = {"num_observations": 1, "num_chains": 1, "num_temperatures": 1, "num_leapfrog": 1}
    bounds = bv.bidirectional_bounds(model, None, **numbers, seed=5)
    assert bounds.lower.shape == bounds.upper.shape == (1,)
    assert (bounds.num_temperatures, bounds.num_chains) == (1, 1)
    latents, (x,) = simulate(model, 1, 5, "bidirectional_bounds", "")
    torch.testing.assert_close(bounds.observations, x, rtol=0, atol=0)
    exact = model.likelihood(latents["z"]).log_prob(x).double()
    torch.testing.assert_close(bounds.upper, exact, rtol=1e-10, atol=1e-10)


def test_programs_that_cannot_be_simulated_are_refused():
    def program(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", pyro.distributions.Normal(torch.zeros(len(x)), 1.0))
            pyro.sample("x", pyro.distributions.Normal(z, 1.0), obs=x)

    with pytest.raises(NotDefinedError, match=r"needs one with prior\(\) and likelihood\(z\)"):
        bv.bidirectional_bounds(program)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_observations": 0}, "num_observations must be a whole number of at least 1, got 0"),
        ({"num_observations": 1.5}, "num_observations must be a whole number of at least 1, got 1.5"),
        ({"num_chains": 0}, "num_chains must be a whole number of at least 1, got 0"),
        ({"schedule": "cubic"}, "schedule must be 'linear', 'sigmoid' or 'adaptive', got 'cubic'"),
    ],
)
def test_settings_are_checked(linear_gaussian, settings, message):
    with pytest.raises(SettingsError, match=message):
        bv.bidirectional_bounds(linear_gaussian[0], **settings)
