"""A Pyro pair with names of its own: all that is public takes it, and says the same as of the pair of its networks."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import bayes_vae as bv
from bayes_vae.settings import ReportSettings

FEW = ReportSettings(
    num_observations=20,
    num_particles=20,
    num_temperatures=3,
    num_gap_observations=2,
    num_encoded=30,
    num_simulated=30,
    num_diagnosed=40,
    device="cpu",
)


class Pixels(nn.Module):
    """p(x, z), the latent called "code", the observation "pixels", the plate "images"."""

    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, x):
        with pyro.plate("images", len(x)):
            z = pyro.sample("code", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            logits = self.decoder(z).reshape(*z.shape[:-1], 8, 8)
            return pyro.sample("pixels", dist.Bernoulli(logits=logits).to_event(2), obs=x)


class Code(nn.Module):
    """q(z given x) under the same names."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, x):
        with pyro.plate("images", len(x)):
            loc, log_scale = self.encoder(x.reshape(-1, 64)).chunk(2, -1)
            return pyro.sample("code", dist.Normal(loc, log_scale.exp()).to_event(1))


@pytest.fixture(scope="module")
def data():
    return bv.load_data("digits", policy="static")


@pytest.fixture(scope="module")
def pairs(data, isolated_globals):
    """The Pyro pair, trained for two epochs as a run, and the pair of the same networks."""
    with isolated_globals(seed=0):
        encoder = nn.Linear(64, 4)
        decoder = nn.Sequential(nn.Linear(2, 10), nn.Tanh(), nn.Linear(10, 64))
        foreign = Pixels(decoder), Code(encoder)
        run = bv.fit(*foreign, data, epochs=2, progress="none")
    own = bv.pair_from_networks(
        encoder,
        decoder,
        latent_dim=2,
        data_shape=(8, 8),
        input_shape=(64,),
        encoder_output="loc-and-log-scale",
        split=True,
        decoder_output="logits",
    )
    return foreign, own, run


@pytest.fixture(scope="module")
def x(data):
    return data.test.observations()[:6]


def test_terms_are_those_of_the_networks(pairs, x):
    (model, guide), (own_model, own_guide), _ = pairs
    terms = bv.log_terms(model, guide, x, 5, keep_latents=True)
    z = terms.latents["code"].float()
    with torch.no_grad():
        q = own_guide.variational_posterior(x)
        for found, truth in (
            (terms.log_prior, own_model.prior().log_prob(z)),
            (terms.log_likelihood, own_model.likelihood(z).log_prob(x)),
            (terms.log_guide, q.log_prob(z)),
        ):
            torch.testing.assert_close(found, truth.double(), rtol=1e-5, atol=1e-4)


def test_the_elbo_and_its_averages(pairs, x, within):
    found, own = (bv.elbo_terms(*pair, x, 200) for pair in pairs[:2])
    torch.testing.assert_close(found.kl_to_prior, own.kl_to_prior, rtol=1e-5, atol=1e-5)
    within(found.elbo, own.elbo, torch.hypot(found.elbo_error, own.elbo_error))


def test_quadrature_and_the_grid_are_the_same(pairs, x):
    found, own = (bv.quadrature_log_evidence(*pair, x[:3]) for pair in pairs[:2])
    torch.testing.assert_close(found.log_evidence, own.log_evidence, rtol=1e-4, atol=1e-3)
    grids = [bv.bayes_rule_on_grid(*pair, x[:2], num_points=41, width=5.0) for pair in pairs[:2]]
    torch.testing.assert_close(grids[0].log_evidence, grids[1].log_evidence, rtol=1e-4, atol=1e-3)


def test_evidence_by_importance_and_by_annealing_reach_the_quadrature(pairs, x, within):
    (model, guide), _, _ = pairs
    truth = bv.quadrature_log_evidence(model, guide, x[:3]).log_evidence
    annealed = bv.annealed_log_evidence(model, guide, x[:3], num_temperatures=10)
    within(annealed.log_evidence, truth, annealed.standard_error.clamp(min=1e-3))
    assert bool((bv.estimate_log_evidence(model, guide, x[:3], 500).log_evidence - truth).abs().max() < 1)


OTHERS = {
    "compare": lambda model, guide, x: bv.compare(model, guide, x, num_temperatures=3).rungs[-1].values,
    "evaluate": lambda model, guide, x: bv.evaluate(model, guide, x, 20, num_temperatures=3).log_evidence,
    "inference_gap": lambda model, guide, x: bv.inference_gap(model, guide, x, 20, num_temperatures=3).inference_gap,
    "from the prior": lambda model, _, x: (
        bv.annealed_log_evidence(model, None, x, start="prior", num_temperatures=3).log_evidence
    ),
    "posterior_draws": lambda model, _, x: bv.posterior_draws(
        model, None, x, start="prior", num_draws=4, num_warmup=4
    ).log_joint[0, 0],
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_other_estimators_take_it(pairs, x, name):
    numbers = OTHERS[name](*pairs[0], x[:2])
    assert numbers.shape == (2,)
    assert bool(numbers.isfinite().all())


def test_the_guide_is_calibrated_on_simulated_pixels(pairs, data):
    calibration = bv.calibrate_guide(*pairs[0], like=data.test.observations()[:60], num_draws=19)
    assert calibration.num_observations == 60
    assert calibration.names[:2] == ("z_0", "z_1")


def test_the_arviz_container_has_its_names(pairs, x):
    container = bv.to_arviz(*pairs[0], x, num_draws=5)
    assert "code" in container["variational_posterior"]


def test_what_needs_the_distributions_reads_them_off_the_sites(pairs, x):
    found = bv.aggregate_posterior_terms(*pairs[0], x, 200).averages()["kl_to_prior"]
    expected = bv.elbo_terms(*pairs[0], x, 200).averages()["kl_to_prior"]
    assert abs(found.value - expected.value) <= 5 * (found.monte_carlo_error + expected.monte_carlo_error)


def test_a_report_is_written(pairs, data, tmp_path):
    (model, guide), _, run = pairs
    bv.save(run, tmp_path / "run")
    text = bv.write_report(tmp_path / "run", FEW, data=data, pair=(model, guide)).read_text(encoding="utf-8")
    assert "Pixels" in text
    assert "does not expose prior(), likelihood(z) and variational_posterior(x)" not in text
