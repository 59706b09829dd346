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


def beside(model, guide):
    """The same programs, which take a number y beside x and do nothing with it."""
    return (lambda x, y: model(x)), (lambda x, y: guide(x))


def test_what_stands_beside_x_changes_no_part(pairs):
    exposed, traced, x = pairs
    few = {"num_temperatures": 3, "num_chains": 2, "max_steps": 100}
    rows = (x, torch.arange(N))
    found, truth = bv.aggregate_posterior_terms(*beside(*traced), rows, 5), bv.aggregate_posterior_terms(*exposed, x, 5)
    for name in ("index_code_mutual_information", "total_correlation", "dimensionwise_kl"):
        torch.testing.assert_close(getattr(found, name), getattr(truth, name), rtol=1e-6, atol=1e-8)
    some = ((beside(*traced), tuple(part[:3] for part in rows)), (exposed, x[:3]))
    split, same = (bv.inference_gap(*pair, three, 50, **few) for pair, three in some)
    torch.testing.assert_close(split.amortization_gap, same.amortization_gap, rtol=1e-6, atol=1e-6)


def conditional(off):
    """p(z given y) = N(y, 1), p(x given z) = N(z, 1); q has the exact deviation, and a mean that is off."""

    def model(x, y):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(y, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x, y):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal((x + y) / 2 + off, 0.5**0.5).to_event(1))

    return model, guide


def test_the_gap_under_a_conditional_prior_is_the_encoders(within, isolated_globals):
    """The family holds the posterior N((x + y)/2, 1/2), so that the gap is the KL of a moved q: off² for each."""
    with isolated_globals(seed=0):
        y = torch.randn(12, 2).double()
        x = y + 2**0.5 * torch.randn(12, 2).double()
    found = bv.inference_gap(*conditional(0.4), (x, y), 2000, num_temperatures=20)
    truth = torch.full((12,), 2 * 0.4**2, dtype=torch.float64)
    within(found.amortization_gap, truth, found.amortization_gap_error)
    assert float((found.amortization_gap - truth).abs().max()) < 0.05
    assert float(found.approximation_gap.abs().max()) < 0.05


def test_one_aggregate_posterior_has_one_prior(isolated_globals):
    with isolated_globals(seed=0):
        x, y = torch.randn(6, 2).double(), torch.tensor([[0.0, 1.0]] * 5 + [[0.5, 1.0]]).double()
    pair = conditional(0.0)
    rounded = y[:5] + 1e-6 * torch.arange(5).unsqueeze(-1)
    assert bv.aggregate_posterior_terms(*pair, (x[:5], rounded), 5).total_correlation.shape == (5,)
    with pytest.raises(
        NotDefinedError, match=r"the prior of this pair differs between observations: what stands beside"
    ):
        bv.aggregate_posterior_terms(*pair, (x, y), 5)


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


def other(prior=None, likelihood=None):
    """A pair, and x, whose prior or likelihood is another than normal."""
    decoder, x = torch.nn.Linear(D, 4), torch.randn(N, 4).exp()

    def program(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", prior(x) if prior else dist.Normal(torch.zeros(len(x), D), 1.0).to_event(1))
            density = likelihood(decoder(z), x) if likelihood else dist.Normal(decoder(z), 1.0)
            pyro.sample("x", density.to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x[:, :D], 1.0).to_event(1))

    return program, guide, x


@pytest.mark.parametrize("kind", ["a prior that differs", "a prior of another kind"])
def test_programs_of_other_priors_keep_their_refusal(kind, isolated_globals):
    with isolated_globals(seed=0):
        pair = other(*OTHER[kind])
    seen = bv.errors.LikelihoodSeesDataError, "sees|moves|depend"
    kinds = {"a prior that differs": seen}  # it sees x, and so is refused before
    error, match = kinds.get(kind, (NotDefinedError, "does not expose its distributions"))
    with pytest.raises(error, match=match):
        bv.aggregate_posterior_terms(*pair, 5)


@pytest.mark.parametrize("kind", ["a mask", "a likelihood of its own"])
def test_the_aggregate_posterior_asks_for_no_likelihood(kind, isolated_globals):
    """It is of q and the prior alone."""
    with isolated_globals(seed=0):
        pair = other(*OTHER[kind])
    with isolated_globals(seed=0):
        plain = other()
    found, truth = bv.aggregate_posterior_terms(*pair, 5), bv.aggregate_posterior_terms(*plain, 5)
    torch.testing.assert_close(found.total_correlation, truth.total_correlation, rtol=1e-6, atol=1e-8)


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
