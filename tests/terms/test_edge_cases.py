"""Odd but legitimate pairs: each once gave a wrong number, or none."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import bayes_vae as bv
from bayes_vae.distributions import diagonal_normal
from bayes_vae.errors import NotDefinedError, ProgramError, ShapeError
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE
from bayes_vae.runs import ParameterizedProgram


def scalar_model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def scalar_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x / 2, 0.5**0.5))


@pytest.mark.parametrize("kl", ["analytic", "sampled"])
def test_one_number_for_each_observation(kl, within):
    x = torch.tensor([0.3, -2.0])
    terms = bv.elbo_terms(scalar_model, scalar_guide, x, 2000, kl=kl)
    truth = dist.Normal(0.0, 2.0**0.5).log_prob(x)
    within(terms.elbo, truth, terms.elbo_error + 1e-5)
    assert terms.kl_per_dimension.shape == (2, 1)


def test_a_parent_whose_influence_is_rare_is_seen():
    """Two draws rarely differ here; the gradient tells that the site depends on another all the same."""

    def model(x):
        with pyro.plate("data", len(x)):
            z1 = pyro.sample("z1", dist.Normal(torch.zeros(len(x)), 1.0))
            z2 = pyro.sample("z2", dist.Normal(5 * torch.relu(z1 - 1.5), 1.0))
            pyro.sample("x", dist.Normal(z1 + z2, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z1", dist.Normal(torch.zeros(len(x)), 1.0))
            pyro.sample("z2", dist.Normal(torch.zeros(len(x)), 1.0))

    x = torch.zeros(2)
    for seed in range(3):
        assert bv.elbo_terms(model, guide, x, 10, seed=seed).kl == "sampled"
    with pytest.raises(NotDefinedError, match="a latent site depends on another latent"):
        bv.elbo_terms(model, guide, x, 10, kl="analytic")


def test_a_missed_value_of_a_discrete_latent_is_not_called_exact():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Categorical(torch.tensor([0.5, 0.5])))
            pyro.sample("x", dist.Normal(20.0 * z - 10, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Categorical(torch.tensor([0.9999, 0.0001]).expand(len(x), 2)))

    estimate = bv.estimate_log_evidence(model, guide, torch.tensor([10.0]), 500)
    assert not estimate.converged.any()
    assert str(estimate.reading) == "lower bound, not converged: k̂ is not defined for discrete latents"
    assert math.isnan(estimate.averages()["log_evidence"].monte_carlo_error)


class HalfNormal(dist.Normal):
    """A user's class derived from Normal that draws and weighs in its own way."""

    def rsample(self, sample_shape=()):
        return super().rsample(sample_shape).abs()

    def log_prob(self, value):
        return super().log_prob(value) + math.log(2)


def test_a_class_derived_from_normal_keeps_its_own_ways(within):
    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", HalfNormal(torch.zeros(len(x)), 1.0))

    x = torch.zeros(3)
    terms = bv.log_terms(scalar_model, guide, x, 100, keep_latents=True)
    assert (terms.latents["z"] >= 0).all()
    assert terms.provenance.randomness == "data blocks"
    elbo = bv.elbo_terms(scalar_model, guide, x, 100)
    assert elbo.kl == "sampled"
    within(elbo.kl_to_prior, math.log(2), 1e-6)


def test_a_wrapped_program_shows_its_module(clean_globals):
    network = nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.5))

    class Owner(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def guide(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(self.network(x[:, None]).squeeze(-1), 1.0))

    owner = Owner().train()
    wrapped = ParameterizedProgram(owner.guide, {})
    x = torch.linspace(-1, 1, 6)
    first, second = (bv.elbo_terms(scalar_model, wrapped, x, 2, seed=seed).kl_to_prior for seed in (0, 1))
    assert torch.equal(first, second)
    assert owner.training


def test_latents_of_different_sizes_are_refused(isolated_globals):
    with isolated_globals(seed=0):
        model, guide = VAE(5, (2, 3)), AmortizedNormalGuide(3, (2, 3))
        with pytest.raises(ProgramError, match=r"event shape \(3,\) and prior\(\) \(5,\): expected the same latent"):
            bv.log_terms(model, guide, model.sample(2, seed=0))


def test_a_likelihood_that_only_broadcasts_is_refused(isolated_globals):
    class Broadcast(VAE):
        def likelihood(self, z):
            return diagonal_normal(z[..., :1], torch.ones(1))

    with isolated_globals(seed=0):
        model, guide = Broadcast(2, (4,)), AmortizedNormalGuide(2, (4,))
        with pytest.raises(ProgramError, match=r"likelihood\(z\) has event shape \(1,\), but an observation .* \(4,\)"):
            bv.log_terms(model, guide, torch.zeros(2, 4))


def uniform_model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
        pyro.sample("x", dist.Uniform(torch.zeros(()), z.exp(), validate_args=False), obs=x)


def uniform_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))


def test_a_support_that_depends_on_the_latent(within):
    """p(x) = ∫_{z > log x} e^{−z} N(z) dz = e^{1/2} Φ(−1 − log x): draws that exclude x weigh nothing."""
    x = torch.tensor([0.5, 1.5])
    estimate = bv.estimate_log_evidence(uniform_model, uniform_guide, x, 20_000)
    truth = 0.5 + dist.Normal(0.0, 1.0).cdf(-1 - x.log()).log()
    within(estimate.log_evidence, truth, estimate.standard_error)


@pytest.mark.parametrize("chunk_size", [100, 10, 7])
def test_an_impossible_draw_makes_the_elbo_minus_infinity_whatever_the_chunks(chunk_size):
    terms = bv.elbo_terms(uniform_model, uniform_guide, torch.tensor([0.5, 1.5]), 100, chunk_size=chunk_size)
    assert (terms.elbo == -math.inf).all()
    assert terms.elbo_error.isnan().all()


def test_an_index_that_names_an_observation_twice_is_refused():
    with pytest.raises(ShapeError, match="index must name each observation once"):
        bv.log_terms(scalar_model, scalar_guide, torch.zeros(2), index=torch.tensor([4, 4]))


def test_a_plate_of_the_probes_size_does_not_hinder_splitting():
    def model(x):
        with pyro.plate("data", len(x), dim=-2):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 1), 1.0))
            with pyro.plate("colours", 3, dim=-1):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("z", dist.Normal(x.mean(1, keepdim=True), 0.5))

    x = torch.linspace(-1, 1, 30).reshape(10, 3)
    whole = bv.log_terms(model, guide, x, 5)
    split = bv.log_terms(model, guide, x, 5, batch_size=4)
    torch.testing.assert_close(split.log_likelihood, whole.log_likelihood)
    seen = []
    bv.log_terms(model, guide, x, 5, batch_size=4, progress=lambda done, total: seen.append(done))
    assert seen == [4, 8, 10]


def test_a_scale_that_comes_later_is_refused(clean_globals):
    weight = [1.0]

    def model(x):
        with pyro.plate("data", len(x)):
            with pyro.poutine.scale(scale=weight[0]):
                z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    objective = bv.Elbo()
    x = torch.zeros(4)
    objective.loss(model, scalar_guide, x)
    weight[0] = 0.1
    with pytest.raises(ProgramError, match=r"site 'z' is now scaled by 0.1, and was not when .* first read"):
        objective.loss(model, scalar_guide, x)


def test_the_mean_of_many_estimates_is_covered_though_each_lies_low(linear_gaussian, rescaled_guide):
    """4,000 small estimates: their common bias, half a squared error each, is part of the stated error."""
    model, x = linear_gaussian
    copies, truth = x[:1].repeat(4000, 1), model.log_evidence(x[:1]).item()
    estimate = bv.estimate_log_evidence(model, rescaled_guide(model, 1.8), copies, 40)
    error = (1 / estimate.effective_sample_size - 1 / 40).clamp(min=0).sqrt()
    averages_out = error.square().sum().sqrt() / 4000
    bias = error.square().mean() / 2
    miss = truth - estimate.log_evidence.mean()
    assert miss > 3 * averages_out
    assert abs(miss) < 3 * (averages_out**2 + bias**2).sqrt()
