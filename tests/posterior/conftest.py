"""Pairs whose posterior is known: a conjugate one with two sites, and one with two modes."""

import copy

import pyro
import pyro.distributions as dist
import pytest
import torch


def counts_and_levels(x):
    """Gamma prior and Poisson counts, a normal shift of two numbers: both posteriors are conjugate."""
    with pyro.plate("rows", len(x), dim=-2):
        rate = pyro.sample("rate", dist.Gamma(torch.full((len(x), 1), 3.0).double(), 2.0))
        shift = pyro.sample("shift", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))
        pyro.sample("count", dist.Poisson(rate), obs=x[:, :1])
        pyro.sample("level", dist.Normal(shift, 0.5).to_event(1), obs=x[:, None, 1:])


def counts_and_levels_guide(x):
    with pyro.plate("rows", len(x), dim=-2):
        pyro.sample("rate", dist.Gamma(2.0 + x[:, :1], torch.full((len(x), 1), 2.0).double()))
        pyro.sample("shift", dist.Normal(0.5 * x[:, None, 1:], 0.7).to_event(1))


def two_modes(x):
    """z and −z explain x equally well."""
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(len(x)).double(), 3.0))
        pyro.sample("x", dist.Normal(z.abs(), 0.05), obs=x)


def discrete(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Bernoulli(torch.full((len(x),), 0.3)))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


@pytest.fixture(scope="session")
def programs():
    """The programs by name."""
    return {
        "counts and levels": counts_and_levels,
        "counts and levels guide": counts_and_levels_guide,
        "two modes": two_modes,
        "discrete": discrete,
    }


@pytest.fixture(scope="session")
def counts():
    """Three observations of ``counts_and_levels``: a count and two levels each."""
    return torch.tensor([[0.0, 0.3, 1.0], [2.0, -1.0, 0.2], [5.0, 0.1, -2.0]], dtype=torch.float64)


@pytest.fixture(scope="session")
def conjugate_posterior():
    """``conjugate_posterior(x)``: site → exact posterior of ``counts_and_levels``, of batch shape (N, …)."""

    def posterior(x):
        rate = dist.Gamma(3.0 + x[:, :1], torch.tensor(3.0).double())
        return {"rate": rate, "shift": dist.Normal(0.8 * x[:, None, 1:], 0.2**0.5)}

    return posterior


@pytest.fixture(scope="session")
def correlated(linear_gaussian):
    """A linear-Gaussian model whose posterior has a correlation of −0.8 or so, and seven observations."""
    model = copy.deepcopy(linear_gaussian[0])
    with torch.no_grad():
        model.weight[:, 1] = 0.3 * model.weight[:, 1] + model.weight[:, 0]
    return model, model.sample(7, seed=1)
