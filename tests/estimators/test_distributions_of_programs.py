"""Pyro's usual programs with one normal latent: what needs distributions reads them off the sites."""

import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import NotDefinedError
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE

SHAPE, D, N = (2, 3), 2, 30
SETTINGS = {"latent_dim": D, "data_shape": SHAPE, "hidden_dims": (4,)}
LIKELIHOODS = {
    "bernoulli": ("bernoulli", lambda out: dist.Bernoulli(logits=out)),
    "normal": ({"name": "normal", "scale": 0.5}, lambda out: dist.Normal(out, 0.5)),
}


def programs(model, guide, family, site="latent"):
    """The same pair in the form of Pyro's example: flat images, sites of other names."""
    pixels = torch.Size(SHAPE).numel()

    def program(x):
        pyro.module("decoder", model.decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample(site, dist.Normal(torch.zeros(len(x), D).to(x), 1.0).to_event(1))
            pyro.sample("obs", family(model.decoder(z)).to_event(1), obs=x.reshape(-1, pixels))

    def its_guide(x):
        with pyro.plate("data", len(x)):
            q = guide.variational_posterior(x).base_dist
            pyro.sample(site, dist.Normal(q.loc, q.scale).to_event(1))

    return program, its_guide


@pytest.fixture(params=LIKELIHOODS)
def pairs(request, isolated_globals):
    name, family = LIKELIHOODS[request.param]
    with isolated_globals(seed=0):
        model, guide = VAE(**SETTINGS, likelihood=name).double(), AmortizedNormalGuide(**SETTINGS).double()
        for weight in (*model.parameters(), *guide.parameters()):
            torch.nn.init.normal_(weight, std=0.7)
        x = model.sample(N, seed=1)
    return (model, guide), programs(model, guide, family, site="z"), x


def test_the_aggregate_posterior_is_that_of_the_exposed_pair(pairs):
    exposed, traced, x = pairs
    found, truth = (bv.aggregate_posterior_terms(*pair, x, 5) for pair in (traced, exposed))
    assert found.provenance.source == "traces"
    for name in ("index_code_mutual_information", "total_correlation", "dimensionwise_kl"):
        torch.testing.assert_close(getattr(found, name), getattr(truth, name), rtol=1e-6, atol=1e-8)


def test_the_gap_is_split_as_that_of_the_exposed_pair(pairs):
    exposed, traced, x = pairs
    few = {"num_temperatures": 3, "num_chains": 2, "max_steps": 100}
    found, truth = (bv.inference_gap(*pair, x[:3], 50, **few) for pair in (traced, exposed))
    torch.testing.assert_close(found.approximation_gap, truth.approximation_gap, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.amortization_gap, truth.amortization_gap, rtol=1e-5, atol=1e-6)


OTHER = {
    "a prior that differs": (lambda x: dist.Normal(x[:, :1].expand(-1, D), 1.0).to_event(1), None),
    "a prior of another kind": (lambda x: dist.Laplace(torch.zeros(len(x), D), 1.0).to_event(1), None),
    "a mask": (None, lambda out, x: dist.Normal(out, 1.0).mask(x > -9)),
    "a likelihood of its own": (None, lambda out, x: dist.LogNormal(out, 1.0)),
}


@pytest.mark.parametrize("kind", OTHER)
def test_other_programs_keep_their_refusal(kind, isolated_globals):
    prior, likelihood = OTHER[kind]
    with isolated_globals(seed=0):
        decoder, x = torch.nn.Linear(D, 4), torch.randn(N, 4).exp()

    def program(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", prior(x) if prior else dist.Normal(torch.zeros(len(x), D), 1.0).to_event(1))
            density = likelihood(decoder(z), x) if likelihood else dist.Normal(decoder(z), 1.0)
            pyro.sample("x", density.to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x[:, :D], 1.0).to_event(1))

    if kind == "a prior that differs":  # it sees x, and so is refused before
        with pytest.raises(bv.errors.LikelihoodSeesDataError):
            bv.aggregate_posterior_terms(program, guide, x, 5)
        return
    with pytest.raises(NotDefinedError, match="does not expose its distributions"):
        bv.aggregate_posterior_terms(program, guide, x, 5)


def test_a_diagnosis_asks_as_much_and_measures_the_same(pairs):
    exposed, traced, _ = pairs
    x = exposed[0].sample(300, seed=2)
    binary = bool(((x == 0) | (x == 1)).all())
    data = bv.load_data(x, kind="binary", policy="none") if binary else bv.load_data(x, kind="real")
    single = [nothing.float() for pair in (exposed, traced) for nothing in pair if isinstance(nothing, torch.nn.Module)]
    assert len(single) == 2  # the programs use the same networks
    found, truth = (bv.diagnose(*pair, data, num_observations=60) for pair in (traced, exposed))
    read = ("largest_logit", "train_amortization_gap", "residual_over_scale", "median_scale")
    names = [name for name in read if name in truth.measurements]
    assert len(names) >= 2
    for name in names:
        assert found.measurements[name].value == pytest.approx(truth.measurements[name].value, rel=1e-3), name
