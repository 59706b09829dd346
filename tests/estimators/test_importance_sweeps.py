"""Long sweeps, run by `make test-statistical`."""

import pytest
import torch

import bayes_vae as bv

pytestmark = pytest.mark.statistical


@pytest.mark.parametrize("source", ["distributions", "traces"])
@pytest.mark.parametrize("num_particles", [1, 2, 5, 25])
def test_exp_of_the_estimate_is_unbiased(linear_gaussian, rescaled_guide, within, source, num_particles):
    model, x = linear_gaussian
    copies, truth = x[:1].repeat(40_000, 1), model.log_evidence(x[:1]).detach()
    estimate = bv.estimate_log_evidence(model, rescaled_guide(model, 1.8), copies, num_particles, source=source)
    ratio = (estimate.log_evidence - truth).exp()
    within(ratio.mean(), 1.0, ratio.std() / len(ratio) ** 0.5)


def test_nominal_errors_cover(linear_gaussian, rescaled_guide):
    """A guide 1.8 times too wide has bounded weights: 95 % intervals hold the truth in 93.5–96.5 % of 4,000."""
    model, x = linear_gaussian
    copies, truth = x[:1].repeat(4000, 1), model.log_evidence(x[:1]).detach()
    estimate = bv.estimate_log_evidence(model, rescaled_guide(model, 1.8), copies, 1000)
    stated = (1 / estimate.effective_sample_size - 1 / 1000).sqrt()
    covered = ((estimate.log_evidence - truth).abs() <= 1.96 * stated).double().mean()
    assert 0.935 <= covered <= 0.965


def test_monte_carlo_errors_of_the_elbo_cover(small_vae):
    model, guide, x = small_vae
    truth = bv.elbo_terms(model, guide, x[:1], 2_000_000, kl="sampled").elbo
    copies = x[:1].repeat(4000, 1, 1)
    terms = bv.elbo_terms(model, guide, copies, 200, kl="sampled", seed=1)
    covered = ((terms.elbo - truth).abs() <= 1.96 * terms.elbo_error).double().mean()
    assert 0.935 <= covered <= 0.965


def test_error_falls_as_one_over_the_root_of_k(linear_gaussian, rescaled_guide):
    model, x = linear_gaussian
    copies, truth = x[:1].repeat(2000, 1), model.log_evidence(x[:1]).detach()
    ladder = [100, 400, 1600, 6400]
    guide = rescaled_guide(model, 1.8)
    errors = torch.stack(
        [
            (bv.estimate_log_evidence(model, guide, copies, k, seed=k).log_evidence - truth).square().mean().sqrt()
            for k in ladder
        ]
    )
    scaled = errors * torch.tensor(ladder, dtype=torch.float64).sqrt()
    assert scaled.max() / scaled.min() < 1 + 4 * 2 / (2 * 2000) ** 0.5
