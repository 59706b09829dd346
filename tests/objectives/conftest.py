"""Two pairs over the same data: one of ours, one in the style of Pyro's VAE example."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE

N, SHAPE, D = 6, (3, 2), 2


class PyroStyle(nn.Module):
    """Both programs as methods, their networks registered under fixed names."""

    def __init__(self):
        super().__init__()
        self.decoder, self.encoder = nn.Linear(D, 6).double(), nn.Linear(6, 2 * D).double()

    def model(self, x):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), D).to(x), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x.reshape(-1, 6))

    def guide(self, x):
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", len(x)):
            loc, log_scale = self.encoder(x.reshape(-1, 6)).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


def ours():
    settings = {"latent_dim": D, "data_shape": SHAPE, "hidden_dims": (4,)}
    return VAE(**settings).double(), AmortizedNormalGuide(**settings).double()


def foreign():
    pair = PyroStyle()
    return pair.model, pair.guide


@pytest.fixture
def make_ours(clean_globals):
    """A fresh pair of ours at each call."""
    return ours


@pytest.fixture
def make_foreign(clean_globals):
    """A fresh pair of bound methods at each call."""
    return foreign


@pytest.fixture(params=[ours, foreign])
def make_pair(request, clean_globals):
    """A fresh pair at each call; once ours, once bound methods."""
    return request.param


@pytest.fixture
def x(clean_globals):
    """Zeros and ones, shape (N, 3, 2)."""
    return torch.bernoulli(torch.full((N, *SHAPE), 0.5, dtype=torch.float64))


@pytest.fixture(scope="session")
def parameters_of():
    """``parameters_of(model, guide)``: all parameters of the modules behind the programs."""

    def gather(*programs):
        owners = {id(owner): owner for owner in (getattr(p, "__self__", p) for p in programs)}
        return [parameter for owner in owners.values() for parameter in owner.parameters()]

    return gather
