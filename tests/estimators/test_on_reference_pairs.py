"""Every estimator on the reference pairs: bounds are bounds, claimed errors cover, what has not converged says so.

Each observation is repeated, and every copy has noise of its own.
"""

import math
from statistics import NormalDist

import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import NumericalError
from bayes_vae.reference_pairs import NAMES, reference_pair

Z = NormalDist().inv_cdf(1 - 1e-6)

BEYOND, SMALLEST, ALLOWED = 5.0, 0.2, 0.05
"""A row is wrong where nothing flags it, and it is further from the truth than 5 claimed errors and 0.2 nats.

Smaller lapses of an error that is itself estimated are counted by ``benchmarks/coverage.py``.
"""

PAIRS = {name: reference_pair(name) for name in NAMES}


def copies(pair, times):
    """The arguments of an estimator, and log p(x), with every observation so many times."""
    x = tuple(part.repeat(times, *[1] * (part.dim() - 1)) for part in pair.observations)
    return (pair.model, pair.guide, x[0] if len(x) == 1 else x), pair.log_evidence.repeat(times)


def rounding(pair):
    return 1e-9 if pair.observations[0].dtype == torch.float64 else 1e-4


def flagged(result):
    """The observations that a result says have not converged."""
    if hasattr(result, "converged"):
        return ~result.converged
    return torch.tensor([not reading.settled for reading in result.readings])


def assert_bound(pair, error):
    """exp(estimate − log p(x)) has a mean of at most 1, up to chance; so it exceeds 20 in at most one row of 20."""
    ratio, rows = error.double().exp(), len(error)
    chance = Z * float(ratio.std()) / math.sqrt(rows)
    assert float(ratio.mean()) <= 1 + chance + rounding(pair), f"mean {float(ratio.mean()):.3f}, chance {chance:.3f}"
    assert int((ratio > 20).sum()) <= rows / 20 + Z * math.sqrt(rows / 20) + 1, f"largest {float(error.max()):.3f}"


def assert_honest(pair, estimate, claimed, doubted, truth):
    """Rows that nothing flags are as near the truth as they claim."""
    error = (estimate - truth).abs().double()
    assert not estimate.isnan().any()
    assert not claimed[~doubted].isnan().any()
    wrong = (error > BEYOND * claimed) & (error > SMALLEST) & ~doubted
    assert wrong.double().mean() <= ALLOWED, f"{int(wrong.sum())} of {len(wrong)}, by up to {error[wrong].max():.3f}"


@pytest.mark.parametrize("name", NAMES)
def test_the_elbo_is_a_bound(name):
    pair = PAIRS[name]
    terms = bv.elbo_terms(pair.model, pair.guide, pair.x, 50)
    assert bool((terms.elbo <= pair.log_evidence + Z * terms.elbo_error + rounding(pair)).all())


@pytest.mark.parametrize("name", [name for name in NAMES if name != "sharp-likelihood"])
def test_importance_sampling_is_a_bound(name):
    arguments, truth = copies(PAIRS[name], 20)
    assert_bound(PAIRS[name], bv.estimate_log_evidence(*arguments, 50).log_evidence - truth)


@pytest.mark.parametrize(
    "name",
    NAMES,
)
def test_importance_sampling_is_honest(name):
    arguments, truth = copies(PAIRS[name], 6)
    found = bv.estimate_log_evidence(*arguments, 1000)
    assert_honest(PAIRS[name], found.log_evidence, found.standard_error, flagged(found), truth)


@pytest.mark.parametrize(
    "name",
    [
        "decoder",
        "correlated",
        "missed-mode",
        "too-narrow",
        "too-wide",
        "far-off",
        "positive",
        "fifty-linear",
        "masked-rows",
        "point-like",
    ],
)
def test_a_refined_proposal_is_a_bound_and_honest(name):
    arguments, truth = copies(PAIRS[name], 2)
    found = bv.estimate_log_evidence(*arguments, 400, proposal="student_t")
    assert_bound(PAIRS[name], found.log_evidence - truth)
    assert_honest(PAIRS[name], found.log_evidence, found.standard_error, flagged(found), truth)


@pytest.mark.parametrize(
    "name",
    [
        "unimodal",
        "simplex",
        "two-sites",
        "too-wide",
        "far-off",
        "collapsed",
        "fifty-counts",
        "missed-mode",
        "too-narrow",
        "point-like",
        "masked-rows",
    ],
)
def test_annealing_from_the_guide_is_a_bound_and_honest(name):
    arguments, truth = copies(PAIRS[name], 4)
    found = bv.annealed_log_evidence(*arguments, num_temperatures=20, num_chains=4)
    assert_bound(PAIRS[name], found.log_evidence - truth)
    assert_honest(PAIRS[name], found.log_evidence, found.standard_error, flagged(found), truth)


def test_a_likelihood_narrower_than_the_spacing_of_floats_gives_no_bound():
    """It counts as a density at every float: 3 nats too high for every estimator, and every one says so."""
    pair = PAIRS["sharp-likelihood"]
    for estimate in (bv.estimate_log_evidence, bv.annealed_log_evidence):
        found = estimate(pair.model, pair.guide, pair.x)
        assert bool((found.log_evidence - pair.log_evidence > 1).all())
        assert {reading.kind for reading in found.readings} == {"unresolved"}
        assert found.standard_error.isnan().all()
        assert not found.converged.any()
    with pytest.raises(NumericalError):
        bv.estimate_log_evidence(pair.model, pair.guide, pair.x, 50, proposal="full_covariance")


def test_what_is_looked_at_does_not_depend_on_the_batch():
    pair = PAIRS["bimodal"]
    found = bv.estimate_log_evidence(pair.model, pair.guide, pair.x, 1000)
    assert 0 < int(found.converged.sum()) < len(found.converged)
    assert torch.equal(found.resolution.isnan(), found.pareto_k <= found.pareto_k_thresholds)
    alone = bv.estimate_log_evidence(pair.model, pair.guide, pair.x, 1000, batch_size=1)
    torch.testing.assert_close(alone.resolution, found.resolution, equal_nan=True)


def test_a_weight_is_resolved_where_only_the_guide_is_bad():
    """Looked at is the draw that counts: far from the posterior floats may be too coarse, and nothing follows."""

    def model(x):
        with pyro.plate("rows", len(x)):
            pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0)), 1e-3), obs=x)

    def guide(x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))

    found = bv.estimate_log_evidence(model, guide, torch.tensor([0.5, -0.8, 1.1]), 1000)
    assert not found.converged.any()
    assert bool((found.resolution < 0.1).all())
    assert {reading.kind for reading in found.readings} == {"lower_bound_not_converged"}


@pytest.mark.parametrize("name", ["unimodal", "missed-mode", "two-sites", "too-narrow", "point-like", "masked-rows"])
def test_annealing_from_the_prior_does_not_depend_on_the_guide(name):
    (model, _, x), truth = copies(PAIRS[name], 4)
    found = bv.annealed_log_evidence(model, None, x, start="prior", num_temperatures=20, num_chains=4)
    assert_bound(PAIRS[name], found.log_evidence - truth)
    assert_honest(PAIRS[name], found.log_evidence, found.standard_error, flagged(found), truth)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        *[(name, method) for name in ("unimodal", "positive") for method in ("gauss-hermite", "grid")],
        *[(name, "gauss-hermite") for name in ("decoder", "curved", "missed-mode")],
    ],
)
def test_quadrature_is_honest(name, method):
    pair = PAIRS[name]
    settings = {"method": method, "tolerance": 1e-6, "max_nodes": 2**16}
    found = bv.quadrature_log_evidence(pair.model, pair.guide, pair.x, **settings)
    assert bool(found.converged.any())
    error = (found.log_evidence - pair.log_evidence).abs()
    assert bool((error[found.converged] <= 1e-5).all()), error
    missed = found.refinement_error.isnan()
    assert bool((error[missed] > 0.05).all())
    assert found.reading.missed == int(missed.sum()) == (0 if name != "missed-mode" else 7)


@pytest.mark.parametrize("name", ["unimodal", "many-modes", "heavy-tailed", "simplex"])
def test_bidirectional_bounds_hold_the_truth(name):
    """The truth of observations that the model draws is found as that of the frozen ones was."""
    pair = PAIRS[name]
    bounds = bv.bidirectional_bounds(pair.model, None, num_observations=60, num_temperatures=10, num_chains=2)
    truth = pair.exact(bounds.observations)
    assert_bound(pair, bounds.lower - truth)
    assert_bound(pair, truth - bounds.upper)
