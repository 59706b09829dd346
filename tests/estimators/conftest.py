"""A pair with two latent sites, one of them constrained, whose evidence is known."""

import math
from typing import NamedTuple

import pyro
import pyro.distributions as dist
import pytest
import torch


class Conjugate(NamedTuple):
    """A model, a guide close to its posterior, observations, and their log p(x)."""

    model: object
    guide: object
    x: torch.Tensor
    log_evidence: torch.Tensor


def _model(x):
    with pyro.plate("rows", len(x)):
        rate = pyro.sample("rate", dist.Gamma(torch.full((len(x),), 3.0).double(), 2.0))
        shift = pyro.sample("shift", dist.Normal(torch.zeros(len(x)).double(), 1.0))
        pyro.sample("count", dist.Poisson(rate), obs=x[:, 0])
        pyro.sample("level", dist.Normal(shift, 0.5), obs=x[:, 1])


def _guide(x):
    with pyro.plate("rows", len(x)):
        pyro.sample("rate", dist.Gamma(3.0 + x[:, 0], torch.full((len(x),), 3.0).double()))
        pyro.sample("shift", dist.Normal(0.8 * x[:, 1], 0.5))


@pytest.fixture
def gamma_poisson():
    """Gamma prior and Poisson counts beside two normals: conjugate, so the counts are negative binomial."""
    x = torch.tensor([[0.0, 0.3], [2.0, -1.0], [5.0, 0.1]], dtype=torch.float64)
    counts = dist.NegativeBinomial(
        total_count=torch.tensor(3.0).double(), probs=torch.tensor(1 / 3, dtype=torch.float64)
    )
    levels = dist.Normal(torch.zeros(3).double(), math.sqrt(1 + 0.25))
    return Conjugate(_model, _guide, x, counts.log_prob(x[:, 0]) + levels.log_prob(x[:, 1]))
