"""A report on Pyro's usual programs has the pictures of one on our pairs, and leaves their networks as they were."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import bayes_vae as bv
from bayes_vae.report import Missing, report_contents
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
        data = bv.load_data("digits", policy="static")
        return vae, before, data, report_contents(vae.model, vae.guide, data, FEW)


def test_pictures_and_parts_are_there(reported):
    _, _, _, contents = reported
    parts = contents.gap, contents.aggregate, contents.latents, contents.pictures, contents.pictures.traversals
    assert [part for part in parts if isinstance(part, Missing)] == []


def test_a_traversal_decodes_the_codes_that_it_names(reported):
    vae, _, _, contents = reported
    found = contents.pictures.traversals
    code = found.held.clone()
    code[found.dimensions[0]] = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(found.along_quantiles[0]))
    expected = vae.decoder(code).sigmoid().reshape(8, 8).detach()
    torch.testing.assert_close(found.along[0, 0], expected)


def test_the_networks_are_as_they_were(reported):
    vae, before, _, _ = reported
    assert all(torch.equal(value, before[key]) for key, value in vae.state_dict().items())
    assert all(module.training for module in vae.modules())
