"""What annealing's pilot chooses: the temperatures and the start of each observation. And how its figures read."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae import reference
from bayes_vae.estimators.annealing import chains as chains_module
from bayes_vae.estimators.annealing import start as start_module
from bayes_vae.estimators.annealing.chains import make_plan, ticker, tune
from bayes_vae.estimators.annealing.start import fit_normal
from bayes_vae.estimators.annealing.temperatures import equal_lengths, interpolate, smooth
from bayes_vae.estimators.latent_space import pilot_draws, whitened_space
from bayes_vae.models import LinearGaussianVAE
from bayes_vae.terms.opened import open_pair
from bayes_vae.terms.prior_as_guide import prior_as_guide
from bayes_vae.terms.program import undisturbed
from bayes_vae.vocabulary.readings import words


def bound_batch(model, guide, x, num_chains=4):
    with open_pair(model, guide, x) as opened:
        return next(opened.batches(num_chains))


def guides_space(batch):
    return whitened_space(batch.bound, pilot_draws(batch, 64, "scales"))


def test_equal_lengths_by_hand():
    """Deviations 3 and 1 over halves of the way: lengths 1 and 1/2; a quarter of the steps stays as it was."""
    betas = torch.tensor([0.0, 0.5, 1.0]).double()
    found = equal_lengths(betas, torch.tensor([[3.0, 1.0, 0.0], [1.0, 1.0, 0.0]]), 2)
    at_half = 0.75 * 2 / 3 + 0.25 / 2
    torch.testing.assert_close(found, torch.tensor([[0, 0, 0], [0.25 / at_half, 0.5, 0.5], [1, 1, 1]]).double())


def test_no_pilot_starves_a_region():
    betas = torch.linspace(0, 1, 11).double()
    deviations = torch.full((10, 1), 1e-9)
    deviations[0] = 1.0
    found = equal_lengths(betas, deviations, 400)
    assert (found.diff(dim=0) > 0).all()
    assert (found > 0.5).sum() >= 0.9 * 400 * 0.25 / 2  # half of the floor's share


def test_interpolation_and_smoothing():
    nodes, values = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.0], [2.0], [4.0]])
    points = torch.tensor([[-1.0], [0.5], [2.0], [5.0]])
    assert interpolate(nodes, values, points).flatten().tolist() == [0, 1, 3, 4]
    assert interpolate(nodes[:1], values[1:2], points).flatten().tolist() == [2, 2, 2, 2]
    line = torch.arange(6.0).unsqueeze(1)
    torch.testing.assert_close(smooth(line, 2)[2:-2], line[2:-2])
    assert torch.equal(smooth(line, 0), line)
    assert smooth(line, 1)[0].item() == pytest.approx(1 / 3)


def test_adaptive_temperatures_are_each_observations_own(linear_gaussian):
    model, x = linear_gaussian
    guide = prior_as_guide(model, "auto")
    with undisturbed(model, guide):
        tuned = tune(bound_batch(model, guide, x), make_plan(20, 4, 5, "adaptive", from_prior=True))
    assert tuned.betas.shape == (21, len(x))
    assert tuned.steps.shape == (19, len(x))
    assert (tuned.betas[0] == 0).all()
    assert (tuned.betas[-1] == 1).all()
    assert (tuned.betas.diff(dim=0) > 0).all()
    assert len(tuned.betas[10].unique()) == len(x)


def test_adaptive_beats_the_others_from_a_distant_prior(isolated_globals):
    """Where the posterior is far narrower than the prior, log p(x | z) varies most near β = 0."""
    with isolated_globals(seed=0):
        model = LinearGaussianVAE(latent_dim=3, data_shape=(10,), noise_scale=0.1).double()
        x = model.sample(150, seed=1)
    truth, short = model.log_evidence(x).detach(), {}
    for schedule in ("linear", "sigmoid", "adaptive"):
        estimate = bv.annealed_log_evidence(model, None, x, start="prior", num_temperatures=20, schedule=schedule)
        short[schedule] = (truth - estimate.log_evidence).mean().item()
    assert 1.4 * short["adaptive"] < min(short["linear"], short["sigmoid"])


@pytest.mark.parametrize("start", ["guide", "prior"])
def test_mean_weight_on_a_nonlinear_model(small_vae, within, start):
    """The mean weight is unbiased with start, temperatures and steps chosen in the pilot."""
    model, guide, x = small_vae
    truth = reference.log_evidence_by_grid(x[0].flatten(), lambda z: model.decoder(z).detach())
    copies = x[:1].expand(3000, *x.shape[1:])
    settings = {"num_temperatures": 3, "num_chains": 1, "num_leapfrog": 2, "schedule": "adaptive"}
    estimate = bv.annealed_log_evidence(model, guide, copies, start=start, **settings)
    ratio = (estimate.log_evidence - truth).exp()
    within(ratio.mean(), 1.0, ratio.std() / len(ratio) ** 0.5)


def test_each_step_counts_by_its_own_rise_of_the_inverse_temperature(linear_gaussian, within):
    """The temperatures of the sigmoid stand close at both ends: the mean of its steps would be nats off."""
    model, x = linear_gaussian
    settings = {"num_temperatures": 6, "num_chains": 1, "num_leapfrog": 3, "schedule": "sigmoid"}
    copies = x[:1].expand(3000, *x.shape[1:])
    estimate = bv.annealed_log_evidence(model, None, copies, start="prior", **settings)
    ratio = (estimate.log_evidence - model.log_evidence(x[:1]).detach()).exp()
    within(ratio.mean(), 1.0, ratio.std() / len(ratio) ** 0.5)


@pytest.mark.parametrize("source", ["distributions", "traces"])
@pytest.mark.parametrize("start", ["guide", "prior"])
def test_adaptive_result_depends_on_neither_batch_nor_run(small_vae, source, start):
    model, guide, x = small_vae
    settings = {"start": start, "num_temperatures": 10, "schedule": "adaptive", "source": source}
    whole, again = (bv.annealed_log_evidence(model, guide, x, **settings) for _ in range(2))
    assert torch.equal(whole.log_weights, again.log_weights)
    rows = torch.tensor([3, 1])
    if source == "distributions" or start == "guide":
        some = bv.annealed_log_evidence(model, guide, x[rows], index=rows, **settings)
        torch.testing.assert_close(some.log_weights, whole.log_weights[:, rows], rtol=0, atol=1e-9)


@pytest.mark.parametrize("num_temperatures", [1, 2, 3])
@pytest.mark.parametrize("start", ["guide", "prior"])
def test_few_temperatures(small_vae, num_temperatures, start):
    model, guide, x = small_vae
    settings = {"num_temperatures": num_temperatures, "schedule": "adaptive"}
    estimate = bv.annealed_log_evidence(model, guide, x, start=start, **settings)
    assert estimate.log_evidence.isfinite().all()
    assert (estimate.acceptance == 1).all() == (num_temperatures == 1)


@pytest.mark.parametrize("factor", [2e-6, 0.4, 1.0, 4.0, 400.0])
def test_start_is_the_posterior_where_that_is_normal(linear_gaussian, rescaled_guide, factor):
    """Differences find a quadratic's curvature exactly, in more rounds where the guide's scales are far off."""
    model, x = linear_gaussian
    guide, exact = rescaled_guide(model, factor), model.exact_posterior(x)
    with undisturbed(model, guide):
        batch = bound_batch(model, guide, x)
        space = guides_space(batch)
        fitted = fit_normal(batch, space).space
    root = fitted.scale.unsqueeze(-1) * fitted.mixing
    torch.testing.assert_close(root @ root.mT, exact.covariance_matrix, rtol=1e-4, atol=1e-9)
    before, after = ((one.loc - exact.loc).abs() for one in (space, fitted))
    if factor in (0.4, 1.0):  # one round: each step of the mean leaves 0.3 of the way
        torch.testing.assert_close(after, 0.3**4 * before, rtol=1e-4, atol=1e-7)
    assert (after <= 0.3**4 * before + 0.02 * exact.stddev).all()


def test_curvature_is_held_within_bounds():
    """Where it is not finite the guide's own shape is all that is tried."""
    same = torch.eye(2).expand(3, 2, 2)
    curvature = torch.stack([torch.full((2, 2), torch.nan), -torch.eye(2), 1e9 * torch.eye(2)])
    (rescaled, first), (bounded, second), (last, never) = start_module._roots(curvature)
    assert torch.equal(last, same)
    assert (first.tolist(), second.tolist(), never.any().item()) == ([False, True, True], [False, True, True], False)
    assert torch.equal(bounded[0], same[0])
    assert torch.equal(rescaled[0], same[0])
    assert torch.allclose(bounded[1:].diagonal(dim1=1, dim2=2), torch.tensor([[0.5**-0.5], [0.1]]))
    assert torch.allclose(rescaled[1:].diagonal(dim1=1, dim2=2), torch.tensor([[5 / 0.5**0.5], [0.02]]))


def test_of_large_latents_the_deviations_alone_are_fitted(small_vae, monkeypatch):
    model, guide, x = small_vae
    plain = bv.annealed_log_evidence(model, guide, x, num_temperatures=5, refine=False)
    fitted = bv.annealed_log_evidence(model, guide, x, num_temperatures=5)
    assert not torch.equal(plain.log_weights, fitted.log_weights)
    monkeypatch.setattr(chains_module, "LARGEST_LATENT", 0)
    large = bv.annealed_log_evidence(model, guide, x, num_temperatures=5)
    assert not torch.equal(plain.log_weights, large.log_weights)
    assert not torch.equal(fitted.log_weights, large.log_weights)
    assert (plain.start, fitted.start, large.start) == ("guide", "fitted normal", "fitted normal")
    assert bv.annealed_log_evidence(model, None, x, start="prior", num_temperatures=5).start == "prior"


def test_two_hundred_latents_under_a_narrow_guide():
    """Linear and Gaussian, so log p(x) is known; with the guide's own shape 50 temperatures end 2,000 nats too low."""
    size, generator = 200, torch.Generator().manual_seed(0)
    gain = 2 * torch.randn(size, size, generator=generator).double() / size**0.5
    x = torch.randn(2, size, generator=generator).double() @ gain.mT
    x = x + 0.5 * torch.randn(2, size, generator=generator).double()
    same = torch.eye(size).double()
    covariance = torch.linalg.inv(same + 4 * gain.mT @ gain)

    def model(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(size).double(), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ gain.mT, 0.5).to_event(1), obs=x)

    def guide(x):
        means, deviations = 4 * x @ gain @ covariance, 1e-6 * covariance.diagonal().sqrt()
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(means, deviations.expand(len(x), -1)).to_event(1))

    truth = dist.MultivariateNormal(torch.zeros(size).double(), gain @ gain.mT + 0.25 * same).log_prob(x)
    found = bv.annealed_log_evidence(model, guide, x, num_temperatures=4)
    assert found.converged.all()
    assert float((found.log_evidence - truth).abs().max()) < 0.02


def test_batches_of_large_latents_are_small(small_vae, monkeypatch):
    """Their matrices hold D² numbers for each observation; the cut changes no figure."""
    model, guide, x = small_vae
    sizes, fit = [], chains_module.fit_normal

    def counted(batch, space):
        sizes.append(len(batch.index))
        return fit(batch, space)

    monkeypatch.setattr(chains_module, "fit_normal", counted)
    whole = bv.annealed_log_evidence(model, guide, x, num_temperatures=2)
    assert set(sizes) == {len(x)}
    sizes.clear()
    monkeypatch.setattr(start_module, "SMALL", 0)
    monkeypatch.setattr(start_module, "MATRICES_AT_ONCE", model.latent_dim**2)
    cut = bv.annealed_log_evidence(model, guide, x, num_temperatures=2)
    assert set(sizes) == {1}
    torch.testing.assert_close(cut.log_evidence, whole.log_evidence)


def test_coordinates_of_a_refitted_space(linear_gaussian, rescaled_guide):
    """There and back, and log |dz/dv| is the Jacobian's."""
    model, x = linear_gaussian
    guide = rescaled_guide(model, 1.0)
    with undisturbed(model, guide):
        space = guides_space(bound_batch(model, guide, x))
    generator = torch.Generator().manual_seed(0)
    means, mixing, v = (torch.randn(shape, generator=generator).double() for shape in [(7, 2), (7, 2, 2), (3, 7, 2)])
    fitted = space.refitted(means, mixing)
    latents, log_det = fitted.latents(v)
    torch.testing.assert_close(fitted.coordinates(latents), v)
    torch.testing.assert_close(space.coordinates(fitted.latents(torch.zeros_like(v))[0])[0], means)
    jacobian = torch.autograd.functional.jacobian(lambda u: fitted.latents(u.expand(1, 7, 2))[0]["z"][0, 4], v[:1])
    torch.testing.assert_close(log_det[0, 4], jacobian[:, 0, 4].slogdet().logabsdet)
    torch.testing.assert_close(fitted.rows(slice(2, 4)).latents(v[:, 2:4])[0]["z"], latents["z"][:, 2:4])


def two_sites(x):
    with pyro.plate("rows", len(x)):
        rate = pyro.sample("rate", dist.Gamma(torch.full((len(x),), 3.0).double(), 2.0))
        shift = pyro.sample("shift", dist.Normal(torch.zeros(len(x)).double(), 1.0))
        pyro.sample("count", dist.Poisson(rate), obs=x[:, 0])
        pyro.sample("level", dist.Normal(shift, 0.5), obs=x[:, 1])


def two_sites_guide(x):
    with pyro.plate("rows", len(x)):
        pyro.sample("rate", dist.Gamma(3.0 + x[:, 0], torch.full((len(x),), 3.0).double()))
        pyro.sample("shift", dist.Normal(0.8 * x[:, 1], 0.5))


@pytest.mark.parametrize("start", ["guide", "prior"])
def test_adaptive_on_several_sites(within, start):
    x = torch.tensor([[0.0, 0.3], [2.0, -1.0], [5.0, 0.1]], dtype=torch.float64)
    settings = {"start": start, "num_temperatures": 30, "num_chains": 64, "schedule": "adaptive"}
    estimate = bv.annealed_log_evidence(two_sites, two_sites_guide, x, **settings)
    counts = dist.NegativeBinomial(total_count=torch.tensor(3.0).double(), probs=torch.tensor(1 / 3).double())
    truth = counts.log_prob(x[:, 0]) + dist.Normal(torch.zeros(3).double(), math.sqrt(1.25)).log_prob(x[:, 1])
    within(estimate.log_evidence, truth, estimate.standard_error)


def test_adaptive_where_the_likelihood_vanishes(within):
    """x is uniform within 2 of z: chains that start further off have weight zero, and no deviation to go by."""

    def model(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)).double(), 1.0))
            pyro.sample("x", dist.Uniform(z - 2, z + 2, validate_args=False), obs=x)

    x = torch.tensor([0.0, 1.0], dtype=torch.float64)
    estimate = bv.annealed_log_evidence(
        model, None, x, start="prior", num_temperatures=5, num_chains=500, schedule="adaptive"
    )
    normal = torch.distributions.Normal(0.0, 1.0)
    truth = ((normal.cdf(x + 2) - normal.cdf(x - 2)) / 4).log()
    within(estimate.log_evidence, truth, estimate.standard_error)


@pytest.mark.parametrize(("start", "num_temperatures"), [("guide", 20), ("prior", 200)])
def test_adaptive_sandwich(linear_gaussian, rescaled_guide, start, num_temperatures):
    """Frozen temperatures serve both ways: the bounds lie on their sides of the truth and close."""
    model, _ = linear_gaussian
    guide = rescaled_guide(model, 1.5) if start == "guide" else None
    settings = {"num_observations": 200, "num_temperatures": num_temperatures, "schedule": "adaptive"}
    bounds = bv.bidirectional_bounds(model, guide, **settings)
    truth = model.log_evidence(bounds.observations).detach()
    for error in (truth - bounds.lower, bounds.upper - truth):
        assert error.mean() > -4.9 * error.std() / 200**0.5
    assert bounds.averages()["gap"].value < 0.15


def test_adaptive_with_a_tolerance(linear_gaussian):
    model, x = linear_gaussian
    settings = {"num_temperatures": 4, "num_chains": 32, "tolerance": 0.05, "schedule": "adaptive"}
    estimate = bv.annealed_log_evidence(model, None, x, start="prior", **settings)
    assert estimate.num_temperatures >= 8
    assert abs(estimate.averages()["doubling_step"].value) <= 0.05


def test_progress_within_a_batch(small_vae):
    """Observations count as done in proportion to the chains' way, and the last of them when all are."""
    model, guide, x = small_vae
    calls = []
    bv.annealed_log_evidence(model, guide, x, num_temperatures=10, progress=lambda *call: calls.append(call))
    assert calls == sorted(calls)
    assert calls[-1] == (5, 5)
    assert len({done for done, _ in calls}) == len(calls) > 20
    calls.clear()
    bv.annealed_log_evidence(model, guide, x[:1], num_temperatures=10, progress=lambda *call: calls.append(call))
    assert len([done for done, total in calls if 0 < done < total == 1]) > 20
    calls.clear()
    bv.bidirectional_bounds(model, guide, num_observations=4, num_temperatures=10, progress=lambda *c: calls.append(c))
    assert calls == sorted(calls)
    assert calls[-1] == (4, 4)
    assert ticker(None, slice(0, 3), 3, 10) is None


def test_how_the_figure_reads(linear_gaussian, rescaled_guide):
    model, x = linear_gaussian
    fine = bv.annealed_log_evidence(model, rescaled_guide(model, 1.0), x, num_temperatures=10)
    assert str(fine.reading) == "lower bound in expectation"
    assert list(map(words, fine.readings)) == ["lower bound in expectation"] * 7
    averages = fine.averages()
    assert list(averages) == ["log_evidence", "acceptance", "effective_sample_size", "spread"]
    assert averages["log_evidence"].reading == fine.reading
    assert averages["acceptance"].value == pytest.approx(fine.acceptance.mean().item())
    assert averages["spread"].value == pytest.approx(fine.spread.mean().item())
    assert 1 <= averages["effective_sample_size"].value <= fine.num_chains
    coarse = bv.annealed_log_evidence(model, None, x, start="prior", num_temperatures=2)
    count = int((~coarse.converged).sum())
    assert count > 0
    why = f"annealed chains disagree for {count} of 7; num_temperatures=8 takes 4 times as long"
    assert str(coarse.reading) == f"lower bound, not converged: {why}"
    assert list(map(words, coarse.readings)).count("lower bound, not converged") == count
    assert coarse.standard_error.isnan().tolist() == (~coarse.converged).tolist()
    assert math.isnan(coarse.averages()["log_evidence"].monte_carlo_error)


def test_one_chain_has_no_spread(small_vae):
    model, guide, x = small_vae
    one = bv.annealed_log_evidence(model, guide, x, num_temperatures=3, num_chains=1)
    assert one.spread.isnan().all()
    assert math.isnan(one.averages()["log_evidence"].monte_carlo_error)
    assert list(map(words, one.readings)) == ["lower bound, not converged"] * 5
    assert str(one.reading) == "lower bound, not converged: the weight of one chain says nothing about its error"
