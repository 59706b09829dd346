"""A report on Pyro's usual programs leaves their networks as they were."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import bayes_vae as bv
from bayes_vae.report import report_contents
from bayes_vae.settings import ReportSettings

FEW = ReportSettings(
    num_observations=6,
    num_particles=10,
    num_encoded=30,
    num_gap_observations=2,
    num_temperatures=3,
    num_simulated=0,
    num_diagnosed=0,
)


class VAE(nn.Module):
    """The shape of Pyro's example, with batch norm in training mode."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))
        self.decoder = nn.Linear(2, 64)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("latent", dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(1))
            pyro.sample("obs", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x.reshape(-1, 64))

    def guide(self, x):
        with pyro.plate("data", len(x)):
            loc, log_scale = self.encoder(x.reshape(-1, 64)).chunk(2, -1)
            pyro.sample("latent", dist.Normal(loc, log_scale.exp()).to_event(1))


@pytest.fixture(scope="module")
def reported(isolated_globals):
    with isolated_globals(seed=0):
        vae = VAE()
        before = {key: value.clone() for key, value in vae.state_dict().items()}
        report_contents(vae.model, vae.guide, bv.load_data("digits", policy="static"), FEW)
        return vae, before


def test_the_networks_are_as_they_were(reported):
    vae, before = reported
    assert all(torch.equal(value, before[key]) for key, value in vae.state_dict().items())
    assert all(module.training for module in vae.modules())
