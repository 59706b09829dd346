"""The library against the plain-torch twin, and the twin against integrals."""

import math

import pytest
import torch

import bayes_vae as bv
from bayes_vae import reference

SOURCES = ("distributions", "traces")


@pytest.fixture(scope="module")
def decoded(small_vae):
    model, guide, x = small_vae
    q = guide.variational_posterior(x).base_dist
    return (
        lambda z: model.decoder(z).detach(),
        x.flatten(1),
        q.loc.detach(),
        q.scale.detach(),
    )


@pytest.mark.parametrize("source", SOURCES)
def test_log_terms_are_the_references(small_vae, decoded, source):
    model, guide, x = small_vae
    decoder, pixels, loc, scale = decoded
    terms = bv.log_terms(model, guide, x, 3, seed=5, source=source, keep_latents=True)
    for k in range(3):
        for n in range(len(x)):
            z = terms.latents["z"][k, n]
            assert terms.log_prior[k, n].item() == pytest.approx(reference.log_standard_normal(z), abs=1e-10)
            likelihood = reference.bernoulli_log_likelihood(pixels[n], decoder(z))
            assert terms.log_likelihood[k, n].item() == pytest.approx(likelihood, abs=1e-10)
            log_guide = reference.normal_log_density(z, loc[n], scale[n])
            assert terms.log_guide[k, n].item() == pytest.approx(log_guide, abs=1e-10)
            weight = reference.log_importance_weight(pixels[n], z, loc[n], scale[n], decoder)
            assert terms.log_importance_weights[k, n].item() == pytest.approx(weight, abs=1e-10)


@pytest.mark.parametrize("source", SOURCES)
def test_elbo_and_bounds_are_the_references(small_vae, decoded, source):
    model, guide, x = small_vae
    decoder, pixels, loc, scale = decoded
    terms = bv.log_terms(model, guide, x, 6, seed=5, source=source, keep_latents=True)
    elbo = bv.elbo_terms(model, guide, x, 6, seed=5, source=source)
    estimate = bv.estimate_log_evidence(model, guide, x, 6, seed=5, source=source)
    for n in range(len(x)):
        draws = list(terms.latents["z"][:, n])
        expected = reference.elbo(pixels[n], draws, loc[n], scale[n], decoder)
        assert elbo.elbo[n].item() == pytest.approx(expected, abs=1e-10)
        assert elbo.kl_to_prior[n].item() == pytest.approx(reference.normal_kl(loc[n], scale[n]), abs=1e-10)
        weights = terms.log_importance_weights[:, n].tolist()
        bound = reference.importance_weighted_bound(weights)
        assert estimate.log_evidence[n].item() == pytest.approx(bound, abs=1e-10)
        sample_size = reference.effective_sample_size(weights)
        assert estimate.effective_sample_size[n].item() == pytest.approx(sample_size, rel=1e-10)


def test_grid_evidence_lies_between_elbo_and_the_importance_estimate(small_vae, decoded, within):
    model, guide, x = small_vae
    decoder, pixels, _, _ = decoded
    truth = torch.tensor([reference.log_evidence_by_grid(row, decoder) for row in pixels])
    estimate = bv.estimate_log_evidence(model, guide, x, 5000, seed=0)
    assert estimate.converged.all()
    within(estimate.log_evidence, truth, estimate.standard_error)
    elbo = bv.elbo_terms(model, guide, x, 5000, seed=0)
    assert (elbo.elbo < truth).all()


def test_linear_gaussian_closed_forms(linear_gaussian):
    model, x = linear_gaussian
    weight, bias, noise = model.weight.detach(), model.bias.detach(), model.log_scale.exp().item()
    posterior = model.exact_posterior(x)
    for n, row in enumerate(x):
        truth = reference.linear_gaussian_log_evidence(row, weight, bias, noise)
        assert model.log_evidence(x)[n].item() == pytest.approx(truth, abs=1e-10)
        mean, covariance = reference.linear_gaussian_exact_posterior(row, weight, bias, noise)
        torch.testing.assert_close(posterior.loc[n].detach(), mean)
        torch.testing.assert_close(posterior.covariance_matrix[n].detach(), covariance)


def test_reference_densities_integrate_to_one():
    scale = torch.tensor([0.8], dtype=torch.float64)
    loc = torch.tensor([0.3], dtype=torch.float64)
    grid = torch.linspace(-8, 8, 2001, dtype=torch.float64)
    step = float(grid[1] - grid[0])
    total = sum(math.exp(reference.normal_log_density(z[None], loc, scale)) for z in grid) * step
    assert total == pytest.approx(1, abs=1e-9)
    logits = torch.tensor([0.4, -1.3], dtype=torch.float64)
    outcomes = torch.cartesian_prod(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0]))
    total = sum(math.exp(reference.bernoulli_log_likelihood(x, logits)) for x in outcomes)
    assert total == pytest.approx(1, abs=1e-12)


def test_reference_kl_is_the_integral():
    loc, scale = torch.tensor([0.7], dtype=torch.float64), torch.tensor([0.5], dtype=torch.float64)
    grid = torch.linspace(-10, 10, 4001, dtype=torch.float64)
    total = 0.0
    for z in grid:
        log_q = reference.normal_log_density(z[None], loc, scale)
        total += math.exp(log_q) * (log_q - reference.log_standard_normal(z[None]))
    assert total * float(grid[1] - grid[0]) == pytest.approx(reference.normal_kl(loc, scale), abs=1e-8)
