"""k̂ through the one ArviZ wrapper, against weights whose tail index is known by construction."""

import math

import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import NumericalError, ShapeError
from bayes_vae.estimators import pareto_k, pareto_k_threshold
from bayes_vae.estimators.importance.log_evidence import WeightsAtDraws
from bayes_vae.guides import ExactLinearGaussianGuide, SingleLatentGuide
from bayes_vae.models import LinearGaussianVAE
from bayes_vae.terms.opened import collect, open_pair

pytestmark = pytest.mark.libraries


def pareto_weights(tail_index, num_particles=20_000, columns=4):
    """Log weights w = u^(−k): a Pareto distribution with tail index exactly k."""
    uniform = torch.rand(num_particles, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return -tail_index * uniform.log()


@pytest.mark.parametrize("tail_index", [0.2, 0.5, 0.8, 1.2])
def test_tail_index_is_found(tail_index, within):
    """The shape's asymptotic error from M tail draws is (1 + k) / √M (Vehtari et al.: M = 3 √K)."""
    tail_size = 3 * 20_000**0.5
    within(pareto_k(pareto_weights(tail_index)), tail_index, (1 + tail_index) / tail_size**0.5)


def test_sign_is_that_of_log_weights():
    """Negated log weights have a bounded tail: the same array handed to the wrong ArviZ gives a plausible k̂."""
    heavy = pareto_weights(0.9)
    assert (pareto_k(heavy) > 0.6).all()
    assert (pareto_k(-heavy) < 0.3).all()


def test_level_and_precision_do_not_matter():
    weights = pareto_weights(0.5)
    torch.testing.assert_close(pareto_k(weights - 1e4), pareto_k(weights), rtol=1e-6, atol=1e-6)
    wide = torch.cat([weights[:-1], torch.full((1, 4), -2000.0, dtype=torch.float64)])
    assert pareto_k(wide.float()).isfinite().all()
    torch.testing.assert_close(pareto_k(wide.float()), pareto_k(wide), rtol=0, atol=0.01)


def test_memory_order_does_not_matter():
    weights = pareto_weights(0.5)
    torch.testing.assert_close(pareto_k(weights.T.contiguous().T), pareto_k(weights))


def test_each_observation_has_its_own():
    mixed = torch.cat([pareto_weights(0.2, columns=1), pareto_weights(1.2, columns=1)], dim=1)
    light, heavy = pareto_k(mixed).tolist()
    assert light < 0.5 < heavy


def test_constant_weights_are_minus_infinity():
    assert pareto_k(torch.full((100, 2), -87.0)).tolist() == [-math.inf, -math.inf]


@pytest.mark.parametrize(
    "log_weights",
    [
        torch.tensor([0.0] * 10 + [-2.0] * 290),
        torch.tensor([0.0] * 150 + [-2.0] * 150),
        torch.tensor([0.0] + [-math.inf] * 299),
        torch.tensor([0.0, -0.1, -0.2, -0.3, -0.4] + [-1.0] * 295),
        torch.cat([torch.zeros(53), torch.linspace(-9, -1, 247)]),
        torch.tensor([0.0, -0.1, -0.2] + [-1.0] * 49 + [-3.0] * 248),
    ],
    ids=["rare", "common", "one", "five", "largest", "lowest of the tail"],
)
def test_ties_in_the_tail_leave_nothing_to_fit(log_weights):
    """Of 300 weights the 52 largest are the tail: they are equal, equal the cutoff but for 5, or a quarter is."""
    assert pareto_k(torch.stack([log_weights, log_weights.flip(0) - 50.0], dim=1)).tolist() == [math.inf, math.inf]


def zhang_stephens(exceedances):
    """Shape of a generalized Pareto distribution as Vehtari et al. (2024) fit it, appendix C: a prior of 10 at 0.5."""
    x, n = sorted(exceedances), len(exceedances)
    grid = 30 + int(n**0.5)
    quartile = 3 * x[int(n / 4 + 0.5) - 1]
    thetas = [1 / x[-1] + (1 - (grid / (j - 0.5)) ** 0.5) / quartile for j in range(1, grid + 1)]

    def shape(theta):
        return math.fsum(math.log1p(-theta * one) for one in x) / n

    profiles = [n * (math.log(-theta / shape(theta)) - shape(theta) - 1) for theta in thetas]
    masses = [math.exp(profile - max(profiles)) for profile in profiles]
    theta = math.fsum(map(math.prod, zip(thetas, masses, strict=True))) / math.fsum(masses)
    return (n * shape(theta) + 10 * 0.5) / (n + 10)


@pytest.mark.parametrize(
    ("num_particles", "tail_size", "at_cutoff"),
    [(30, 6, 1), (100, 20, 1), (100, 14, 9), (300, 52, 1), (300, 30, 100), (1000, 95, 1), (1000, 50, 900)],
)
def test_what_lies_above_the_cutoff_is_fitted_whatever_the_arviz(num_particles, tail_size, at_cutoff):
    """Weights that equal the cutoff, the (M + 1)-th largest with M = ⌈min(K/5, 3√K)⌉, are none of the tail."""
    generator = torch.Generator().manual_seed(num_particles)
    tail = torch.rand(tail_size, dtype=torch.float64, generator=generator).reciprocal().log() * 0.6
    body = torch.linspace(-5, -0.5, num_particles - tail_size - at_cutoff, dtype=torch.float64)
    weights = torch.cat([body, torch.zeros(at_cutoff, dtype=torch.float64), tail])
    weights = weights[torch.randperm(num_particles, generator=generator)]
    expected = zhang_stephens([math.exp(w - tail.max()) - math.exp(-tail.max()) for w in tail.tolist()])
    assert pareto_k(weights.unsqueeze(1)).tolist() == [pytest.approx(expected, rel=1e-9)]


def test_too_few_weights_are_nan():
    assert pareto_k(torch.randn(29, 1, generator=torch.Generator().manual_seed(0))).isnan().all()
    assert pareto_k(torch.randn(30, 1, generator=torch.Generator().manual_seed(0))).isfinite().all()


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (torch.zeros(30), ShapeError, "particles first"),
        (torch.full((30, 1), math.nan), NumericalError, "NaN or \\+infinity"),
        (torch.full((30, 1), -math.inf), NumericalError, "every weight of an observation is zero"),
    ],
)
def test_bad_weights_are_refused(weights, error, message):
    with pytest.raises(error, match=message):
        pareto_k(weights)


@pytest.mark.parametrize(
    ("num_particles", "threshold"),
    [(10, -math.inf), (100, 0.5), (1000, 1 - 1 / 3), (5000, 0.7), (10**6, 0.7)],
)
def test_threshold(num_particles, threshold):
    assert pareto_k_threshold(num_particles) == pytest.approx(threshold)


def test_rounding_of_float32_counts_as_equal(isolated_globals):
    """A perfect guide in float32 has weights that differ in the last digits only."""
    with isolated_globals(seed=0):
        model = LinearGaussianVAE(2, (40,))
    x = model.sample(20, seed=1)
    estimate = bv.estimate_log_evidence(model, ExactLinearGaussianGuide(model), x, 200)
    assert (estimate.pareto_k == -math.inf).all()
    assert (str(estimate.reading), estimate.reading.kind) == ("", "estimate")
    assert (pareto_k(1e-3 * torch.randn(100, 3, generator=torch.Generator().manual_seed(0))) > -math.inf).all()


class PointLike(SingleLatentGuide):
    """q(z given x) of one shape at a place: normal or uniform, of a given width in each dimension."""

    def __init__(self, kind, loc, width):
        super().__init__()
        self.kind, self.loc, self.width = kind, loc, width

    def variational_posterior(self, x):
        loc = self.loc(x)
        width = torch.as_tensor(self.width).to(loc).expand_as(loc)
        return (dist.Normal(loc, width) if self.kind == "normal" else dist.Uniform(loc - width, loc + width)).to_event(
            1
        )


@pytest.mark.parametrize(
    ("kind", "width", "dtype"),
    [
        ("normal", 1e-9, torch.float32),
        ("normal", 1e-8, torch.float32),
        ("normal", [0.7, 0.7, 1e-9], torch.float32),
        ("normal", 1e-18, torch.float64),
        ("uniform", 1e-5, torch.float64),
    ],
)
def test_a_guide_that_is_a_point_has_not_converged(isolated_globals, kind, width, dtype):
    """All its weights are equal, or those of one dimension are, and log p(x) is nats higher."""
    with isolated_globals(seed=0), torch.no_grad():
        model = LinearGaussianVAE(3, (3,)).to(dtype)
        model.weight.copy_(torch.eye(3))
    x = model.sample(6, seed=1)
    guide = PointLike(kind, lambda x: model.exact_posterior(x).loc, width)
    estimate = bv.estimate_log_evidence(model, guide, x, 200)
    assert (estimate.log_evidence < model.log_evidence(x) - 1).all()
    assert not estimate.converged.any()
    assert (estimate.pareto_k == math.inf).all()
    assert estimate.standard_error.isnan().all()
    with open_pair(model, guide, x) as opened:
        weights = WeightsAtDraws(200)
        collect(opened, 200, weights)
    assert torch.equal(weights.result(opened).pareto_k, estimate.pareto_k)


def test_an_exact_guide_is_trusted_in_either_precision(isolated_globals):
    for dtype in (torch.float32, torch.float64):
        with isolated_globals(seed=0):
            model = LinearGaussianVAE(5, (4,)).to(dtype)
        x = model.sample(300, seed=1)
        for chunk_size in (None, 10):  # as many draws are looked at, whatever the chunks
            estimate = bv.estimate_log_evidence(model, ExactLinearGaussianGuide(model), x, 100, chunk_size=chunk_size)
            assert (estimate.pareto_k == -math.inf).all()
            assert estimate.converged.all()
