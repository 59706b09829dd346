"""The sharpest tests there are: cases where the truth is known exactly."""

import math

import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import NotDefinedError
from bayes_vae.guides import ExactLinearGaussianGuide

SOURCES = ("distributions", "traces")


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("num_particles", [1, 7, 100])
def test_exact_guide_makes_every_weight_log_evidence(linear_gaussian, source, num_particles):
    model, x = linear_gaussian
    guide = ExactLinearGaussianGuide(model)
    terms = bv.log_terms(model, guide, x, num_particles, source=source)
    truth = model.log_evidence(x).detach()
    assert terms.log_importance_weights.shape == (num_particles, len(x))
    torch.testing.assert_close(terms.log_importance_weights, truth.expand(num_particles, -1), rtol=0, atol=1e-9)
    estimate = bv.estimate_log_evidence(model, guide, x, num_particles, source=source)
    torch.testing.assert_close(estimate.log_evidence, truth, rtol=0, atol=1e-9)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kl", ["analytic", "sampled"])
def test_exact_guide_has_no_gap(linear_gaussian, within, source, kl):
    model, x = linear_gaussian
    terms = bv.elbo_terms(model, ExactLinearGaussianGuide(model), x, 400, kl=kl, source=source)
    within(terms.elbo, model.log_evidence(x), terms.elbo_error + 1e-12)
    if kl == "sampled":  # likelihood and KL fluctuate together: their difference does not fluctuate at all
        torch.testing.assert_close(terms.elbo, model.log_evidence(x).detach(), rtol=0, atol=1e-9)
        assert (terms.elbo_error < 1e-9).all()


def test_elbo_plus_kl_to_the_exact_posterior_is_log_evidence(linear_gaussian, rescaled_guide):
    model, x = linear_gaussian
    for factor in (0.5, 1.0, 1.7):
        q = rescaled_guide(model, factor).variational_posterior(x)
        exact = model.exact_posterior(x)
        full = torch.distributions.MultivariateNormal(q.mean, torch.diag_embed(q.variance))
        gap = torch.distributions.kl_divergence(full, exact)
        torch.testing.assert_close(model.elbo(x, q) + gap, model.log_evidence(x), rtol=0, atol=1e-8)
        assert (gap > 0).all()


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kl", ["analytic", "sampled"])
def test_estimated_elbo_is_the_closed_form(linear_gaussian, rescaled_guide, within, source, kl):
    model, x = linear_gaussian
    guide = rescaled_guide(model, 1.3)
    terms = bv.elbo_terms(model, guide, x, 500, kl=kl, source=source)
    assert terms.kl == kl
    within(terms.elbo, model.elbo(x, guide.variational_posterior(x)), terms.elbo_error)
    average = terms.averages()["elbo"]
    within(average.value, model.elbo(x, guide.variational_posterior(x)).mean(), average.monte_carlo_error)


@pytest.mark.parametrize("source", SOURCES)
def test_kl_per_dimension_sums_to_the_kl(linear_gaussian, rescaled_guide, source):
    model, x = linear_gaussian
    terms = bv.elbo_terms(model, rescaled_guide(model, 1.3), x, 2, source=source)
    assert terms.kl_per_dimension.shape == (len(x), 2)
    torch.testing.assert_close(terms.kl_per_dimension.sum(1), terms.kl_to_prior)


@pytest.mark.parametrize("source", SOURCES)
def test_kl_per_dimension_of_a_full_covariance_is_refused(linear_gaussian, source):
    model, x = linear_gaussian
    terms = bv.elbo_terms(model, ExactLinearGaussianGuide(model), x, 2, source=source)
    with pytest.raises(NotDefinedError, match="factorize into normals, but the variational posterior"):
        _ = terms.kl_per_dimension


def test_importance_estimate_within_its_error(linear_gaussian, rescaled_guide, within):
    model, x = linear_gaussian
    estimate = bv.estimate_log_evidence(model, rescaled_guide(model, 1.8), x, 4000)
    assert estimate.converged.all()
    within(estimate.log_evidence, model.log_evidence(x), estimate.standard_error)


def test_error_falls_at_the_promised_rate(linear_gaussian, rescaled_guide):
    """Root-mean-square errors of 200 replicates at K and 16 K stand in the ratio 4, and match the stated ones."""
    model, x = linear_gaussian
    guide = rescaled_guide(model, 1.8)
    copies, truth = x[:1].repeat(200, 1), model.log_evidence(x[:1]).detach()
    errors = []
    for num_particles in (100, 1600):
        estimate = bv.estimate_log_evidence(model, guide, copies, num_particles)
        actual = (estimate.log_evidence - truth).square().mean().sqrt()
        stated = (1 / estimate.effective_sample_size - 1 / num_particles).mean().sqrt()
        assert actual / stated == pytest.approx(1, abs=5 / (2 * 200) ** 0.5)
        errors.append(actual)
    assert errors[0] / errors[1] == pytest.approx(4, rel=2 * 5 / (2 * 200) ** 0.5)


def test_mean_weight_is_unbiased(linear_gaussian, rescaled_guide, within):
    """The mean of exp(estimate) over many small estimates is the evidence; a lost log K would show at once."""
    model, x = linear_gaussian
    copies, truth = x[:1].repeat(3000, 1), model.log_evidence(x[:1]).detach()
    estimate = bv.estimate_log_evidence(model, rescaled_guide(model, 1.8), copies, 3)
    ratio = (estimate.log_evidence - truth).exp()
    within(ratio.mean(), 1.0, ratio.std() / len(ratio) ** 0.5)
    assert (estimate.log_evidence.mean() < truth).all()


def test_narrow_guide_is_flagged(linear_gaussian, rescaled_guide):
    """A guide with 0.15 of the deviations has tail index 1 − 0.15² and lies more than a nat too low.

    k̂ is an estimate from 212 tail weights: each observation is flagged with a probability of about 0.97.
    """
    model, x = linear_gaussian
    copies = x.repeat(10, 1)
    estimate = bv.estimate_log_evidence(model, rescaled_guide(model, 0.15), copies, 5000)
    assert (estimate.log_evidence.mean() < model.log_evidence(copies).mean() - 1).all()
    assert estimate.converged.double().mean() < 0.15
    flagged = ~estimate.converged
    assert torch.equal(estimate.standard_error.isnan(), flagged)
    assert [reading.kind == "lower_bound_not_converged" for reading in estimate.readings] == flagged.tolist()
    average = estimate.averages()["log_evidence"]
    assert math.isnan(average.monte_carlo_error)
    missed = int(estimate.missed.sum())
    assert f"lower bound, not converged: k̂ above 0.70 for {int(flagged.sum()) - missed} of 70" in str(average)


def test_standard_error_is_the_delta_methods(linear_gaussian, rescaled_guide):
    """Standard deviation of the weights over their mean and √K; and nothing at all for equal weights."""
    model, x = linear_gaussian
    guide = rescaled_guide(model, 1.8)
    weights = bv.log_terms(model, guide, x, 1000).log_importance_weights.exp()
    estimate = bv.estimate_log_evidence(model, guide, x, 1000)
    expected = weights.std(0, correction=0) / weights.mean(0) / 1000**0.5
    torch.testing.assert_close(estimate.standard_error, expected)
    exact = bv.estimate_log_evidence(model, ExactLinearGaussianGuide(model), x, 1000)
    assert (exact.standard_error < 1e-6).all()
