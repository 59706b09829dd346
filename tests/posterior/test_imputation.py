"""Imputation against the closed form of a linear-Gaussian model, with guides good and poor, and refusals."""

import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import DataError, NotDefinedError
from bayes_vae.guides import ExactLinearGaussianGuide
from bayes_vae.models import LinearGaussianVAE
from bayes_vae.posterior.hamiltonian import Plan

N, P = 6, 5


@pytest.fixture(autouse=True)
def short_chains(monkeypatch):
    """As many draws as an effective sample size of 400 needs of these posteriors."""
    monkeypatch.setattr("bayes_vae.posterior.imputation.CHAINS", Plan(300, 4, 200, 4, True))


@pytest.fixture
def linear(isolated_globals):
    """A model, x with gaps, and mean and covariance of each row's missing numbers given the others."""
    with isolated_globals(seed=0), torch.no_grad():
        model = LinearGaussianVAE(2, (P,)).double()
        model.bias.normal_()
        model.log_scale.fill_(-0.7)
        x = model.sample(N, seed=3)
        missing = torch.rand(N, P) < 0.4
    missing[:, 0], missing[:, 1], missing[0] = False, True, False
    return model, torch.where(missing, torch.nan, x)


def conditional(model, row):
    """The normal of the missing numbers of a row, by the formula for parts of a normal vector."""
    a, b = row.isnan(), ~row.isnan()
    w, m = model.weight.detach(), model.bias.detach()
    s = w @ w.T + (2 * model.log_scale.detach()).exp() * torch.eye(P).double()
    gain = s[a][:, b] @ torch.linalg.inv(s[b][:, b])
    return m[a] + gain @ (row[b] - m[b]), s[a][:, a] - gain @ s[b][:, a]


class Scaled(ExactLinearGaussianGuide):
    """The exact posterior, moved and scaled: by 1.3 still a good proposal, by 0.05 and far off a bad one."""

    def __init__(self, model, factor, shift=0.0):
        super().__init__(model)
        self.factor, self.shift = factor, shift

    def variational_posterior(self, x):
        exact = super().variational_posterior(x)
        return dist.MultivariateNormal(exact.loc + self.shift, scale_tril=self.factor * exact.scale_tril)


GUIDES = {"good": (1.3, 0.0, "importance resampling"), "poor": (0.05, 1.0, "Hamiltonian draws")}


@pytest.mark.parametrize("guide", GUIDES)
def test_means_and_draws_are_those_of_the_closed_form(linear, guide, within, monkeypatch):
    """Means within their errors; the draws' own mean and variance too, which the likelihood's mean alone would miss."""
    monkeypatch.setattr("bayes_vae.posterior.imputation.CHAINS", Plan(600, 4, 300, 8, True))
    model, x = linear
    factor, shift, method = GUIDES[guide]
    found = bv.impute(model, Scaled(model, factor, shift), x, 2000, num_particles=2000)
    assert found.methods == ("nothing missing", *(method,) * (N - 1))
    for n in range(1, N):
        gaps = x[n].isnan()
        mean, covariance = conditional(model, x[n])
        within(found.mean[n][gaps], mean, found.mean_error[n][gaps])
        assert (found.mean_error[n][gaps] < 0.2 * covariance.diagonal().sqrt()).all()
        draws = found.draws[:, n][:, gaps]
        deviation = covariance.diagonal().sqrt()
        within(draws.mean(0), mean, 1.5 * deviation / 2000**0.5)
        within(draws.var(0), deviation**2, 2 * deviation**2 / 1000**0.5)


def test_observed_numbers_stay_and_a_whole_row_is_left_alone(linear):
    model, x = linear
    found = bv.impute(model, Scaled(model, 1.3), x, 5, num_particles=500)
    seen = ~x.isnan()
    assert found.draws.shape == (5, N, P)
    assert all(torch.equal(draw[seen], x[seen]) for draw in found.draws)
    assert torch.equal(found.mean[seen], x[seen])
    assert not found.mean_error[seen].any()
    assert not found.draws.isnan().any()
    assert (found.sd[~seen] > 0).all()
    assert not found.refused.any()
    assert "5 draws of" in repr(found)


def test_the_same_seed_gives_the_same_draws_and_another_others(linear):
    model, x = linear
    one, two, other = (bv.impute(model, Scaled(model, 1.3), x, 5, num_particles=500, seed=s).draws for s in (1, 1, 2))
    assert torch.equal(one.nan_to_num(), two.nan_to_num())
    assert not torch.equal(one.nan_to_num(), other.nan_to_num())


def with_gaps(x):
    """z is one of two; x the sum of what it says and of noise, its missing numbers masked."""
    missing = x.isnan()
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Bernoulli(torch.full((len(x),), 0.5)))
        loc = z.unsqueeze(-1).expand(len(x), 2)
        pyro.sample("x", dist.Normal(loc, 1.0).mask(~missing).to_event(1), obs=x)


def coin_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Bernoulli(torch.full((len(x),), 0.5)))


def test_where_nothing_can_be_trusted_there_is_no_answer():
    """k̂ says nothing of discrete latents, and Hamiltonian chains need continuous ones."""
    x = torch.tensor([[0.3, torch.nan], [1.0, 2.0]])
    found = bv.impute(with_gaps, coin_guide, x, 5, num_particles=500)
    assert found.methods == ("refused", "nothing missing")
    assert found.refused.tolist() == [True, False]
    assert found.draws[:, 0, 1].isnan().all()
    assert found.mean[0, 1].isnan()
    assert found.mean_error[0, 1].isnan()
    assert torch.equal(found.mean[1], x[1].double())


def two_modes(x):
    """z = ±1 explain the first number equally well, and the second has the sign of z: chains cannot cross."""
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(len(x)).double(), 1.0))
        loc = torch.stack([z.abs(), z], -1)
        pyro.sample("x", dist.Normal(loc, 0.02).mask(~x.isnan()).to_event(1), obs=x)


def one_mode_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(torch.full((len(x),), 1.3).double(), 0.02))


def test_chains_that_disagree_are_refused():
    x = torch.tensor([[1.0, torch.nan]]).double()
    found = bv.impute(two_modes, one_mode_guide, x, 5, num_particles=500)
    assert found.methods == ("refused",)


def program(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))
        loc = torch.stack([z[..., 0], z[..., 0] + z[..., 1], z[..., 1]], -1)
        pyro.sample("x", dist.Normal(loc, 0.5).mask(~x.isnan()).to_event(1), obs=x)


def program_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(torch.zeros(len(x), 2).double(), 1.1).to_event(1))


def test_a_pyro_program_with_masks_is_imputed_too(within):
    """The first number given the third alone is N(0, 1.25); the second given both others is known in closed form."""
    x = torch.tensor([[torch.nan, torch.nan, 0.8], [0.5, torch.nan, -1.0]]).double()
    found = bv.impute(program, program_guide, x, 1000, num_particles=3000)
    assert found.methods == ("importance resampling",) * 2
    within(found.mean[0, 0], 0.0, found.mean_error[0, 0])
    within(found.mean[0, 1], 0.8 / 1.25, found.mean_error[0, 1])
    within(found.mean[1, 1], (0.5 - 1.0) / 1.25, found.mean_error[1, 1])
    within(found.draws[:, 1, 1].var(), 2 * 0.2 + 0.25, 2 * 0.65 / 500**0.5)


def test_nothing_missing_is_an_error(linear):
    model, x = linear
    with pytest.raises(DataError, match="no missing value to impute"):
        bv.impute(model, ExactLinearGaussianGuide(model), x[:1])


class WithoutMean(LinearGaussianVAE):
    def likelihood(self, z):
        normal = super().likelihood(z)
        return dist.Independent(dist.Cauchy(normal.mean, 1.0), 1)


def test_a_likelihood_without_a_mean_is_an_error(isolated_globals):
    with isolated_globals(seed=0):
        model, exact = WithoutMean(1, (2,)), LinearGaussianVAE(1, (2,))
    x = torch.tensor([[0.3, torch.nan]])
    with pytest.raises(NotDefinedError, match="no mean, so missing values have none"):
        bv.impute(model, ExactLinearGaussianGuide(exact), x, 5, num_particles=100)
