"""A report on Pyro's usual programs has the pictures of one on our pairs, and leaves their networks as they were."""

from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import bayes_vae as bv
from bayes_vae.estimators import GuideCalibration
from bayes_vae.report import Missing, report_contents, report_page
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


class OfLabels(nn.Module):
    """Programs of (x, y): the decoder and p(z given y) see the label."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(64, 4), nn.Linear(2 + 10, 64)

    def prior(self, y):
        return dist.Normal(y.float().unsqueeze(-1).expand(len(y), 2) / 10, 0.5)

    def decode(self, z, y):
        hot = nn.functional.one_hot(y.long(), 10).float()
        return self.decoder(torch.cat([z, hot.expand(*z.shape[:-1], 10)], -1)).sigmoid()

    def model(self, x, y):
        with pyro.plate("data", len(x)):
            z = pyro.sample("code", self.prior(y).to_event(1))
            pyro.sample("obs", dist.Bernoulli(self.decode(z, y)).to_event(1), obs=x.flatten(1))

    def guide(self, x, y):
        with pyro.plate("data", len(x)):
            loc, log_scale = self.encoder(x.flatten(1)).chunk(2, -1)
            pyro.sample("code", dist.Normal(loc, log_scale.exp()).to_event(1))


@pytest.fixture(scope="module")
def of_labels(isolated_globals):
    with isolated_globals(seed=0):
        pair, data = OfLabels(), bv.load_data("digits", policy="static")
        x, y = data.test.observations(), data.test.labels
        rows = (x, y)
        return pair, rows, report_contents(pair.model, pair.guide, rows, replace(FEW, num_simulated=60))


def test_what_stands_beside_x_is_in_the_pictures(of_labels):
    pair, _, contents = of_labels
    found, index, labels = contents.pictures, contents.index, of_labels[1][1]
    assert found.beside
    # beside the right label alone is the picture that of some z
    first = torch.arange(64) % len(index)
    for means, places in ((found.prior_samples, first), (found.reconstructions, torch.arange(len(index)))):
        y = labels[index[places]]
        logit = means.flatten(1).logit() - pair.decoder.bias - pair.decoder.weight[:, 2:].T[y]
        code = torch.linalg.lstsq(pair.decoder.weight[:, :2], logit.T).solution.T
        torch.testing.assert_close(pair.decode(code, y), means.flatten(1), atol=1e-4, rtol=0)


def test_a_traversal_runs_over_the_prior_beside_the_first_observation(of_labels):
    pair, (_, labels), contents = of_labels
    runs, y = contents.pictures.traversals, labels[contents.index[:1]]
    code = runs.held.clone()
    prior = pair.prior(y)
    dimension = runs.dimensions[0]
    code[dimension] = prior.mean[0, dimension] + 0.5 * torch.distributions.Normal(0.0, 1.0).icdf(
        torch.tensor(runs.along_quantiles[2])
    )
    torch.testing.assert_close(runs.along[0, 2], pair.decode(code[None], y).reshape(8, 8).detach())
    assert runs.names[0] == f"z_{dimension}"


def test_its_guide_is_calibrated_beside_the_covariates_of_training_rows(of_labels):
    assert isinstance(of_labels[2].calibration, GuideCalibration)
    assert "what stands beside x (labels, covariates) as it is in the test observations" in report_page(of_labels[2])


class Forced(VAE):
    """Each row of pixels sees the one before it: teacher forcing."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("latent", dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(1))
            before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1).reshape(-1, 64)
            pyro.sample("obs", dist.Bernoulli(logits=self.decoder(z) + before).to_event(1), obs=x.reshape(-1, 64))


def test_under_teacher_forcing_no_code_is_decoded(isolated_globals):
    with isolated_globals(seed=0):
        forced, data = Forced(), bv.load_data("digits", policy="static")
        contents = report_contents(forced.model, forced.guide, data, replace(FEW, num_simulated=30))
    assert contents.pictures == Missing(
        "the likelihood of a number sees other numbers of x beside z (teacher forcing, say), so z alone decodes to "
        "nothing."
    )
    assert "cannot be simulated: its distribution depends on the observed value itself" in contents.calibration.reason
