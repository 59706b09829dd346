"""Likelihoods where numbers are hard: large logits, narrow scales, large counts; against truths known otherwise."""

import math

import pytest
import torch
from torch.distributions import ContinuousBernoulli, NegativeBinomial, Poisson

from bayes_vae.distributions.continuous_bernoulli_logits import (
    ContinuousBernoulliLogits,
    log_normalizer,
    logits_of_mean,
    mean_of_logits,
)
from bayes_vae.distributions.logistic_bins import DiscretizedLogistic, loc_of_mean
from bayes_vae.distributions.negative_binomial_log_mean import NegativeBinomialLogMean
from bayes_vae.errors import NotDefinedError
from bayes_vae.models import VAE, LinearGaussianVAE
from bayes_vae.parts.registry import build_part
from bayes_vae.terms.bits import bits_per_dimension

LOGITS = [-300.0, -20.0, -0.051, -0.049, 0.0, 0.02, 3.0, 100.0]


def test_a_learned_scale_never_falls_below_its_floor():
    shared = build_part("likelihood", {"name": "normal", "noise": "shared"}, data_shape=(1,))
    with torch.no_grad():
        shared.raw_scale.fill_(-1e4)
    assert shared(torch.zeros(1, 1, 1)).base_dist.scale.item() == pytest.approx(0.01)
    each = build_part("likelihood", {"name": "normal", "noise": "per-pixel"}, data_shape=(1,))
    assert each(torch.full((1, 2, 1), -1e4)).base_dist.scale.item() == pytest.approx(0.01)


def test_a_learned_scale_starts_where_it_was_said():
    shared = build_part("likelihood", {"name": "normal", "scale": 0.3, "noise": "shared"}, data_shape=(1,))
    assert shared(torch.zeros(1, 1, 1)).base_dist.scale.item() == pytest.approx(0.3)
    for name, scale in (({"name": "normal", "scale": 0.3, "noise": "per-pixel"}, 0.3), ("discretized-logistic", 0.1)):
        each = build_part("likelihood", name, data_shape=(1,))
        start = each(each.initial_outputs(torch.tensor([0.5])).unsqueeze(0))
        assert getattr(start, "base_dist", start).scale.item() == pytest.approx(scale)


def test_squared_error_is_a_normal_of_fixed_scale():
    x, mean = torch.tensor([[0.2, 0.9]]), torch.tensor([[[0.5, 0.4]]])
    family = build_part("likelihood", {"name": "normal", "scale": 0.5}, data_shape=(2,))
    error = ((x - mean[:, 0]) ** 2).sum() / (2 * 0.5**2)
    constant = 2 * (math.log(0.5) + 0.5 * math.log(2 * math.pi))
    assert family(mean).log_prob(x).item() == pytest.approx(-(error + constant).item())


@pytest.mark.parametrize("logit", LOGITS)
def test_the_continuous_bernoulli_at_any_logit(logit, isolated_globals, within):
    """torch's loses its normalization beyond the logits at which it clamps the probability."""
    logits = torch.full((20_000, 1), logit, dtype=torch.float64)
    one = ContinuousBernoulliLogits(logits[:1].clone().requires_grad_())
    x = torch.linspace(0, 1, 200_001, dtype=torch.float64)
    density = (x * logit - log_normalizer(logits[0, 0])).exp()
    assert torch.trapezoid(density, x).item() == pytest.approx(1, abs=2e-6)
    slope = torch.autograd.grad(one.log_prob(torch.tensor([[0.25]])).sum(), one.logits)[0]
    assert slope.item() == pytest.approx(0.25 - one.mean.item(), abs=1e-6)
    with isolated_globals(seed=0):
        drawn = ContinuousBernoulliLogits(logits).sample()
    within(drawn.mean(), one.mean.item(), one.variance.sqrt().item() / math.sqrt(len(drawn)))
    if abs(logit) < 10:
        torch_says = ContinuousBernoulli(logits=one.logits.detach()).log_prob(torch.tensor([[0.25]]))
        torch.testing.assert_close(one.log_prob(torch.tensor([[0.25]])).detach(), torch_says[0], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("logit", [*LOGITS, 1e-20, 1e4, -1e30])
def test_the_continuous_bernoulli_in_float32(logit):
    """Density and gradient are finite, and near those in float64."""
    found = []
    for precise in (torch.float32, torch.float64):
        logits = torch.tensor([logit], dtype=precise, requires_grad=True)
        density = ContinuousBernoulliLogits(logits, event_dim=0).log_prob(torch.tensor([0.25], dtype=precise))
        found.append((density.detach().double(), torch.autograd.grad(density.sum(), logits)[0].double()))
    for single, double in zip(*found, strict=True):
        torch.testing.assert_close(single, double, rtol=1e-5, atol=2e-5)


def test_the_logit_of_a_mean_is_not_its_logit():
    mean = torch.tensor([0.05, 0.3, 0.5, 0.9], dtype=torch.float64)
    found = logits_of_mean(mean)
    torch.testing.assert_close(mean_of_logits(found), mean, rtol=0, atol=1e-12)
    assert not torch.isclose(found, mean.logit())[[0, 1, 3]].any()


def test_a_wide_discretized_logistic_is_nearly_its_density():
    """A bin's mass is the density at its middle times its width."""
    loc, scale, x = torch.tensor([[0.4]]).double(), torch.tensor([[0.2]]).double(), torch.tensor([[153 / 255]]).double()
    t = (x - loc) / scale
    density = (-t - 2 * torch.log1p(torch.exp(-t)) - scale.log()).exp()
    mass = DiscretizedLogistic(loc, scale).log_prob(x).exp()
    assert mass.item() == pytest.approx(density.item() / 255, rel=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 0.1, 50.0])
@pytest.mark.parametrize("loc", [-3.0, 0.0, 0.5, 1.2])
def test_the_256_probabilities_sum_to_one_in_float32(loc, scale):
    """With finite gradients, however far a level is from the location."""
    given = torch.tensor([loc, scale], requires_grad=True)
    levels = torch.arange(256.0) / 255
    log_mass = DiscretizedLogistic(*given, event_dim=0).log_prob(levels)
    assert log_mass.exp().sum().item() == pytest.approx(1, abs=2e-4)
    assert log_mass.max() <= 0
    for level in (0, 100, 255):
        assert torch.isfinite(torch.autograd.grad(log_mass[level], given, retain_graph=True)[0]).all()


@pytest.mark.parametrize("mean", [0.05, 0.4, 0.95])
def test_the_mean_of_256_levels_is_inverted(mean):
    loc = loc_of_mean(torch.tensor(mean).double(), 0.1)
    masses = DiscretizedLogistic(loc, torch.tensor(0.1).double(), event_dim=0)
    levels = torch.arange(256, dtype=torch.float64) / 255
    by_hand = (masses.log_prob(levels).exp() * levels).sum().item()
    assert by_hand == pytest.approx(mean, abs=5e-6)
    assert masses.mean.item() == pytest.approx(by_hand, abs=1e-12)


def test_the_negative_binomial_is_torchs():
    k, m = torch.tensor([[-1.0, 0.5, 2.0]]).double(), torch.tensor([[0.3, -2.0, 4.0]]).double()
    x = torch.tensor([[0.0, 3.0, 70.0]]).double()
    theirs = NegativeBinomial(k.exp(), logits=m - k)
    ours = NegativeBinomialLogMean(m, k)
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x).sum(-1))
    torch.testing.assert_close(ours.mean, theirs.mean)
    torch.testing.assert_close(ours.variance, theirs.variance)


def test_the_negative_binomial_has_the_stated_variance(isolated_globals, within):
    family = build_part("likelihood", "negative-binomial", data_shape=(1,)).double()
    with torch.no_grad():
        family.raw_dispersion.fill_(math.log(2.5))
    likelihood = family(torch.full((1, 1, 1), math.log(4.0), dtype=torch.float64))
    assert likelihood.mean.item() == pytest.approx(4.0)
    assert likelihood.variance.item() == pytest.approx(4.0 + 4.0**2 / 2.5, rel=1e-4)
    with isolated_globals(seed=0):
        drawn = likelihood.sample((40_000,)).flatten()
    squares = (drawn - 4.0).square()
    within(squares.mean(), 10.4, squares.std() / math.sqrt(len(drawn)))


@pytest.mark.parametrize("count", [0.0, 3.0, 100.0, 1e6])
@pytest.mark.parametrize("log_dispersion", [-8.0, 0.0, 10.0, 14.0])
def test_large_counts_and_dispersions_in_float32(count, log_dispersion):
    """Within the rounding of float32 of the result, though log Γ is in the millions."""
    given = torch.tensor([math.log(count + 0.5), log_dispersion], requires_grad=True)
    log_mass = NegativeBinomialLogMean(*given, event_dim=0).log_prob(torch.tensor(count))
    exact = given.detach().double().requires_grad_()
    theirs = NegativeBinomial(exact[1].exp(), logits=exact[0] - exact[1])
    truth = theirs.log_prob(torch.tensor(count, dtype=torch.float64))
    assert log_mass.item() == pytest.approx(truth.item(), rel=1e-6, abs=1e-6)
    slopes = (torch.autograd.grad(each, start)[0].double() for each, start in ((log_mass, given), (truth, exact)))
    torch.testing.assert_close(*slopes, rtol=1e-6, atol=1e-6)


def test_the_largest_dispersion_is_a_poisson():
    """A negative binomial scatters at least as much: the dispersion of counts that scatter less stops at its bound."""
    family = build_part("likelihood", "negative-binomial", data_shape=(1,)).double()
    with torch.no_grad():
        family.raw_dispersion.fill_(1e6)
    assert family.log_dispersion.item() == 14.0
    x = torch.arange(30.0).double()
    ours = family(torch.full((1, 1, 1), math.log(7.0)).double()).log_prob(x.reshape(-1, 1, 1)).flatten()
    torch.testing.assert_close(ours, Poisson(torch.tensor(7.0).double()).log_prob(x), rtol=0, atol=1e-3)


def test_bits_per_dimension_of_a_uniform_pixel_are_eight(isolated_globals):
    with isolated_globals(seed=0):
        model = VAE(2, (2, 3), (4,), likelihood="discretized-logistic")
        density = VAE(2, (2, 3), (4,), likelihood="normal")
        linear = LinearGaussianVAE(2, (2, 3))
    uniform = -6 * math.log(256)
    assert bits_per_dimension(uniform, model) == pytest.approx(8.0)
    torch.testing.assert_close(bits_per_dimension(torch.tensor([uniform, 0.0]), model), torch.tensor([8.0, 0.0]))
    with pytest.raises(
        NotDefinedError, match="the likelihood 'normal' is a density: its logarithm depends on the unit"
    ):
        bits_per_dimension(uniform, density)
    with pytest.raises(NotDefinedError, match="LinearGaussianVAE has no likelihood_family"):
        bits_per_dimension(uniform, linear)
