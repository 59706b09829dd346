"""Particles chosen for each observation by a pilot whose weights are thrown away."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae.distributions import diagonal_normal
from bayes_vae.errors import SettingsError
from bayes_vae.estimators import effective_sample_size, importance_weighted_bound, pareto_k, pareto_k_threshold
from bayes_vae.estimators.importance.pilot import FEWEST_PARTICLES, particles_needed
from bayes_vae.guides import SingleLatentGuide

TOLERANCE, MOST = 0.05, 4096


class UnevenGuide(SingleLatentGuide):
    """The exact posterior's means, and deviations that are right for some observations and far too wide for others."""

    def __init__(self, model):
        super().__init__()
        self._model = (model,)

    def variational_posterior(self, x):
        exact = self._model[0].exact_posterior(x)
        factor = 1.2 + 4 * torch.sigmoid(3 * x[:, :1])
        return diagonal_normal(exact.loc, exact.variance.sqrt() * factor)


class ShiftedGuide(SingleLatentGuide):
    """The exact posterior, its mean moved by so many deviations: the weights are lognormal with that σ."""

    def __init__(self, model, sigma):
        super().__init__()
        self._model, self.sigma = (model,), sigma

    def variational_posterior(self, x):
        exact = self._model[0].exact_posterior(x)
        loc = exact.loc + self.sigma * exact.scale_tril[..., 0]
        return dist.MultivariateNormal(loc, scale_tril=exact.scale_tril, validate_args=False)


@pytest.fixture(scope="module")
def uneven(linear_gaussian):
    model, x = linear_gaussian
    guide = UnevenGuide(model)
    return model, guide, x, bv.estimate_log_evidence(model, guide, x, MOST, tolerance=TOLERANCE)


def test_without_a_tolerance_all_get_the_same(linear_gaussian, rescaled_guide):
    model, x = linear_gaussian
    estimate = bv.estimate_log_evidence(model, rescaled_guide(model, 1.8), x, 200)
    assert estimate.particles.tolist() == [200] * len(x)
    assert estimate.num_particles == 200


def test_each_figure_is_of_the_observations_own_particles(uneven):
    """Its first K_n keyed draws, its own log K_n, halves, k̂ and threshold."""
    model, guide, x, estimate = uneven
    assert len(estimate.particles.unique()) > 2
    assert estimate.particles.min() >= FEWEST_PARTICLES
    terms = bv.log_terms(model, guide, x, MOST)
    for n, count in enumerate(estimate.particles.tolist()):
        weights = terms.log_importance_weights[:count, n : n + 1]
        half = count // 2
        bound = importance_weighted_bound(weights)
        halves = (importance_weighted_bound(weights[:half]) + importance_weighted_bound(weights[half:])) / 2
        sample_size = effective_sample_size(weights)
        expected = {
            "log_evidence": bound,
            "effective_sample_size": sample_size,
            "pareto_k": pareto_k(weights),
            "doubling_step": bound - halves,
            "pareto_k_thresholds": torch.tensor([pareto_k_threshold(count)], dtype=torch.float64),
            "standard_error": (1 / sample_size - 1 / count).sqrt(),
        }
        for name, value in expected.items():
            found = getattr(estimate, name)[n : n + 1]
            if name == "standard_error" and not estimate.converged[n]:
                assert found.isnan()
                continue
            torch.testing.assert_close(found, value, rtol=1e-9, atol=1e-9)
    average = estimate.averages()["log_evidence"]
    assert average.value == pytest.approx(estimate.log_evidence.mean().item())
    assert average.num_particles == estimate.num_particles == int(estimate.particles.max())
    assert f"{int(estimate.particles.min())} to {estimate.num_particles} particles, chosen by a pilot" in str(
        average.reading
    )


def test_the_tolerance_is_about_reached(linear_gaussian, rescaled_guide, within):
    model, x = linear_gaussian
    copies, truth = x[:1].repeat(400, 1), model.log_evidence(x[:1]).detach()
    estimate = bv.estimate_log_evidence(model, rescaled_guide(model, 2.5), copies, MOST, tolerance=TOLERANCE)
    root_mean_square = (estimate.log_evidence - truth).square().mean().sqrt()
    assert 0.6 * TOLERANCE < root_mean_square < 1.1 * TOLERANCE
    assert estimate.particles.max() < MOST


@pytest.mark.parametrize("cut", [{"batch_size": 2}, {"chunk_size": 37}, {"batch_size": 3, "chunk_size": 100}])
@pytest.mark.parametrize("source", ["distributions", "traces"])
def test_the_cut_changes_nothing(uneven, cut, source):
    model, guide, x, whole = uneven
    again = bv.estimate_log_evidence(model, guide, x, MOST, tolerance=TOLERANCE, source=source, **cut)
    assert torch.equal(again.particles, whole.particles)
    torch.testing.assert_close(again.log_evidence, whole.log_evidence, rtol=0, atol=1e-10)


def test_order_changes_nothing(uneven):
    model, guide, x, whole = uneven
    order = torch.tensor([4, 0, 6, 2])
    some = bv.estimate_log_evidence(model, guide, x[order], MOST, tolerance=TOLERANCE, index=order)
    assert torch.equal(some.particles, whole.particles[order])
    torch.testing.assert_close(some.log_evidence, whole.log_evidence[order], rtol=0, atol=1e-10)


def test_the_pilot_is_unbiased_where_a_stopping_rule_is_not(linear_gaussian, within):
    """Stopping once the error of the averaged weights is small gives 0.95 instead of 1."""
    model, x = linear_gaussian
    guide, tolerance, most = ShiftedGuide(model, 1.5), 0.2, 1024
    copies, truth = x[:1].repeat(1500, 1), model.log_evidence(x[:1]).detach()

    def check(log_evidence):
        ratio = (log_evidence - truth).exp()
        within(ratio.mean(), 1.0, ratio.std() / len(ratio) ** 0.5)

    estimate = bv.estimate_log_evidence(model, guide, copies, most, tolerance=tolerance)
    assert len(estimate.particles.unique()) > 2
    check(estimate.log_evidence)
    weights = bv.log_terms(model, guide, copies, most).log_importance_weights
    check(importance_weighted_bound(weights))
    with pytest.raises(pytest.fail.Exception, match="1 of 1 estimates lie further from the truth"):
        check(stopped_when_small(weights, tolerance))


def stopped_when_small(log_weights, tolerance):
    """What must not be done: double K until the error of these very weights is below the tolerance."""
    stopped = torch.full_like(log_weights[0], torch.nan)
    count = FEWEST_PARTICLES
    while count <= len(log_weights):
        some = log_weights[:count]
        error = (1 / effective_sample_size(some) - 1 / count).sqrt()
        ends = stopped.isnan() & ((error <= tolerance) | (count == len(log_weights)))
        stopped = torch.where(ends, importance_weighted_bound(some), stopped)
        count *= 2
    return stopped


def test_needed_particles_follow_the_variance():
    """Half of the weights 1 and half 3: relative variance 1/4 (times M/(M − 1)), so K = 0.25 / τ², rounded up."""
    weights = torch.tensor([1.0, 3.0]).double().log().repeat(128).unsqueeze(1)
    for tolerance, expected in ((0.02, 1024), (0.0165, 1024), (0.0155, 2048), (0.04, 256), (0.4, FEWEST_PARTICLES)):
        assert particles_needed(weights, tolerance, 10_000, discrete=True).tolist() == [expected]
    assert particles_needed(weights, 0.001, 10_000, discrete=True).tolist() == [10_000]
    assert particles_needed(weights, 0.4, 50, discrete=True).tolist() == [50]


def test_needed_particles_where_the_pilot_knows_too_little():
    """A heavy tail, and weights that are all zero, get the most; equal weights the fewest."""
    generator = torch.Generator().manual_seed(0)
    exponential = -torch.rand(256, dtype=torch.float64, generator=generator).log()
    weights = torch.stack([0.9 * exponential, torch.full_like(exponential, -math.inf), 0 * exponential - 90], 1)
    assert particles_needed(weights, 0.8, 5000).tolist() == [5000, 5000, FEWEST_PARTICLES]
    assert particles_needed(weights[:, :1], 0.8, 5000, discrete=True) < 5000  # by its variance alone, few would do


def test_a_tail_without_variance_needs_more_than_the_variance_says():
    """Pareto weights at their very quantiles: the error falls as K^(k−1), so K must exceed r / τ²."""
    quantiles = (torch.arange(256, dtype=torch.float64) + 0.5) / 256
    weights = (-0.6 * torch.log1p(-quantiles)).unsqueeze(1)
    assert 0.5 < pareto_k(weights) < pareto_k_threshold(256)
    by_variance = particles_needed(weights, 0.01, 2**30, discrete=True)
    assert particles_needed(weights, 0.01, 2**30) > by_variance


@pytest.mark.parametrize("tolerance", [0.0, -1.0, math.nan, math.inf])
def test_tolerance_must_be_positive(linear_gaussian, rescaled_guide, tolerance):
    model, x = linear_gaussian
    with pytest.raises(SettingsError, match="tolerance must be positive, in nats, got"):
        bv.estimate_log_evidence(model, rescaled_guide(model, 1.8), x, tolerance=tolerance)


def gamma_poisson_model(x):
    with pyro.plate("rows", len(x)):
        rate = pyro.sample("rate", dist.Gamma(torch.full((len(x),), 3.0).double(), 2.0))
        pyro.sample("count", dist.Poisson(rate), obs=x)


def gamma_guide(x):
    """Right for small counts, too wide for large ones; a gamma's noise is not keyed by observation."""
    with pyro.plate("rows", len(x)):
        wide = torch.where(x > 5, 0.35, 0.95).double()
        pyro.sample("rate", dist.Gamma(wide * (3.0 + x), 3.0 * wide))


def test_noise_by_blocks_of_data(within):
    """Groups with different K draw from seeds of their own, and each figure returns to its observation."""
    x = torch.tensor([9.0, 0.0, 4.0, 12.0, 1.0], dtype=torch.float64)
    estimate = bv.estimate_log_evidence(gamma_poisson_model, gamma_guide, x, MOST, tolerance=0.03)
    assert estimate.provenance.randomness == "data blocks"
    assert len(estimate.particles.unique()) > 1
    truth = dist.NegativeBinomial(torch.tensor(3.0).double(), probs=torch.tensor(1 / 3).double()).log_prob(x)
    within(estimate.log_evidence, truth, estimate.standard_error)


def test_groups_by_blocks_of_data_do_not_share_noise():
    """With the seed of the whole, each group would repeat the draws of the others: those of a run by itself."""
    model, guide = gamma_poisson_model, gamma_guide
    x = torch.tensor([12.0, 0.0], dtype=torch.float64)
    both = bv.estimate_log_evidence(model, guide, x, MOST, tolerance=0.03)
    assert both.particles[0] > both.particles[1]
    alone = [bv.estimate_log_evidence(model, guide, x[n : n + 1], int(both.particles[n])) for n in range(2)]
    for n in range(2):
        assert both.log_evidence[n] != alone[n].log_evidence[0]


def test_observations_that_cannot_be_split_get_the_same():
    """The plate has a size that the program fixes, so no subset of the observations can run."""

    def model(x):
        with pyro.plate("rows", 3):
            z = pyro.sample("z", dist.Normal(torch.zeros(3).double(), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("rows", 3):
            pyro.sample("z", dist.Normal(0.5 * x, torch.tensor([0.75, 2.0, 4.0]).double()))

    x = torch.tensor([0.3, -1.0, 0.8], dtype=torch.float64)
    estimate = bv.estimate_log_evidence(model, guide, x, MOST, tolerance=0.05)
    assert len(estimate.particles.unique()) == 1
    fixed = bv.estimate_log_evidence(model, guide, x, estimate.num_particles)
    torch.testing.assert_close(estimate.log_evidence, fixed.log_evidence)


def test_discrete_latents_are_judged_by_their_variance():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(torch.full((len(x),), 0.3).double()))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(torch.where(x > 1, 0.5, 0.28).double()))

    x = torch.tensor([0.0, 2.5], dtype=torch.float64)
    estimate = bv.estimate_log_evidence(model, guide, x, MOST, tolerance=0.02)
    assert estimate.particles[0] < estimate.particles[1] < MOST
    assert estimate.pareto_k.isnan().all()
    assert str(estimate.averages()["log_evidence"].reading).startswith(
        "lower bound, not converged: k̂ is not defined for discrete latents; "
    )


def test_thresholds_in_the_note(linear_gaussian):
    """Each observation is judged by the threshold at its own K, and the note says what they range over."""
    model, x = linear_gaussian
    estimate = bv.estimate_log_evidence(model, ShiftedGuide(model, 1.5), x.repeat(10, 1), 2048, tolerance=0.2)
    assert torch.equal(estimate.converged | estimate.missed, estimate.pareto_k <= estimate.pareto_k_thresholds)
    failed = int((~estimate.converged & ~estimate.missed).sum())
    assert 0 < failed < 70
    assert f"k̂ above its threshold, 0.53 to 0.70, for {failed} of 70" in str(estimate.reading)


def test_progress_counts_all_observations(uneven):
    model, guide, x, _ = uneven
    seen = []
    bv.estimate_log_evidence(
        model, guide, x, MOST, tolerance=TOLERANCE, batch_size=1, progress=lambda *state: seen.append(state)
    )
    assert seen == [(n, 7) for n in range(1, 8)]
