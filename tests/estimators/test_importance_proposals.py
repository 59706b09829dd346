"""Refined proposals: fitted to each observation's posterior, frozen, and judged like the guide."""

import math
from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import NotDefinedError, SettingsError
from bayes_vae.estimators.importance.proposals import _log_standard, _Moments, _normal_fit, fit_proposal

REFINED = ("normal", "full_covariance", "student_t")


@pytest.mark.parametrize("source", ["distributions", "traces"])
@pytest.mark.parametrize("factor", [0.3, 3.0])
def test_full_covariance_makes_every_weight_log_evidence(linear_gaussian, rescaled_guide, source, factor):
    """The posterior is a correlated normal, which the fit finds exactly, however bad the guide."""
    model, x = linear_gaussian
    guide = rescaled_guide(model, factor)
    estimate = bv.estimate_log_evidence(model, guide, x, 50, proposal="full_covariance", source=source)
    torch.testing.assert_close(estimate.log_evidence, model.log_evidence(x).detach(), rtol=0, atol=1e-9)
    assert (estimate.pareto_k == -torch.inf).all()
    assert (estimate.standard_error < 1e-6).all()
    assert estimate.estimator == "importance from a refined full-covariance normal"


def test_a_normal_has_the_posteriors_deviations(linear_gaussian, rescaled_guide, within):
    """Its weights are those of the factorized normal with the posterior's own means and deviations."""
    model, x = linear_gaussian
    refined = bv.estimate_log_evidence(model, rescaled_guide(model, 0.4), x, 2000, proposal="normal")
    known = bv.estimate_log_evidence(model, rescaled_guide(model, 1.0), x, 2000, seed=1)
    torch.testing.assert_close(refined.effective_sample_size, known.effective_sample_size, rtol=0.25, atol=0)
    error = (1 / refined.effective_sample_size - 1 / 2000).sqrt()
    within(refined.log_evidence, model.log_evidence(x), error)


def test_a_student_t_bounds_the_weights(linear_gaussian, rescaled_guide, within):
    """Its tails are heavier than the posterior's: k̂ is below zero, and the weights vary as those of this t do."""
    model, x = linear_gaussian
    estimate = bv.estimate_log_evidence(model, rescaled_guide(model, 0.4), x, 2000, proposal="student_t")
    assert (estimate.pareto_k < 0).all()
    within(estimate.log_evidence, model.log_evidence(x), estimate.standard_error)
    student = dist.MultivariateStudentT(torch.tensor(20.0).double(), torch.zeros(2).double(), torch.eye(2).double())
    points = torch.cartesian_prod(*[torch.linspace(-12, 12, 400).double()] * 2)
    normal = dist.MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())
    squares = (2 * normal.log_prob(points) - student.log_prob(points)).exp().sum() * (24 / 399) ** 2
    torch.testing.assert_close(estimate.effective_sample_size / 2000, (1 / squares).expand(len(x)), rtol=0.02, atol=0)


def test_the_student_t_density_is_pyros():
    points = torch.linspace(-9, 9, 15, dtype=torch.float64).reshape(5, 3)
    student = dist.MultivariateStudentT(torch.tensor(7.0).double(), torch.zeros(3).double(), torch.eye(3).double())
    torch.testing.assert_close(_log_standard(points.square().sum(-1), 3, 7), student.log_prob(points))
    normal = dist.MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    torch.testing.assert_close(_log_standard(points.square().sum(-1), 3, None), normal.log_prob(points))


@pytest.mark.parametrize("proposal", REFINED)
def test_exp_of_the_estimate_is_unbiased(small_vae, within, proposal):
    """On a Bernoulli VAE with one latent, against quadrature, with so few particles that a bias would show."""
    model, guide, x = small_vae
    truth = bv.quadrature_log_evidence(model, guide, x[:1]).log_evidence
    estimate = bv.estimate_log_evidence(model, guide, x[:1].repeat(120, 1, 1), 2, proposal=proposal)
    ratio = (estimate.log_evidence - truth).exp()
    within(ratio.mean(), 1.0, ratio.std() / len(ratio) ** 0.5)


def wide_guide(x):
    with pyro.plate("rows", len(x)):
        pyro.sample("rate", dist.Gamma(torch.full((len(x),), 2.0).double(), 1.0))
        pyro.sample("shift", dist.Normal(torch.zeros(len(x)).double(), 1.0))


@pytest.mark.parametrize("proposal", REFINED)
def test_several_sites_and_constrained_supports(gamma_poisson, within, proposal):
    """A lost |dz/dv| would show; the guide's noise is not keyed by observation."""
    model, _, x, truth = gamma_poisson
    estimate = bv.estimate_log_evidence(model, wide_guide, x, 2000, proposal=proposal)
    within(estimate.log_evidence, truth, (1 / estimate.effective_sample_size - 1 / 2000).sqrt())
    guide = bv.estimate_log_evidence(model, wide_guide, x, 2000)
    assert (estimate.effective_sample_size > 1.5 * guide.effective_sample_size).all()


@pytest.mark.parametrize("proposal", ["normal", "student_t"])
def test_the_cut_and_the_order_change_nothing(small_vae, proposal):
    model, guide, x = small_vae
    settings = {"tolerance": 0.01, "proposal": proposal, "seed": 3}
    whole = bv.estimate_log_evidence(model, guide, x, 600, **settings)
    cut = bv.estimate_log_evidence(model, guide, x, 600, batch_size=2, chunk_size=70, **settings)
    order = torch.tensor([3, 0, 4])
    some = bv.estimate_log_evidence(model, guide, x[order], 600, index=order, **settings)
    torch.testing.assert_close(cut.log_evidence, whole.log_evidence, rtol=0, atol=1e-9)
    torch.testing.assert_close(some.log_evidence, whole.log_evidence[order], rtol=0, atol=1e-9)
    assert torch.equal(cut.particles, whole.particles)


def test_a_bad_proposal_is_flagged(linear_gaussian, rescaled_guide, monkeypatch):
    """A fit with 0.15 of the right deviations has tail index 0.98: k̂ says so, and no error is stated."""

    def narrow(batch, proposal):
        fit = fit_proposal(batch, proposal)
        return replace(fit, root=0.15 * fit.root)

    monkeypatch.setattr("bayes_vae.estimators.importance.log_evidence.fit_proposal", narrow)
    model, x = linear_gaussian
    guide, copies = rescaled_guide(model, 1.0), x.repeat(4, 1)
    estimate = bv.estimate_log_evidence(model, guide, copies, 2000, proposal="full_covariance")
    assert (estimate.log_evidence.mean() < model.log_evidence(copies).mean() - 1).all()
    assert estimate.converged.double().mean() < 0.3
    assert torch.equal(estimate.standard_error.isnan(), ~estimate.converged)
    assert str(estimate.averages()["log_evidence"].reading).startswith("lower bound, not converged: k̂ above 0.70 for")


def test_a_fit_that_left_the_finite_numbers_falls_back():
    moments = _Moments(torch.ones(2, 1), torch.ones(2, 1), torch.ones(2, 1, 1), torch.tensor([[[4.0]], [[math.nan]]]))
    loc, root = _normal_fit(_Moments(*(part.double() for part in moments)))
    torch.testing.assert_close(root.flatten(), torch.tensor([0.5**0.5, 1.0]).double())
    torch.testing.assert_close(loc.flatten(), torch.tensor([1.5, 0.0]).double())


def test_discrete_latents_are_refused():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(torch.full((len(x),), 0.3)))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(torch.full((len(x),), 0.5)))

    message = (
        "latent site 'z' is discrete, and proposal='student_t' is a density over continuous latents. "
        'Use proposal="guide", or marginalize the site in the model.'
    )
    with pytest.raises(NotDefinedError, match=message):
        bv.estimate_log_evidence(model, guide, torch.zeros(3), proposal="student_t")


def test_an_unknown_proposal_is_refused(small_vae):
    with pytest.raises(SettingsError, match="one of guide, normal, full_covariance, student_t, got 'laplace'"):
        bv.estimate_log_evidence(*small_vae, proposal="laplace")


def test_progress_counts_fits_and_weights(small_vae):
    seen = []
    bv.estimate_log_evidence(*small_vae, 5, proposal="normal", batch_size=3, progress=lambda *state: seen.append(state))
    assert seen == [(3, 10), (5, 10), (8, 10), (10, 10)]
