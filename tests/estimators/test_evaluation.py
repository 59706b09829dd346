"""Every term of Bayes' rule in one call."""

import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae.estimators.rungs import quadrature_rung
from bayes_vae.guides import ExactLinearGaussianGuide

K = 200


@pytest.fixture
def without_quadrature(monkeypatch):
    """As with more than two latent dimensions: annealing leads."""
    monkeypatch.setattr(quadrature_rung, "MOST_DIMENSIONS", 0)


@pytest.mark.usefixtures("without_quadrature")
@pytest.mark.parametrize("source", ["distributions", "traces"])
def test_one_pass_gives_what_the_estimators_give(small_vae, source):
    shared = {"seed": 4, "source": source}
    result = bv.evaluate(*small_vae, K, num_temperatures=10, **shared)
    terms = bv.elbo_terms(*small_vae, K, **shared)
    bound = bv.estimate_log_evidence(*small_vae, K, **shared)
    model, guide, x = small_vae
    annealed = bv.annealed_log_evidence(model, guide, x, num_temperatures=10, **shared)
    for name in ("expected_log_likelihood", "kl_to_prior", "elbo", "elbo_error", "kl_per_dimension"):
        if name == "kl_per_dimension" and source == "traces":
            continue
        torch.testing.assert_close(getattr(result.terms, name), getattr(terms, name), rtol=0, atol=0)
    torch.testing.assert_close(result.bound.log_evidence, bound.log_evidence, rtol=0, atol=0)
    torch.testing.assert_close(result.bound.pareto_k, bound.pareto_k, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(result.log_evidence, annealed.log_evidence, rtol=0, atol=0)
    assert result.terms.kl == terms.kl
    assert result.estimator == "annealed from the guide, 10 temperatures"


def test_the_gap_is_the_divergence_from_the_exact_posterior(linear_gaussian, rescaled_guide, within):
    """log p(x) − ELBO = KL(q to p(z given x)), which two normals have in closed form."""
    model, x = linear_gaussian
    guide = rescaled_guide(model, 1.5)
    result = bv.evaluate(model, guide, x, 2000, num_temperatures=60, seed=1)
    exact = torch.distributions.kl_divergence(
        guide.variational_posterior(x), ExactLinearGaussianGuide(model).variational_posterior(x)
    )
    assert result.leading.name == "exact"
    within(result.inference_gap, exact.detach().double(), result.terms.elbo_error)
    averages = result.averages()
    assert averages["inference_gap"].value == pytest.approx(
        averages["log_evidence"].value - averages["elbo"].value, abs=1e-9
    )
    names = ["expected_log_likelihood", "kl_to_prior", "elbo", "importance_weighted_bound", "log_evidence"]
    assert list(averages) == [*names, "inference_gap"]


@pytest.mark.usefixtures("without_quadrature")
def test_every_average_of_a_log_mean_weight_has_its_bias(gamma_poisson):
    """Half the squared error of each observation, which their number does not make smaller."""
    model, guide, x, _ = gamma_poisson
    result = bv.evaluate(model, guide, x, 100, num_temperatures=20)
    bound, annealed = result.bound.standard_error, result.annealed.standard_error
    errors = {
        "importance_weighted_bound": (bound, bound),
        "log_evidence": (annealed, annealed),
        "inference_gap": (torch.hypot(annealed, result.terms.elbo_error), annealed),
    }
    for name, (error, of_log_mean) in errors.items():
        alone = error.square().sum().sqrt() / len(x)
        expected = torch.hypot(alone, of_log_mean.square().mean() / 2)
        assert expected > (1 + 1e-8) * alone, "the bias is seen"
        assert result.averages()[name].monte_carlo_error == pytest.approx(expected.item(), rel=1e-10)
    averages = result.annealed.averages()
    assert averages["log_evidence"].monte_carlo_error == result.averages()["log_evidence"].monte_carlo_error


@pytest.mark.usefixtures("without_quadrature")
def test_without_temperatures_the_bound_leads(small_vae):
    result = bv.evaluate(*small_vae, K, num_temperatures=0)
    assert result.annealed is None
    assert result.why_not_annealed == "not annealed: num_temperatures is 0"
    assert result.log_evidence is result.bound.log_evidence
    assert result.estimator == "importance"


def test_a_discrete_latent_leaves_annealing_out_and_says_so():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(0.3))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(torch.full((len(x),), 0.4)))

    result = bv.evaluate(model, guide, torch.tensor([0.1, 0.9]), K)
    assert result.annealed is None
    assert result.why_not_annealed == "not annealed: annealing moves along gradients, and 'z' is discrete"
