"""Each single-latent guide where q is used downstream: pictures, tables, aggregates, calibration, training."""

import math

import pyro
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import NotDefinedError
from bayes_vae.guides import (
    AmortizedNormalGuide,
    AutoregressiveFlowGuide,
    FullCovarianceGuide,
    LocalNormalGuide,
    LowRankGuide,
    PriorGuide,
    SemiAmortizedGuide,
    SingleLatentGuide,
    SplineFlowGuide,
)
from bayes_vae.models import VAE
from bayes_vae.report.decoding import decoding_of
from bayes_vae.report.latent_pictures import LatentMeans, Missing, latent_means
from bayes_vae.settings import PairSettings
from bayes_vae.terms.opened import open_pair
from bayes_vae.training import build_pair

D, SHAPE, INDEX = 2, (3, 4), torch.tensor([5, 0, 9, 2])
NETWORKS = {"latent_dim": D, "data_shape": SHAPE, "hidden_dims": (5,)}
CASES = {
    "normal": lambda model: AmortizedNormalGuide(**NETWORKS),
    "full-covariance": lambda model: FullCovarianceGuide(**NETWORKS),
    "low-rank": lambda model: LowRankGuide(**NETWORKS, rank=1),
    "autoregressive-flow": lambda model: AutoregressiveFlowGuide(**NETWORKS, context_dim=3),
    "spline-flow": lambda model: SplineFlowGuide(**NETWORKS, context_dim=3),
    "local": lambda model: LocalNormalGuide(D, 10),
    "semi-amortized": lambda model: SemiAmortizedGuide(model, **NETWORKS, num_refinements=2),
    "prior": PriorGuide,
}
FLOWS = ("autoregressive-flow", "spline-flow")
FACTORIZED = ("normal", "local", "semi-amortized", "prior")


@pytest.fixture(params=CASES)
def name(request):
    return request.param


@pytest.fixture
def pair(name, isolated_globals):
    with isolated_globals(seed=8):
        model = VAE(**NETWORKS).double()
        guide = CASES[name](model).double()
        with torch.no_grad():
            for parameter in guide.parameters():
                parameter.add_((0.02 if name == "local" else 0.2) * torch.randn_like(parameter))
    x = model.sample(4, seed=1)
    if name == "local":
        guide.admit(INDEX)
    return model, guide.eval(), x


def posterior(guide, x, rows=slice(None)):
    return guide.variational_posterior(x[rows], **({"index": INDEX[rows]} if guide.needs_index else {}))


def test_the_aggregate_is_a_mixture_by_hand(name, pair):
    """log q(z) as a loop over the observations, at the same draws; of flows each density inverts at another's draw."""
    model, guide, x = pair
    about = {"seed": 4, "index": INDEX}
    parts = bv.aggregate_posterior_terms(model, guide, x, 6, **about).averages()
    drawn = bv.log_terms(model, guide, x, 6, keep_latents=True, **about)
    z = drawn.latents["z"]
    each = torch.stack([posterior(guide, x, slice(n, n + 1)).log_prob(z) for n in range(4)])
    mixture = each.logsumexp(0) - math.log(4)
    torch.testing.assert_close(each[range(4), :, range(4)].T, drawn.log_guide)
    marginal = (mixture - drawn.log_prior).mean().item()
    information = (drawn.log_guide - mixture).mean().item()
    assert parts["marginal_kl_to_prior"].value == pytest.approx(marginal, abs=1e-6)
    assert parts["index_code_mutual_information"].value == pytest.approx(information, abs=1e-6)
    assert ("total_correlation" in parts) == (name not in FLOWS)


def test_the_kl_of_each_dimension_is_known_where_q_factorizes(name, pair):
    model, guide, x = pair
    terms = bv.elbo_terms(model, guide, x, 3, index=INDEX)
    if name in FACTORIZED:
        torch.testing.assert_close(terms.kl_per_dimension.sum(-1), terms.kl_to_prior)
        return
    with pytest.raises(NotDefinedError, match="its dimensions are not independent, or no closed form is known"):
        _ = terms.kl_per_dimension


def test_a_report_shows_the_means_of_q_or_says_why_not(name, pair):
    model, guide, x = pair
    with open_pair(model, guide, x, index=INDEX) as opened:
        found = latent_means(decoding_of(opened), None)
    if name in FLOWS:
        assert isinstance(found, Missing)
        assert found.reason == "the mean of q(z|x), a TransformedDistribution, is not known."
        return
    assert isinstance(found, LatentMeans)
    draws = bv.log_terms(model, guide, x, 2000, seed=0, index=INDEX, keep_latents=True).latents["z"]
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - found.means).abs() < 5 * error).all()


def test_reconstructions_and_arviz(pair, isolated_globals):
    model, guide, x = pair
    given = {"index": INDEX} if guide.needs_index else {}
    with isolated_globals(seed=0):
        assert model.reconstruct(x, guide, **given).shape == x.shape
    exported = bv.to_arviz(model, guide, x, num_draws=3, index=INDEX)
    assert exported.variational_posterior["z"].shape == (1, 3, 4, D)
    assert exported.variational_posterior["observation"].values.tolist() == INDEX.tolist()


def test_calibration_takes_every_amortized_guide(name, pair):
    model, guide, _ = pair
    if name == "local":
        with pytest.raises(NotDefinedError, match="this guide has parameters for each observation"):
            bv.calibrate_guide(model, guide, num_observations=20)
        return
    found = bv.calibrate_guide(model, guide, num_observations=200, num_draws=19, seed=0)
    assert found.ranks.shape == (200, D)
    assert found.ranks.double().std() > 3  # of numbers 0 to 19


def test_pyros_svi_trains_every_guide(name, pair, clean_globals):
    model, guide, x = pair
    svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 1e-2}), loss=bv.Elbo())
    before = [parameter.detach().clone() for parameter in (*model.parameters(), *guide.parameters())]
    torch.manual_seed(0)
    assert math.isfinite(svi.step(x, index=INDEX))
    moved = [not torch.equal(a, b) for a, b in zip(before, (*model.parameters(), *guide.parameters()), strict=True)]
    assert all(moved)


@pytest.fixture(scope="module")
def data(isolated_globals):
    """Eighty images of one of four bars, each pixel turned over one time in ten."""
    generator = torch.Generator().manual_seed(0)
    bars = torch.eye(4).repeat_interleave(3, 1).reshape(4, 3, 4)[torch.arange(80) % 4]
    flips = torch.rand(bars.shape, generator=generator) < 0.1
    return bv.load_data((bars.bool() ^ flips).to(torch.uint8))


def trained(data, guide, epochs, **pair):
    settings = PairSettings(2, (8,), guide=guide, **pair)
    return bv.fit(*build_pair(settings, data), data, epochs=epochs, batch_size=16, learning_rate=0.02, progress="none")


class Start(SingleLatentGuide):
    """What a semi-amortized guide starts from."""

    def __init__(self, guide):
        super().__init__()
        self.guide = guide

    def variational_posterior(self, x):
        return self.guide.amortized_posterior(x)


def test_refinement_closes_the_amortization_gap_of_a_trained_pair(data, within, isolated_globals):
    """The encoder of a trained pair, with steps and without: the same start, more ELBO, less of the gap."""
    with isolated_globals():
        run = trained(data, "normal", 25)
        refined = SemiAmortizedGuide(run.model, 2, (3, 4), hidden_dims=(8,), num_refinements=10).eval()
    refined.load_state_dict(run.guide.state_dict())
    x, index = data.test.observations(), data.test.index
    about = {"index": index, "seed": 0}
    start, end = (bv.elbo_terms(run.model, guide, x, 4000, **about) for guide in (Start(refined), refined))
    torch.testing.assert_close(start.elbo, bv.elbo_terms(run.model, run.guide, x, 4000, **about).elbo)
    gain = end.elbo - start.elbo
    error = torch.hypot(start.elbo_error, end.elbo_error)
    assert (gain > -4 * error).all()
    assert gain.mean() > 4 * error.square().mean().sqrt()
    gaps = [
        bv.inference_gap(run.model, guide, x, 500, num_temperatures=20, **about).averages()["amortization_gap"].value
        for guide in (run.guide, refined)
    ]
    assert gaps[1] < 0.5 * gaps[0]


def test_training_with_the_prior_as_guide_trains_the_model_alone(data, isolated_globals):
    with isolated_globals():
        run = trained(data, "prior", 3)
    assert list(run.guide.parameters()) == []
    assert {row["validation_kl_to_prior"] for row in run.history} == {0.0}
    assert run.history[-1]["train_elbo"] > run.history[0]["train_elbo"]
