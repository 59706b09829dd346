"""Scores and codes of single observations."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import SettingsError
from bayes_vae.estimators.scoring import percentiles
from bayes_vae.guides import AmortizedNormalGuide, ExactLinearGaussianGuide, TwoLayerNormalGuide
from bayes_vae.models import LinearGaussianVAE, TwoLayerVAE

pytestmark = [pytest.mark.libraries, pytest.mark.usefixtures("clean_globals")]


@pytest.fixture
def pair(isolated_globals):
    """Return a linear-Gaussian model with its exact guide, observations, and others of the same model."""
    with isolated_globals(seed=0), torch.no_grad():
        model = LinearGaussianVAE(2, (5,), noise_scale=0.7).double()
        return model, ExactLinearGaussianGuide(model), model.sample(12, seed=1), model.sample(30, seed=2)


def test_the_scores_are_the_terms_of_the_library_and_the_exact_evidence(pair):
    model, guide, x, _ = pair
    found = bv.score(model, guide, x, 50, seed=3)
    terms = bv.elbo_terms(model, guide, x, 50, seed=3)
    torch.testing.assert_close(found.elbo, terms.elbo)
    torch.testing.assert_close(found.kl_to_prior, terms.kl_to_prior)
    torch.testing.assert_close(found.expected_log_likelihood, terms.expected_log_likelihood)
    torch.testing.assert_close(found.log_evidence, model.log_evidence(x).detach())
    torch.testing.assert_close(found.inference_gap, found.log_evidence - found.elbo)
    assert found.estimator == "exact"
    assert found.averages()["log_evidence"].reading.kind == "exact"
    assert found.averages()["log_evidence"].monte_carlo_error == 0


def _programs(scale):
    """Pyro programs of one latent and one number, whose evidence they do not know: x is normal of variance 2."""

    def model(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(x[:, 0] / 2, scale))

    return model, guide


def test_one_estimator_speaks_for_all_rows_of_a_pair_from_elsewhere():
    x = torch.linspace(-3, 3, 15).unsqueeze(-1).double()
    truth = dist.Normal(0.0, math.sqrt(2.0)).log_prob(x[:, 0])
    pair = _programs(0.9)
    importance = bv.score(*pair, x, 2000, reference=x)
    assert importance.estimator.startswith("importance")
    assert importance.averages()["log_evidence"] == importance.bound.averages()["log_evidence"]
    assert bool((abs(importance.log_evidence - truth) < 5 * importance.standard_error + 1e-9).all())
    annealed = bv.score(*pair, x, 50, num_temperatures=10, reference=x)
    assert annealed.estimator.startswith("annealed")
    assert bool((abs(annealed.log_evidence - truth) < 0.3).all())
    assert set(importance.ranks) == {"log_evidence", "expected_log_likelihood", "kl_to_prior", "inference_gap"}


def test_percentiles_count_what_lies_below_and_half_of_the_equal_ones():
    reference = torch.tensor([1.0, 2.0, 2.0, 5.0])
    assert percentiles(torch.tensor([0.0, 1.0, 2.0, 3.0, 9.0]), reference).tolist() == [0.0, 12.5, 50.0, 75.0, 100.0]


def test_the_rank_is_among_the_reference(pair):
    model, guide, x, others = pair
    found = bv.score(model, guide, x, 20, reference=others, seed=1)
    truth, among = model.log_evidence(x), model.log_evidence(others)
    expected = torch.stack([100 * (among < value).double().mean() for value in truth])
    torch.testing.assert_close(found.ranks["log_evidence"], expected)
    assert found.num_reference == 30
    assert {"log_evidence_percentile", "kl_to_prior_percentile"} <= set(found.to_pandas().columns)
    known = bv.score(model, guide, others, 20, seed=1)
    torch.testing.assert_close(bv.score(model, guide, x, 20, reference=known, seed=1).ranks, found.ranks)


def test_a_reference_by_other_settings_is_refused(pair):
    model, guide, x, others = pair
    with pytest.raises(SettingsError, match="percentiles among other figures mean nothing"):
        bv.score(model, guide, x, 20, reference=bv.score(model, guide, others, 10))


def test_an_outlier_may_have_the_highest_evidence():
    """The mode of a density is no typical draw of it: what the documentation says of likelihood and outliers."""
    model, guide = _programs(math.sqrt(0.5))
    with torch.no_grad():
        x = torch.randn(200, 1, generator=torch.Generator().manual_seed(0)).double() * math.sqrt(2)
    found = bv.score(model, guide, torch.zeros(1, 1).double(), 50, reference=x)
    assert float(found.ranks["log_evidence"]) > 97


def test_batches_change_nothing(pair):
    model, _, x, _ = pair
    guide = AmortizedNormalGuide(2, (5,), hidden_dims=(3,)).double()
    whole, parts = bv.score(model, guide, x, 40), bv.score(model, guide, x, 40, batch_size=5)
    torch.testing.assert_close(whole.elbo, parts.elbo)
    torch.testing.assert_close(whole.pareto_k, parts.pareto_k)
    codes = [bv.encode(model, guide, x, batch_size=size).means["z"] for size in (None, 5)]
    torch.testing.assert_close(*codes)


def test_codes_of_a_normal_are_its_closed_form(pair):
    model, guide, x, _ = pair
    found = bv.encode(model, guide, x)
    q = guide.variational_posterior(x)
    torch.testing.assert_close(found.means["z"], q.mean.detach())
    torch.testing.assert_close(found.deviations["z"], q.stddev.detach())
    assert found.estimator == "closed form"
    assert set(found.arrays()) == {"index", "z_mean", "z_deviation"}


def test_codes_of_any_pair_are_moments_of_draws():
    model, _ = _programs(0.25)
    x = torch.linspace(-1, 1, 9).unsqueeze(-1).double() + 1e4

    def shifted(x):  # a site that no closed form is read off
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Gamma(16.0, 16.0 / (x[:, 0] / 2)))

    found = bv.encode(model, shifted, x, 4000)
    assert found.estimator == "4,000 draws from q"
    mean, deviation = x[:, 0] / 2, x[:, 0] / 8
    assert bool((abs(found.means["z"] - mean) < 5 * deviation / math.sqrt(4000)).all())
    assert bool((abs(found.deviations["z"] / deviation - 1) < 0.1).all())


def test_every_latent_site_has_its_codes():
    networks = {"latent_dim": 3, "top_latent_dim": 2, "data_shape": (4,), "hidden_dims": (5,), "top_hidden_dims": (5,)}
    torch.manual_seed(0)
    pair = TwoLayerVAE(**networks), TwoLayerNormalGuide(**networks)
    found = bv.encode(*pair, torch.zeros(6, 4), 40)
    assert {site: tuple(mean.shape) for site, mean in found.means.items()} == {"z1": (6, 3), "z2": (6, 2)}
    assert bool(np.isfinite(found.arrays()["z2_deviation"]).all())
