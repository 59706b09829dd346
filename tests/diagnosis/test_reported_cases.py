"""Two reports: categorical latents whose KL was forgotten, and colour images whose diagnosis took five minutes."""

from __future__ import annotations

import time

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import bayes_vae as bv

GROUPS, VALUES = 6, 8


@pytest.fixture(autouse=True)
def _isolated(isolated_globals):
    with isolated_globals(seed=0):
        yield


class Categorical(nn.Module):
    """Six categories of eight values, and a q that knows each of them: nothing held its KL down."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(64, GROUPS * VALUES), nn.Linear(GROUPS * VALUES, 64)

    def model(self, x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.OneHotCategorical(logits=torch.zeros(len(x), GROUPS, VALUES)).to_event(1))
            logits = self.decoder(z.flatten(-2))
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x.reshape(-1, 64))

    def guide(self, x):
        logits = 20 * self.encoder(x.reshape(-1, 64)).unflatten(-1, (GROUPS, VALUES))
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.OneHotCategorical(logits=logits).to_event(1))


def test_nothing_wrong_is_not_said_where_little_could_be_asked():
    pair, data = Categorical(), bv.load_data("digits", policy="static")
    found = bv.diagnose(pair.model, pair.guide, data, num_observations=100, seconds=4)
    assert found.measurements["train_kl_to_prior"].value > 0.7 * GROUPS * torch.tensor(float(VALUES)).log().item()
    assert found.healthy is not True
    assert [finding.name for finding in found.findings] == ["discrete-kl-weight"]
    assert len(found.not_checked) > 15
    assert f"{found.num_made} of {found.num_checks} checks could be made" in found.sentence()
    assert "Nothing was found to be wrong" not in found.sentence()
    reasons = {check.name: check.reason for check in found.not_checked}
    assert "no normal with independent dimensions" in reasons["kl-missing"]


def test_a_diagnosis_of_colour_images_keeps_to_its_time():
    encoder = nn.Sequential(
        nn.Conv2d(3, 8, 4, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 4, 2, 1), nn.Flatten(), nn.Linear(1024, 16)
    )
    decoder = nn.Sequential(
        nn.Linear(8, 1024),
        nn.Unflatten(1, (16, 8, 8)),
        nn.ConvTranspose2d(16, 8, 4, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 3, 4, 2, 1),
        nn.Sigmoid(),
    )
    pair = bv.pair_from_networks(
        encoder,
        decoder,
        latent_dim=8,
        data_shape=(3, 32, 32),
        encoder_output="loc-and-log-variance",
        split=True,
        decoder_output="mean",
        likelihood={"name": "normal", "scale": 0.1},
    )
    data = bv.load_data(torch.randint(0, 256, (300, 3, 32, 32), dtype=torch.uint8), policy="none")
    began = time.process_time()
    found = bv.diagnose(*pair, data, seconds=3)
    assert time.process_time() - began < 15
    late = [check.reason for check in found.not_checked if "give at least" in check.reason]
    assert late
    assert all("would take about" in reason for reason in late)
