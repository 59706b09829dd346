"""Bayes' rule on a grid against the exact posterior, the quadrature, and the identity itself."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import GridWarning, NotDefinedError, NumericalError, SettingsError
from bayes_vae.estimators import grid as grid_module
from bayes_vae.guides import AmortizedNormalGuide, ExactLinearGaussianGuide
from bayes_vae.models import VAE, LinearGaussianVAE

SOURCES = ("distributions", "traces")


def nodes_of(rule):
    """Every node, shape (G, G, 2)."""
    return torch.stack(torch.meshgrid(rule.first_axis, rule.second_axis, indexing="ij"), -1)


@pytest.fixture(scope="module")
def nonlinear(isolated_globals):
    with isolated_globals(seed=3):
        networks = {"latent_dim": 2, "data_shape": (3, 2), "hidden_dims": (5,)}
        model, guide = VAE(**networks).double(), AmortizedNormalGuide(**networks).double()
        return model, guide, model.sample(4, seed=2)


@pytest.mark.parametrize("source", SOURCES)
def test_every_term_is_the_exact_one(linear_gaussian, rescaled_guide, source):
    model, x = linear_gaussian
    guide = rescaled_guide(model, 1.3)
    rule = bv.bayes_rule_on_grid(model, guide, x, num_points=121, source=source)
    z = nodes_of(rule)
    tolerance = {"rtol": 0, "atol": 1e-8}
    torch.testing.assert_close(rule.log_prior, model.prior().log_prob(z), **tolerance)
    torch.testing.assert_close(rule.log_evidence, model.log_evidence(x).detach(), **tolerance)
    exact, q = model.exact_posterior(x), guide.variational_posterior(x)
    for row in range(len(x)):
        likelihood = model.likelihood(z).log_prob(x[row])
        torch.testing.assert_close(rule.log_likelihood[row], likelihood.detach(), **tolerance)
        posterior = dist.MultivariateNormal(exact.loc[row], exact.covariance_matrix[row]).log_prob(z)
        torch.testing.assert_close(rule.log_posterior[row], posterior.detach(), **tolerance)
        log_q = dist.Normal(q.mean[row], q.stddev[row]).log_prob(z).sum(-1)
        torch.testing.assert_close(rule.log_guide[row], log_q.detach(), **tolerance)


@pytest.mark.parametrize("source", SOURCES)
def test_bayes_rule_holds_at_every_node_and_the_posterior_integrates_to_one(nonlinear, source):
    model, guide, x = nonlinear
    rule = bv.bayes_rule_on_grid(model, guide, x, num_points=101, source=source)
    assert rule.log_prior.shape == (101, 101)
    assert rule.log_likelihood.shape == rule.log_posterior.shape == rule.log_guide.shape == (4, 101, 101)
    assert (rule.num_points, rule.num_observations, rule.provenance.source) == (101, 4, source)
    left = rule.log_posterior + rule.log_evidence[:, None, None]
    torch.testing.assert_close(left, rule.log_prior + rule.log_likelihood, rtol=0, atol=1e-12)
    area = (rule.first_axis[1] - rule.first_axis[0]) * (rule.second_axis[1] - rule.second_axis[0])
    torch.testing.assert_close(rule.log_posterior.exp().sum((1, 2)) * area, torch.ones(4).double())
    truth = bv.quadrature_log_evidence(model, guide, x, tolerance=1e-10)
    torch.testing.assert_close(rule.log_evidence, truth.log_evidence, rtol=0, atol=1e-5)  # 5σ of the prior's tails
    assert (rule.refinement_error < 1e-6).all()
    assert abs(rule.missed_prior_mass) < 1e-5
    assert (rule.missed_guide_mass.abs() < 1e-5).all()


def test_inference_gap_is_what_the_elbo_lacks(linear_gaussian, rescaled_guide):
    model, x = linear_gaussian
    guide = rescaled_guide(model, 1.3)
    rule = bv.bayes_rule_on_grid(model, guide, x)
    gap = model.log_evidence(x) - model.elbo(x, guide.variational_posterior(x))
    torch.testing.assert_close(rule.inference_gap, gap.detach(), rtol=0, atol=1e-4)
    exact = bv.bayes_rule_on_grid(model, ExactLinearGaussianGuide(model), x)
    torch.testing.assert_close(exact.inference_gap, torch.zeros(len(x)).double(), rtol=0, atol=1e-9)


def test_inference_gap_on_a_small_grid_is_that_of_what_the_grid_holds(linear_gaussian, rescaled_guide):
    model, x = linear_gaussian
    with pytest.warns(GridWarning):
        rule = bv.bayes_rule_on_grid(model, rescaled_guide(model, 1.3), x, width=0.7, num_points=41)
    q, posterior = rule.log_guide.flatten(1).softmax(1), rule.log_posterior.flatten(1).softmax(1)
    torch.testing.assert_close(rule.inference_gap, (q * (q / posterior).log()).sum(1), rtol=0, atol=1e-8)


def test_result_does_not_depend_on_the_chunk_and_memory_is_bounded(nonlinear, monkeypatch):
    model, guide, x = nonlinear
    whole = bv.bayes_rule_on_grid(model, guide, x, num_points=31)
    sizes = []

    def spy(z, decode=model.likelihood):
        sizes.append(z.shape[:-1].numel())
        return decode(z)

    monkeypatch.setattr(model, "likelihood", spy)
    monkeypatch.setattr(grid_module, "ROWS_AT_ONCE", 100)
    pieces = bv.bayes_rule_on_grid(model, guide, x, num_points=31)
    assert sizes.count(100) == 31**2 // 25
    for name in ("log_prior", "log_likelihood", "log_guide"):
        torch.testing.assert_close(getattr(pieces, name), getattr(whole, name), rtol=0, atol=1e-12)


def test_several_batches(rescaled_guide, isolated_globals):
    with isolated_globals(seed=0):
        model = LinearGaussianVAE(2, (3,)).double()
        x = model.sample(40, seed=1)
    rule = bv.bayes_rule_on_grid(model, rescaled_guide(model, 1.2), x, num_points=61)
    torch.testing.assert_close(rule.log_evidence, model.log_evidence(x).detach(), rtol=0, atol=1e-5)


def test_width_is_taken_around_the_priors_mean(linear_gaussian, rescaled_guide):
    model, x = linear_gaussian
    rule = bv.bayes_rule_on_grid(model, rescaled_guide(model, 1.0), x, width=6.0, num_points=121)
    for axis in (rule.first_axis, rule.second_axis):
        assert (axis[-1] - axis[0]).item() == pytest.approx(12.0)
        assert axis.mean().item() == pytest.approx(0.0, abs=0.3)
        torch.testing.assert_close(axis.diff(), axis.diff()[:1].expand(120), rtol=0, atol=1e-12)


def test_what_a_small_grid_misses_is_said(linear_gaussian, rescaled_guide):
    model, x = linear_gaussian
    with pytest.warns(GridWarning) as caught:
        rule = bv.bayes_rule_on_grid(model, rescaled_guide(model, 1.0), x, width=1.0, index=torch.arange(10, 17))
    messages = [str(warning.message) for warning in caught]
    assert messages[0].startswith(f"the grid misses {rule.missed_prior_mass:.2g} of the prior's mass. Widen the grid")
    worst = int(rule.missed_guide_mass.argmax())
    assert f"({rule.missed_guide_mass[worst]:.2g}) for index {10 + worst}" in messages[1]
    kept = 1 - rule.missed_prior_mass
    assert kept == pytest.approx(math.erf(1 / 2**0.5) ** 2, abs=0.03)
    assert (rule.missed_guide_mass > 1e-3).any()
    assert all(warning.filename == __file__ for warning in caught)


def test_a_coarse_grid_is_said(linear_gaussian, rescaled_guide):
    model, x = linear_gaussian
    with pytest.warns(GridWarning) as caught:
        rule = bv.bayes_rule_on_grid(model, rescaled_guide(model, 3.0), x, num_points=15)
    worst = int(rule.refinement_error.argmax())
    start = "the grid is coarse for 7 posterior(s): without every second node log p(x) changes by up to "
    assert [str(warning.message).startswith(start) for warning in caught] == [True]
    assert f"{rule.refinement_error[worst]:.2g} nats, for index {worst}. Widen" in str(caught[0].message)


def two_sites(x):
    with pyro.plate("rows", len(x)):
        rate = pyro.sample("rate", dist.Gamma(torch.full((len(x),), 3.0).double(), 2.0))
        shift = pyro.sample("shift", dist.Normal(torch.zeros(len(x)).double(), 1.0))
        pyro.sample("count", dist.Poisson(rate), obs=x[:, 0])
        pyro.sample("level", dist.Normal(shift, 0.5), obs=x[:, 1])


def two_sites_guide(x):
    with pyro.plate("rows", len(x)):
        pyro.sample("rate", dist.LogNormal(0.3 * x[:, 0], 0.5))
        pyro.sample("shift", dist.Normal(0.8 * x[:, 1], 0.5))


def test_two_sites_one_of_them_constrained():
    """The axes are log rate and shift, and the densities those of them."""
    x = torch.tensor([[1.0, 0.3], [2.0, -1.0]], dtype=torch.float64)
    rule = bv.bayes_rule_on_grid(two_sites, two_sites_guide, x, num_points=121)
    counts = dist.NegativeBinomial(torch.tensor(3.0).double(), probs=torch.tensor(1 / 3, dtype=torch.float64))
    levels = dist.Normal(torch.zeros(2).double(), math.sqrt(1 + 0.25))
    truth = counts.log_prob(x[:, 0]) + levels.log_prob(x[:, 1])
    torch.testing.assert_close(rule.log_evidence, truth, rtol=0, atol=1e-4)
    z = nodes_of(rule)
    log_q = dist.Normal(torch.tensor(0.3, dtype=torch.float64), 0.5).log_prob(z[..., 0]) + dist.Normal(
        torch.tensor(0.24, dtype=torch.float64), 0.5
    ).log_prob(z[..., 1])
    torch.testing.assert_close(rule.log_guide[0], log_q, rtol=0, atol=1e-8)


def fixed_size_model(x):
    """Neither a plate of particles nor repeated observations work here: particles are run one by one."""
    with pyro.plate("data", 3):
        z = pyro.sample("z", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z.reshape(3, 2).sum(-1), 1.0), obs=x)


def fixed_size_guide(x):
    with pyro.plate("data", 3):
        pyro.sample("z", dist.Normal(x.unsqueeze(-1).expand(3, 2) / 3, 0.8).to_event(1))


def test_particles_that_run_one_by_one():
    x = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64)
    truth = dist.Normal(torch.zeros(3).double(), math.sqrt(3.0)).log_prob(x)
    rule = bv.bayes_rule_on_grid(fixed_size_model, fixed_size_guide, x, num_points=25)
    assert rule.provenance.particles == "loop"
    torch.testing.assert_close(rule.log_evidence, truth, rtol=0, atol=1e-3)
    log_q = dist.Normal(x / 3, 0.8).log_prob(nodes_of(rule).unsqueeze(-1)).sum(2).movedim(-1, 0)
    torch.testing.assert_close(rule.log_guide, log_q, rtol=0, atol=1e-8)
    found = bv.quadrature_log_evidence(fixed_size_model, fixed_size_guide, x, num_points=8, tolerance=1e-3)
    torch.testing.assert_close(found.log_evidence, truth, rtol=0, atol=1e-3)


def test_a_prior_that_depends_on_covariates_is_refused():
    def model(x, y):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(y.unsqueeze(-1).expand(-1, 2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=x)

    def guide(x, y):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(len(x), 2).double(), 1.0).to_event(1))

    x, y = torch.zeros(2).double(), torch.tensor([0.0, 1.0]).double()
    with pytest.raises(NotDefinedError, match="the prior differs between observations"):
        bv.bayes_rule_on_grid(model, guide, (x, y), num_points=41)
    one = bv.bayes_rule_on_grid(model, guide, (x[1:], y[1:]), num_points=61)
    truth = dist.Normal(2.0, math.sqrt(3.0)).log_prob(torch.tensor(0.0)).item()
    assert one.log_evidence.item() == pytest.approx(truth, abs=1e-5)


@pytest.mark.parametrize("latent_dim", [1, 3])
def test_other_dimensions_are_refused(isolated_globals, rescaled_guide, latent_dim):
    with isolated_globals(seed=0):
        model = LinearGaussianVAE(latent_dim, (3,))
    message = f"draws two latent dimensions, and this pair has {latent_dim}. Train it with latent_dim=2"
    with pytest.raises(NotDefinedError, match=message):
        bv.bayes_rule_on_grid(model, rescaled_guide(model, 1.0), torch.zeros(2, 3))


def test_discrete_latents_are_refused():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(torch.full((len(x), 2), 0.3)).to_event(1))
            pyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(torch.full((len(x), 2), 0.5)).to_event(1))

    with pytest.raises(NotDefinedError, match="latent site 'z' is discrete: a grid over the plane"):
        bv.bayes_rule_on_grid(model, guide, torch.zeros(3))


def test_auxiliary_sites_are_refused():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            extra = pyro.sample("extra", dist.Normal(torch.zeros(len(x)), 1.0), infer={"is_auxiliary": True})
            pyro.sample("z", dist.Normal(extra.unsqueeze(-1).expand(*extra.shape, 2), 1.0).to_event(1))

    with pytest.raises(NotDefinedError, match="guide site 'extra' is auxiliary"):
        bv.bayes_rule_on_grid(model, guide, torch.zeros(3))


def test_nan_at_a_node_is_an_error(isolated_globals):
    with isolated_globals(seed=0):
        model = LinearGaussianVAE(2, (3,)).double()
        guide = AmortizedNormalGuide(2, (3,), hidden_dims=(4,)).double()
    with torch.no_grad():
        model.weight[0, 0] = torch.nan
    with pytest.raises(NumericalError, match=r"log_likelihood is NaN or \+infinity at a node for 2 .* index 4"):
        bv.bayes_rule_on_grid(model, guide, torch.zeros(2, 3).double(), index=torch.tensor([4, 5]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_points": 4}, "num_points must be a whole number of at least 5, got 4"),
        ({"width": 0.0}, "width must be positive, in units of z, got 0"),
    ],
)
def test_settings_are_checked(linear_gaussian, rescaled_guide, settings, message):
    model, x = linear_gaussian
    with pytest.raises(SettingsError, match=message):
        bv.bayes_rule_on_grid(model, rescaled_guide(model, 1.0), x, **settings)


def test_the_elbo_and_its_terms_are_those_of_the_closed_form(linear_gaussian, rescaled_guide):
    """Sums over the grid, which ends five deviations out, against the linear-Gaussian closed forms."""
    model, x = linear_gaussian
    guide = rescaled_guide(model, 1.3)
    rule = bv.bayes_rule_on_grid(model, guide, x, num_points=121)
    q = guide.variational_posterior(x)
    kl = torch.distributions.kl_divergence(
        dist.Normal(q.mean, q.stddev), dist.Normal(torch.zeros_like(q.mean), torch.ones_like(q.mean))
    ).sum(-1)
    tolerance = {"rtol": 0, "atol": 1e-6}
    torch.testing.assert_close(rule.kl_to_prior, kl.detach(), **tolerance)
    torch.testing.assert_close(rule.elbo, model.elbo(x, q).detach(), **tolerance)
    torch.testing.assert_close(rule.expected_log_likelihood, (model.elbo(x, q) + kl).detach(), **tolerance)
    torch.testing.assert_close(rule.elbo + rule.inference_gap, rule.log_evidence, **tolerance)
    torch.testing.assert_close(rule.expected_log_guide - rule.expected_log_prior, kl.detach(), **tolerance)
    assert rule.resolved.all()


def test_a_grid_that_warns_is_not_resolved(linear_gaussian, rescaled_guide):
    model, x = linear_gaussian
    with pytest.warns(GridWarning):
        rule = bv.bayes_rule_on_grid(model, rescaled_guide(model, 1.3), x, num_points=121, width=0.5)
    assert not rule.resolved.any()
    assert rule.coarser.num_points == 61
