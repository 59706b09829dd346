"""Draws of the exact posterior by Hamiltonian moves, against posteriors that are known."""

import copy
from itertools import pairwise

import pytest
import torch

import bayes_vae as bv
from bayes_vae import reference
from bayes_vae.errors import NotDefinedError, SettingsError
from bayes_vae.estimators.latent_space import whitened_space
from bayes_vae.guides import ExactLinearGaussianGuide
from bayes_vae.posterior.chain_diagnostics import chain_sample_size
from bayes_vae.posterior.hamiltonian import JointPath
from bayes_vae.posterior.warm_up import StepTuner, windows
from bayes_vae.terms.exposed import ExposedPair
from bayes_vae.terms.rows import TensorRows

QUICK = {"num_draws": 200, "num_warmup": 100, "num_leapfrog": 4}


@pytest.fixture(scope="module")
def from_prior(correlated):
    model, x = correlated
    return bv.posterior_draws(model, None, x, start="prior", num_draws=800, num_warmup=150, num_leapfrog=6)


def test_moments_are_the_exact_posteriors(correlated, from_prior, within):
    """Means, deviations and the covariance, each with its own error from ArviZ's effective sample size."""
    model, x = correlated
    exact, z = model.exact_posterior(x), from_prior.latents["z"]
    within(from_prior.mean["z"], exact.mean, from_prior.mean_error["z"])
    within(from_prior.sd["z"], exact.variance.sqrt(), from_prior.sd_error["z"])
    product = (z[..., 0] - exact.mean[:, 0]) * (z[..., 1] - exact.mean[:, 1])
    error = product.flatten(0, 1).std(0) / chain_sample_size(product, "mean").sqrt()
    within(product.mean((0, 1)), exact.covariance_matrix[:, 0, 1], error)
    assert (exact.covariance_matrix[:, 0, 1].abs() > 10 * error).all()


def test_a_run_that_converged_says_so(from_prior):
    assert from_prior.failures == ()
    assert from_prior.reading.settled
    assert from_prior.converged.all()
    assert from_prior.acceptance.shape == from_prior.step_size.shape == from_prior.divergences.shape == (7,)
    assert ((from_prior.acceptance > 0.6) & (from_prior.acceptance < 0.99)).all()
    assert (from_prior.num_chains, from_prior.num_draws, from_prior.num_observations) == (4, 800, 7)
    assert from_prior.sampler == "Hamiltonian"


def test_axes_are_chains_draws_observations(correlated, from_prior):
    """Sizes alone do not tell a swap of axes apart; the log joint of the draws, with their own rows of x, does."""
    model, x = correlated
    z = from_prior.latents["z"]
    assert z.shape == (4, 800, 7, 2)
    log_joint = model.prior().log_prob(z) + model.likelihood(z).log_prob(x)
    torch.testing.assert_close(from_prior.log_joint, log_joint.detach())
    within_chain = z - z.mean(1, keepdim=True)
    lagged = (within_chain[:, 1:] * within_chain[:, :-1]).mean() / within_chain.square().mean()
    assert 0.04 < abs(lagged) < 0.9, "successive draws of a chain depend on each other"
    between = (within_chain[0, 1:] * within_chain[1, :-1]).mean() / within_chain.square().mean()
    assert abs(between) < 0.05, "and not on those of another"


@pytest.mark.parametrize(("source", "factor"), [("distributions", 0.5), ("traces", 2.0)])
def test_the_guide_is_only_a_start(correlated, rescaled_guide, within, source, factor):
    """A guide that is too narrow, or too wide, changes nothing of where the chains go."""
    model, x = correlated
    draws = bv.posterior_draws(model, rescaled_guide(model, factor), x, source=source, **QUICK)
    exact = model.exact_posterior(x)
    within(draws.mean["z"], exact.mean, draws.mean_error["z"])
    within(draws.sd["z"], exact.variance.sqrt(), draws.sd_error["z"])


@pytest.mark.parametrize("with_guide", [True, False])
def test_constrained_sites_and_several_of_them(programs, counts, conjugate_posterior, within, with_guide):
    guide, start = (programs["counts and levels guide"], "guide") if with_guide else (None, "prior")
    draws = bv.posterior_draws(
        programs["counts and levels"], guide, counts, start=start, num_draws=100, num_warmup=70, num_leapfrog=4
    )
    assert {name: tuple(value.shape) for name, value in draws.latents.items()} == {
        "rate": (4, 100, 3, 1),
        "shift": (4, 100, 3, 1, 2),
    }
    for name, exact in conjugate_posterior(counts).items():
        within(draws.mean[name], exact.mean, draws.mean_error[name])
        within(draws.sd[name], exact.variance.sqrt(), draws.sd_error[name])
    assert (draws.latents["rate"] > 0).all()


def test_nonlinear_model_against_the_grid(small_vae, within):
    model, guide, x = small_vae
    draws = bv.posterior_draws(model, guide, x, **QUICK)
    grid = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    terms = model.prior().log_prob(grid[:, None]) + model.likelihood(grid[:, None, None]).log_prob(x).T
    weights = torch.softmax(terms, 1).detach()
    truth = torch.tensor(
        [reference.log_evidence_by_grid(row, lambda z: model.decoder(z).detach()) for row in x.flatten(1)]
    )
    evidence = torch.logsumexp(terms, 1) + torch.log(grid[1] - grid[0])
    torch.testing.assert_close(evidence.detach(), truth.to(evidence), rtol=0, atol=1e-6)
    within(draws.mean["z"][:, 0], weights @ grid, draws.mean_error["z"][:, 0])


def test_draws_do_not_depend_on_the_batch(small_vae):
    """Up to rounding, which grows along trajectories."""
    model, guide, x = small_vae
    settings = {"num_draws": 20, "num_warmup": 70, "num_leapfrog": 2}
    whole = bv.posterior_draws(model, guide, x, **settings)
    rows = torch.tensor([3, 1])
    some = bv.posterior_draws(model, guide, x[rows], index=rows, **settings)
    cut = bv.posterior_draws(model, guide, x, batch_size=2, **settings)
    torch.testing.assert_close(some.latents["z"], whole.latents["z"][:, :, rows], rtol=0, atol=1e-5)
    torch.testing.assert_close(cut.latents["z"], whole.latents["z"], rtol=0, atol=1e-5)
    torch.testing.assert_close(cut.step_size, whole.step_size, rtol=0, atol=1e-5)
    other = bv.posterior_draws(model, guide, x, seed=1, **settings)
    assert (other.latents["z"] != whole.latents["z"]).all()


def test_too_little_warm_up_is_flagged(linear_gaussian):
    """Chains that start far away and take short steps have not met."""
    model, x = linear_gaussian
    draws = bv.posterior_draws(model, None, 20 * x, start="prior", num_draws=20, num_warmup=0, num_leapfrog=1)
    assert not draws.converged.any()
    assert any(
        text.startswith("R̂ is above 1.01 for 7 of 7 observations, the first in row 0") for text in draws.failures
    )
    assert any(text.startswith("the bulk sample size is below 400") for text in draws.failures)
    assert str(draws.reading) == "chains not converged for 7 of 7"


def test_two_modes_are_flagged(programs):
    """Chains that sit in different modes have large R̂, and only where there are two."""
    x = torch.tensor([4.0, 0.0], dtype=torch.float64)
    draws = bv.posterior_draws(
        programs["two modes"], None, x, start="prior", num_draws=250, num_warmup=100, num_leapfrog=4
    )
    assert draws.r_hat["z"][0] > 1.5
    assert draws.converged.tolist() == [False, True]
    assert any("for 1 of 2 observations, the first in row 0: the chains disagree" in text for text in draws.failures)


def test_chains_that_never_move_are_flagged(linear_gaussian, isolated_globals):
    """ArviZ calls constant chains perfect; here nothing is known of them."""
    model, x = linear_gaussian
    with isolated_globals():
        steep = copy.deepcopy(model)
        steep.log_scale.data.fill_(-20.0)
    draws = bv.posterior_draws(steep, None, x[:1], start="prior", num_draws=10, num_warmup=0)
    assert draws.acceptance.item() == 0
    assert draws.r_hat["z"].isnan().all()
    assert draws.mean_error["z"].isnan().all()
    assert not draws.converged.any()
    assert "trajectories diverged for 1 of 1 observations" in draws.failures[-1]


def test_gradient_is_the_densitys(linear_gaussian):
    model, x = linear_gaussian
    index = torch.arange(len(x))
    bound = ExposedPair(model, ExactLinearGaussianGuide(model), TensorRows((x,), index)).bind((x,), index)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        z = torch.randn(3, 7, 2, generator=generator, dtype=torch.float64)
        space = whitened_space(bound, {"z": z})
        path, v = JointPath(bound, space), space.coordinates({"z": z})
        step = torch.tensor([1e-5, 0.0], dtype=torch.float64)
        beyond, before = (path.state(v + sign * step).log_start for sign in (1, -1))
        torch.testing.assert_close((beyond - before) / 2e-5, path.state(v).start_gradient[..., 0], rtol=1e-6, atol=1e-6)


def test_the_step_is_tuned_to_its_acceptance():
    """Where a larger step is accepted less, the tuner finds the step of acceptance 0.8, for each observation."""
    right = torch.tensor([0.01, 3.0], dtype=torch.float64)
    tuner = StepTuner(torch.full((2,), 0.3, dtype=torch.float64))
    for _ in range(400):
        tuner.update(0.8 ** (tuner.step / right))
    torch.testing.assert_close(tuner.average, right, rtol=0.05, atol=0)


@pytest.mark.parametrize("num_warmup", [0, 1, 2, 9, 60, 500])
def test_windows_cover_the_warm_up(num_warmup):
    found = list(windows(num_warmup))
    assert [move for window, _ in found for move in window] == list(range(num_warmup))
    assert not found or not found[-1][1]


def test_progress_is_told_within_a_batch(linear_gaussian):
    model, x = linear_gaussian
    seen = []
    bv.posterior_draws(
        model, None, x, start="prior", num_draws=30, num_warmup=5, progress=lambda *told: seen.append(told)
    )
    assert seen == sorted(seen)
    assert len(set(seen)) > 8
    assert seen[-1] == (7, 7)


def test_discrete_latents_are_refused(programs):
    with pytest.raises(NotDefinedError, match="latent site 'z' is discrete: Hamiltonian moves follow gradients"):
        bv.posterior_draws(programs["discrete"], None, torch.zeros(3), start="prior")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_draws": 3}, "num_draws must be a whole number of at least 4, got 3"),
        ({"num_chains": 1}, "num_chains must be a whole number of at least 2, got 1"),
        ({"num_warmup": -1}, "num_warmup must be a whole number of at least 0, got -1"),
        ({"num_leapfrog": 0.5}, "num_leapfrog must be a whole number of at least 1, got 0.5"),
    ],
)
def test_settings_are_checked(linear_gaussian, settings, message):
    model, x = linear_gaussian
    with pytest.raises(SettingsError, match=message):
        bv.posterior_draws(model, None, x, start="prior", **settings)


def test_no_trajectory_length_is_an_orbit(linear_gaussian, monkeypatch):
    """Moves of one fixed length may come back to where they began: lengths are 1 … 5 steps, 3 on average."""
    model, x = linear_gaussian
    steps, moves = [0], []
    state = JointPath.state

    def counted(path, position):
        steps[0] += 1
        return state(path, position)

    monkeypatch.setattr(JointPath, "state", counted)
    settings = {"num_draws": 100, "num_warmup": 0, "num_leapfrog": 3}
    bv.posterior_draws(model, None, x[:1], start="prior", progress=lambda *_: moves.append(steps[0]), **settings)
    lengths = [after - before for before, after in pairwise(moves)]
    assert set(lengths) == {1, 2, 3, 4, 5}
    assert 2.4 < sum(lengths) / len(lengths) < 3.6
