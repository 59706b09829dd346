"""Observations that a model generates."""

import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import NotDefinedError, SettingsError
from bayes_vae.guides import AmortizedNormalGuide, ConditionalNormalGuide, ExactLinearGaussianGuide
from bayes_vae.models import VAE, ConditionalVAE, LinearGaussianVAE
from bayes_vae.posterior.generated import AT_ONCE

pytestmark = pytest.mark.usefixtures("clean_globals")

NETWORKS = {"latent_dim": 2, "data_shape": (4,), "hidden_dims": (3,)}


@pytest.fixture
def linear(isolated_globals):
    with isolated_globals(seed=0):
        model = LinearGaussianVAE(2, (5,), noise_scale=0.5).double()
        return model, ExactLinearGaussianGuide(model)


def test_the_first_draws_do_not_depend_on_how_many_follow(linear):
    few, many = (bv.sample(linear[0], count, seed=4) for count in (5, AT_ONCE + 3))
    torch.testing.assert_close(few, many[:5], rtol=0, atol=0)
    assert not torch.equal(many[:3], many[AT_ONCE:])
    assert not torch.equal(few, bv.sample(linear[0], 5, seed=5))


def test_draws_have_the_moments_of_the_marginal(linear):
    model, count = linear[0], 20_000
    x = bv.sample(model, count)
    weight = model.weight.detach()
    covariance = weight @ weight.T + 0.25 * torch.eye(5)
    means = bv.sample(model, count, mean=True)
    for drawn, truth in ((x, covariance), (means, weight @ weight.T)):
        error = ((truth.diag().outer(truth.diag()) + truth.square()) / count).sqrt()
        assert bool((abs(torch.cov(drawn.T) - truth) < 5 * error).all())


def test_progress_is_told(linear):
    told = []
    bv.sample(linear[0], AT_ONCE + 1, progress=lambda done, total: told.append((done, total)))
    assert told == [(AT_ONCE, AT_ONCE + 1), (AT_ONCE + 1, AT_ONCE + 1)]


def test_reconstructions_are_near_what_they_are_of(linear):
    model, guide = linear
    x = bv.sample(model, 400, seed=1)
    again = bv.reconstruct(model, guide, x, seed=2)
    assert again.shape == x.shape
    assert float((again - x).square().mean()) < float((x.roll(1, 0) - x).square().mean()) / 2
    torch.testing.assert_close(again[:AT_ONCE], bv.reconstruct(model, guide, x[:AT_ONCE], seed=2))


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_an_interpolation_runs_from_one_code_to_the_other(linear, path):
    model, guide = linear
    x = bv.sample(model, 4, seed=1)
    found = bv.interpolate(model, guide, x, 5, path=path)
    assert found.shape == (2, 5, 5)
    ends = model.likelihood(guide.variational_posterior(x).mean).mean.detach()
    torch.testing.assert_close(found[:, 0], ends[0::2])
    torch.testing.assert_close(found[:, -1], ends[1::2])
    middle = (ends[0::2] + ends[1::2]) / 2
    assert torch.allclose(found[:, 2], middle) == (path == "linear")


def test_a_great_circle_keeps_the_distance_from_the_middle():
    from bayes_vae.posterior.generated import _between

    codes = torch.tensor([[3.0, 0.0], [0.0, 3.0], [1.0, 1.0], [2.0, 2.0]])
    around = _between(codes, 7, "spherical")
    torch.testing.assert_close(around[0].norm(dim=-1), torch.full((7,), 3.0))
    torch.testing.assert_close(around[1], _between(codes, 7, "linear")[1])


def test_classes_are_drawn_in_turn_or_as_named():
    torch.manual_seed(0)
    model = ConditionalVAE(**NETWORKS, num_classes=3)
    assert bv.sample(model, 7, label=2).shape == (7, 4)
    with pytest.raises(SettingsError, match="this model knows no classes"):
        bv.sample(VAE(**NETWORKS), 3, label=1)


def test_what_cannot_be_generated_is_refused(linear):
    def model(x=None):
        pyro.sample("z", dist.Normal(0.0, 1.0))

    with pytest.raises(NotDefinedError, match=r"pyro\.infer\.Predictive"):
        bv.sample(model, 3)
    with pytest.raises(NotDefinedError, match=r"pyro\.poutine\.replay"):
        bv.reconstruct(model, model, torch.zeros(2, 1))
    with pytest.raises(NotDefinedError, match="interpolation needs a pair that exposes"):
        bv.interpolate(
            ConditionalVAE(**NETWORKS, num_classes=3),
            ConditionalNormalGuide(**NETWORKS, num_classes=3),
            torch.zeros(2, 4),
        )
    with pytest.raises(SettingsError, match="joins observations in pairs, got 3"):
        bv.interpolate(*linear, torch.zeros(3, 5).double())
    with pytest.raises(SettingsError, match="path must be 'linear' or 'spherical'"):
        bv.interpolate(*linear, torch.zeros(2, 5).double(), path="curved")


def test_an_unknown_mean_is_refused():
    class NoMean(VAE):
        def likelihood(self, z):
            class Unknown(dist.Normal):
                @property
                def mean(self):
                    raise NotImplementedError

            return Unknown(torch.zeros(*z.shape[:-1], 4), 1.0).to_event(1)

    torch.manual_seed(0)
    model, guide = NoMean(**NETWORKS), AmortizedNormalGuide(**NETWORKS)
    assert bv.sample(model, 3).shape == (3, 4)
    with pytest.raises(NotDefinedError, match="take draws of x"):
        bv.sample(model, 3, mean=True)
    with pytest.raises(NotDefinedError, match="take draws of x"):
        bv.interpolate(model, guide, torch.zeros(2, 4))
