"""Every estimator on the reference pairs: bounds are bounds, claimed errors cover, what has not converged says so.

Each observation is repeated, and every copy has noise of its own. Where the present code fails, the failure is expected
by name and strictly: the day it is mended, the test says so.
"""

import math
from statistics import NormalDist

import pytest
import torch

import bayes_vae as bv
from bayes_vae.reference_pairs import NAMES, FunctionModel, reference_pair

COPIES = 20

BEYOND, SMALLEST, ALLOWED = 3.0, 0.05, 0.02
"""Of the rows that nothing flags, at most 2 % may be further from the truth than 3 claimed errors and 0.05 nats."""

PAIRS = {name: reference_pair(name) for name in NAMES}
CONTINUOUS = [name for name in NAMES if not PAIRS[name].discrete]
SMALL = [name for name in NAMES if 1 <= PAIRS[name].latent_dim <= 2]
SIMULATED = [name for name in NAMES if isinstance(PAIRS[name].model, FunctionModel)]

ANNEALED = [
    *(
        "unimodal",
        "missed-mode",
        "many-modes",
        "heavy-tailed",
        "funnel",
        "positive",
        "simplex",
        "two-sites",
        "too-narrow",
    ),
    *("too-wide", "far-off", "point-like", "sharp-likelihood", "masked-rows", "fifty-counts", "collapsed"),
]


def copies(pair, times=COPIES):
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
    """The mean of exp(estimate − log p(x)) is at most 1, up to chance."""
    ratio = error.double().exp()
    z = NormalDist().inv_cdf(1 - 1e-6)
    chance = z * float(ratio.std()) / math.sqrt(len(ratio))
    assert float(ratio.mean()) <= 1 + chance + rounding(pair), f"mean {float(ratio.mean()):.3f}, chance {chance:.3f}"


def assert_honest(pair, estimate, claimed, doubted, truth):
    """Rows that nothing flags are as near the truth as they claim."""
    error = (estimate - truth).abs().double()
    assert estimate.isfinite().all()
    wrong = (error > BEYOND * claimed) & (error > SMALLEST) & ~doubted
    assert not claimed[~doubted].isnan().any()
    share = float(wrong.sum()) / max(int((~doubted).sum()), 1)
    assert share <= ALLOWED, f"{share:.0%} of {int((~doubted).sum())} unflagged rows, by up to {error[wrong].max():.3f}"


def expected(names, failing):
    """Parameters of which some are expected to fail, each with a reason."""
    assert set(failing) <= set(names), set(failing) - set(names)
    return [
        pytest.param(name, marks=pytest.mark.xfail(strict=True, reason=failing[name])) if name in failing else name
        for name in names
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_elbo_is_a_bound(name):
    pair = PAIRS[name]
    terms = bv.elbo_terms(pair.model, pair.guide, pair.x, 100)
    z = NormalDist().inv_cdf(1 - 1e-6)
    assert bool((terms.elbo <= pair.log_evidence + z * terms.elbo_error + rounding(pair)).all())


@pytest.mark.parametrize("name", expected(NAMES, {}))
def test_importance_sampling_is_a_bound(name):
    arguments, truth = copies(PAIRS[name])
    assert_bound(PAIRS[name], bv.estimate_log_evidence(*arguments, 50).log_evidence - truth)


@pytest.mark.parametrize("name", expected(NAMES, {}))
def test_importance_sampling_is_honest(name):
    arguments, truth = copies(PAIRS[name])
    found = bv.estimate_log_evidence(*arguments, 1000)
    assert_honest(PAIRS[name], found.log_evidence, found.standard_error, flagged(found), truth)


@pytest.mark.parametrize("name", expected(CONTINUOUS, {}))
def test_a_refined_proposal_is_a_bound_and_honest(name):
    arguments, truth = copies(PAIRS[name], 2)
    found = bv.estimate_log_evidence(*arguments, 500, proposal="student_t")
    assert_bound(PAIRS[name], found.log_evidence - truth)
    assert_honest(PAIRS[name], found.log_evidence, found.standard_error, flagged(found), truth)


@pytest.mark.parametrize("name", expected(ANNEALED, {}))
def test_annealing_from_the_guide_is_a_bound_and_honest(name):
    arguments, truth = copies(PAIRS[name], 4)
    found = bv.annealed_log_evidence(*arguments, num_temperatures=20, num_chains=8)
    assert_bound(PAIRS[name], found.log_evidence - truth)
    assert_honest(PAIRS[name], found.log_evidence, found.standard_error, flagged(found), truth)


@pytest.mark.parametrize("name", expected(ANNEALED, {}))
def test_annealing_from_the_prior_is_a_bound_and_honest(name):
    (model, _, x), truth = copies(PAIRS[name], 4)
    found = bv.annealed_log_evidence(model, None, x, start="prior", num_temperatures=20, num_chains=8)
    assert_bound(PAIRS[name], found.log_evidence - truth)
    assert_honest(PAIRS[name], found.log_evidence, found.standard_error, flagged(found), truth)


@pytest.mark.parametrize("name", expected(SMALL, {}))
@pytest.mark.parametrize("method", ["gauss-hermite", "grid"])
def test_quadrature_is_honest(name, method):
    pair = PAIRS[name]
    settings = {"method": method, "tolerance": 1e-4, "max_nodes": 2**16}
    found = bv.quadrature_log_evidence(pair.model, pair.guide, pair.x, **settings)
    error = (found.log_evidence - pair.log_evidence).abs()
    assert bool((error[found.converged] <= 1e-3).all()), error[found.converged].max()


@pytest.mark.parametrize("name", expected(SIMULATED, {}))
def test_bidirectional_bounds_hold_the_truth(name):
    """The truth of observations that the model draws is found as that of the frozen ones was."""
    pair = PAIRS[name]
    bounds = bv.bidirectional_bounds(pair.model, None, num_observations=60, num_temperatures=10, num_chains=2)
    truth = pair.exact(bounds.observations)
    assert_bound(pair, bounds.lower - truth)
    assert_bound(pair, truth - bounds.upper)
