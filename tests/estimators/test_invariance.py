"""A result depends on the seed and on nothing else: not on chunk, batch, order, place or a short last batch."""

import copy

import pytest
import torch

import bayes_vae as bv

CUTS = [(1, 1), (2, 3), (3, 64), (4, 65), (7, 100), (100, 1000)]


@pytest.fixture(scope="module")
def whole(small_vae):
    return bv.log_terms(*small_vae, 130, seed=4)


@pytest.mark.parametrize("source", ["distributions", "traces"])
@pytest.mark.parametrize(("batch_size", "chunk_size"), CUTS)
def test_terms_do_not_depend_on_the_cut(small_vae, whole, source, batch_size, chunk_size):
    cut = bv.log_terms(*small_vae, 130, seed=4, source=source, batch_size=batch_size, chunk_size=chunk_size)
    for name in ("log_prior", "log_likelihood", "log_guide"):
        torch.testing.assert_close(getattr(cut, name), getattr(whole, name), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("batch_size", "chunk_size"), CUTS)
def test_estimates_do_not_depend_on_the_cut(small_vae, whole, batch_size, chunk_size):
    cut = bv.estimate_log_evidence(*small_vae, 130, seed=4, batch_size=batch_size, chunk_size=chunk_size)
    truth = bv.importance_weighted_bound(whole.log_importance_weights)
    torch.testing.assert_close(cut.log_evidence, truth, rtol=0, atol=1e-10)
    elbo = bv.elbo_terms(*small_vae, 130, kl="sampled", seed=4, batch_size=batch_size, chunk_size=chunk_size)
    weights = whole.log_importance_weights
    torch.testing.assert_close(elbo.elbo, weights.mean(0), rtol=0, atol=1e-10)
    torch.testing.assert_close(elbo.elbo_error, weights.std(0) / 130**0.5, rtol=1e-8, atol=0)


def test_terms_follow_the_observation_not_its_place(small_vae, whole):
    model, guide, x = small_vae
    order = torch.tensor([3, 0, 4])
    some = bv.log_terms(model, guide, x[order], 130, seed=4, index=order)
    torch.testing.assert_close(some.log_likelihood, whole.log_likelihood[:, order], rtol=0, atol=1e-10)


def test_more_particles_extend_fewer(small_vae, whole):
    fewer = bv.log_terms(*small_vae, 70, seed=4)
    torch.testing.assert_close(fewer.log_guide, whole.log_guide[:70], rtol=0, atol=1e-10)


def test_seeds_differ(small_vae, whole):
    assert not torch.allclose(bv.log_terms(*small_vae, 130, seed=5).log_guide, whole.log_guide)


def test_observations_have_noise_of_their_own(small_vae):
    model, guide, x = small_vae
    draws = bv.log_terms(model, guide, x[:1].repeat(2, 1, 1), 3, keep_latents=True).latents["z"]
    assert not torch.allclose(draws[:, 0], draws[:, 1])


def test_log_k_counts_what_was_drawn(small_vae):
    """scvi-tools draws whole chunks but subtracts log K: +0.18 nat at K = 1000, chunk 300."""
    whole = bv.estimate_log_evidence(*small_vae, 1000, seed=0, chunk_size=1000)
    chunked = bv.estimate_log_evidence(*small_vae, 1000, seed=0, chunk_size=300)
    torch.testing.assert_close(chunked.log_evidence, whole.log_evidence, rtol=0, atol=1e-10)


def test_data_figure_is_the_mean_over_observations(small_vae):
    """A mean of batch means would weigh the short last batch too much."""
    model, guide, x = small_vae
    estimate = bv.estimate_log_evidence(model, guide, x, 50, batch_size=4)
    assert estimate.averages()["log_evidence"].value == pytest.approx(estimate.log_evidence.mean().item())


def test_progress_counts_observations(small_vae):
    seen = []
    bv.estimate_log_evidence(*small_vae, 5, batch_size=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 5), (4, 5), (5, 5)]


@pytest.mark.parametrize("source", ["distributions", "traces"])
def test_float32_and_float64_agree(small_vae, source):
    """The noise is drawn in float64 and rounded, so only rounding is between them."""
    model, guide, x = small_vae
    rounded = [copy.deepcopy(program).float() for program in (model, guide)]
    one = bv.log_terms(*rounded, x.float(), 50, seed=3, source=source)
    other = bv.log_terms(model, guide, x, 50, seed=3, source=source)
    for name in ("log_prior", "log_likelihood", "log_guide"):
        torch.testing.assert_close(
            getattr(one, name).double(), getattr(other, name).double(), rtol=3e-6, atol=1e-5, msg=name
        )
