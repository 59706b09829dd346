"""Annealing where the posterior has several modes, and where chains agree and are wrong."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae.estimators.annealing import annealed
from bayes_vae.estimators.annealing.estimate import error_of_log_mean
from bayes_vae.estimators.annealing.modes import Mixture, _shares
from bayes_vae.estimators.annealing.start import Fitted
from bayes_vae.estimators.latent_space import LatentSpace
from bayes_vae.models import LinearGaussianVAE
from bayes_vae.reference_pairs import reference_pair

NOISE = 0.3


def squared(x):
    """x is the square of z with noise: the posterior has a mode at each root."""
    with pyro.plate("rows", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(len(x)).double(), 1.0))
        pyro.sample("x", dist.Normal(z**2, NOISE), obs=x)


def positive_root(x):
    """Only the mode at the positive root."""
    with pyro.plate("rows", len(x)):
        pyro.sample("z", dist.Normal(x.sqrt(), NOISE / (2 * x.sqrt())))


def truth_of(x):
    z = torch.linspace(-8, 8, 20_001, dtype=torch.float64).unsqueeze(-1)
    joint = torch.distributions.Normal(0.0, 1.0).log_prob(z) + torch.distributions.Normal(z**2, NOISE).log_prob(x)
    return joint.logsumexp(0) + math.log(16 / 20_000)


def test_a_mode_that_the_guide_misses_is_found(within):
    """With one normal the chains agree on half of p(x)."""
    x = torch.tensor([1.5, 3.0, 6.0], dtype=torch.float64)
    estimate = bv.annealed_log_evidence(squared, positive_root, x, num_temperatures=20, num_chains=64)
    assert estimate.start == "mixture of normals"
    assert estimate.converged.all()
    within(estimate.log_evidence, truth_of(x), estimate.standard_error)
    assert ((estimate.log_evidence - truth_of(x)).abs() < 0.05).all()


@pytest.mark.parametrize("num_chains", [1, pytest.param(3, marks=pytest.mark.statistical)])
def test_mean_weight_from_a_mixture_is_unbiased(within, num_chains):
    """exp(estimate) averages to p(x), whatever the shares of the modes, from a single chain or a few."""
    x = torch.full((3000,), 1.0, dtype=torch.float64)
    settings = {"num_temperatures": 2, "num_chains": num_chains, "num_leapfrog": 2}
    estimate = bv.annealed_log_evidence(squared, positive_root, x, **settings)
    assert estimate.start == "mixture of normals"
    ratio = (estimate.log_evidence - truth_of(x)).exp()
    assert ratio.std() > 0.01
    within(ratio.mean(), 1.0, ratio.std() / len(ratio) ** 0.5)


def test_a_mixture_depends_on_neither_batch_nor_run():
    x = torch.tensor([0.1, 1.5, 3.0, 6.0], dtype=torch.float64)
    settings = {"num_temperatures": 6}
    whole, again = (bv.annealed_log_evidence(squared, positive_root, x, **settings) for _ in range(2))
    assert torch.equal(whole.log_weights, again.log_weights)
    for rows in (torch.tensor([2, 0]), torch.tensor([0])):
        some = bv.annealed_log_evidence(squared, positive_root, x[rows], index=rows, **settings)
        torch.testing.assert_close(some.log_weights, whole.log_weights[:, rows], rtol=0, atol=1e-7)
        torch.testing.assert_close(some.check_log_weights, whole.check_log_weights[:, rows], rtol=0, atol=1e-7)


def test_a_fit_between_two_modes_is_no_mode():
    """The guide lies over both roots with its mean between them: the fit from there once stood for one of the two."""
    pair = reference_pair("bimodal")
    found = bv.annealed_log_evidence(pair.model, pair.guide, pair.x.repeat(4, 1), num_temperatures=20)
    error = found.log_evidence - pair.log_evidence.repeat(4)
    assert float(error.mean()) > -0.08
    assert int((error < -0.5).sum()) <= 1


def test_what_covers_a_mode_is_kept_itself():
    """The first fit covers the second, and the second the third, which the first does not reach."""

    def fit(loc, scale, elbo):
        space = LatentSpace([], torch.tensor([[loc]]), torch.tensor([[scale]]), torch.ones(1, 1, 1))
        return Fitted(space, torch.tensor([elbo]), torch.tensor([True]))

    best, mixture = _shares([fit(2.0, 2.0, -0.6), fit(0.0, 1.0, 0.0), fit(4.5, 1.0, -1.5)])
    assert float(best.loc) == 0.0
    assert (mixture.log_shares.squeeze(1) > -torch.inf).tolist() == [False, True, True]


def test_chains_keep_the_shares_of_the_modes():
    """Chain k takes the component at (k + u) / K: of 8 chains 6 at a share of 3/4, whatever u."""
    mixture = Mixture([], torch.tensor([[0.75, 1.0], [0.25, 0.0]]).log())
    for u in (0.0, 0.3, 0.9):
        chosen = mixture.components(8, torch.tensor([u, u]))
        assert chosen.sum(0).tolist() == [2, 0]


def test_chains_that_agree_and_are_wrong_are_found_out(monkeypatch):
    """Without the search the chains see one root; those of the independent start see the other, or the same."""
    monkeypatch.setattr(annealed, "PLACES", 1)
    x = torch.full((40,), 3.0, dtype=torch.float64)

    def near_nothing(x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(torch.full_like(x, 30.0), 1e-3))

    estimate = bv.annealed_log_evidence(squared, near_nothing, x, num_temperatures=1, num_chains=4, refine=False)
    assert (estimate.log_evidence < truth_of(x) - 100).all()
    assert (estimate.check > estimate.log_evidence + 100).all()
    assert not estimate.converged.any()
    assert estimate.standard_error.isnan().all()


@pytest.mark.parametrize("factor", [2e-6, 20.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_eight_latents_whatever_the_deviations_of_the_guide(isolated_globals, dtype, factor):
    """Once −506 ± 0.35 where the truth is −261, and 47 nats off with ± 0.5."""
    with isolated_globals(seed=0):
        model = LinearGaussianVAE(8, (100,)).to(dtype)
    x = model.sample(5, seed=1)

    def guide(x):
        exact = model.exact_posterior(x)
        scale = exact.stddev * factor if factor > 1 else torch.full_like(exact.loc, factor)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(exact.loc, scale).to_event(1))

    estimate = bv.annealed_log_evidence(model, guide, x)
    assert ((estimate.log_evidence - model.log_evidence(x)).abs() < 0.05).all()
    assert estimate.converged.all()


@pytest.mark.parametrize("factor", [1e-6, 1.0, 20.0])
def test_many_latents_are_fitted_by_their_deviations(isolated_globals, factor):
    """Once the guide's own shape was kept above 512 dimensions, and a wrong one cost thousands of nats."""
    with isolated_globals(seed=0):
        model = LinearGaussianVAE(520, (60,), noise_scale=0.5).double()
    x = model.sample(2, seed=1)

    def guide(x):
        exact = model.exact_posterior(x)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(exact.loc, exact.stddev * factor).to_event(1))

    estimate = bv.annealed_log_evidence(model, guide, x, num_temperatures=20)
    assert ((estimate.log_evidence - model.log_evidence(x)).abs() < 15).all()


def test_a_likelihood_sharper_than_its_floats_has_not_converged():
    """In float32 x and z are equal or many deviations apart; log p(x) is −1.0, and the chains agree on +3."""

    def model(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z, 1e-9), obs=x)

    def guide(x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(x, 1e-7))

    x = torch.tensor([0.3, 1.1, -0.7])
    estimate = bv.annealed_log_evidence(model, guide, x)
    assert not estimate.converged.any()
    assert (estimate.resolution > 100).all()
    assert estimate.standard_error.isnan().all()
    only = torch.zeros_like(estimate.log_weights)
    agreeing = bv.AnnealedEstimate(**{**vars(estimate), "log_weights": only, "check_log_weights": only[:2] - 1})
    assert str(agreeing.reading) == "no bound: log p(x, z) is too sharp for its floats for 3 of 3; use float64"


def test_error_of_a_log_mean_by_hand():
    """Weights 1 and 3: mean 2, deviation √2, error √2 / √2 / 2 of the mean, and three times as much from two chains."""
    weights = torch.tensor([[1.0], [3.0]], dtype=torch.float64).log()
    assert error_of_log_mean(weights).item() == pytest.approx(3 * 0.5)
    assert error_of_log_mean(weights[:1]).isnan().all()


def test_more_modes_than_normals_have_not_converged():
    """Eight latents, each with two roots: 256 modes, of which the start has a few, and the chains may agree."""

    def model(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z**2, NOISE).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(x.sqrt(), NOISE / (2 * x.sqrt())).to_event(1))

    x = torch.full((6, 8), 3.0, dtype=torch.float64)
    estimate = bv.annealed_log_evidence(model, guide, x, num_temperatures=20)
    truth = truth_of(x.flatten()).reshape(6, 8).sum(1)
    assert (estimate.log_evidence < truth - 1).all()
    assert estimate.more_modes.all()
    agreeing = bv.AnnealedEstimate(
        **{**vars(estimate), "log_weights": torch.zeros(4, 6), "check_log_weights": torch.zeros(4, 6) - 1}
    )
    assert not agreeing.converged.any()


def test_heavy_tails_get_a_wider_normal(within):
    """A Student t of two degrees of freedom, seen with a normal error that is wide: its tails lie beyond the normal."""

    def model(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.StudentT(2.0, torch.zeros_like(x), 1.0))
            pyro.sample("x", dist.StudentT(2.0, z, 30.0), obs=x)

    def guide(x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0))

    x = torch.tensor([0.0, 5.0], dtype=torch.float64)
    t = torch.linspace(-40, 40, 400_001, dtype=torch.float64).unsqueeze(-1)  # z = sinh t
    z = torch.sinh(t)
    joint = dist.StudentT(2.0, 0.0, 1.0).log_prob(z) + dist.StudentT(2.0, z, 30.0).log_prob(x) + torch.cosh(t).log()
    truth = joint.logsumexp(0) + math.log(80 / 400_000)
    estimate = bv.annealed_log_evidence(model, guide, x, num_temperatures=20, num_chains=64)
    assert estimate.start == "mixture of normals"
    within(estimate.log_evidence, truth, estimate.standard_error)
