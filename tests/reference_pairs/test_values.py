"""log p(x) of the reference pairs, found again from their Pyro programs by roads that their formulas do not take."""

import math

import numpy as np
import pyro.poutine as poutine
import pytest
import torch
from pyro.poutine.util import site_is_subsample

from bayes_vae.errors import SettingsError
from bayes_vae.reference_pairs import NAMES, reference_pair
from bayes_vae.reference_pairs.pair import cosines

ROWS = 2
"""Observations of each pair that are integrated anew."""

PAIRS = {name: reference_pair(name) for name in NAMES}


def sites(trace):
    """The latent and observed sites of a trace, without its plates."""
    samples = {name: site for name, site in trace.nodes.items() if site["type"] == "sample"}
    return {name: site for name, site in samples.items() if not site_is_subsample(site)}


def log_joint(pair, row, **latents):
    """log p(x, z) of one observation for M values of its latents, each (M, …), from the program alone."""
    (count,) = {len(value) for value in latents.values()}
    x = [part[row : row + 1].expand(count, *part.shape[1:]) for part in pair.observations]
    trace = poutine.trace(poutine.condition(pair.model, data=latents)).get_trace(*x)
    trace.compute_log_prob()
    return sum(site["log_prob"].double() for site in sites(trace).values())


def gauss_legendre(low, high, panels=40, points=24):
    """Nodes and logarithms of weights of a composite rule, each (panels × points,)."""
    nodes, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(points))
    edges = torch.linspace(low, high, panels + 1, dtype=torch.float64)
    half = (edges[1:] - edges[:-1]).unsqueeze(-1) / 2
    return (edges[:-1, None] + half * (1 + nodes)).flatten(), (half * weights).log().flatten()


@pytest.mark.parametrize("name", NAMES)
def test_the_values_are_found_again(name):
    pair = PAIRS[name]
    found = pair.exact(*pair.observations)
    assert len(pair.log_evidence) == len(pair.observations[0]) >= 6
    torch.testing.assert_close(found, pair.log_evidence, rtol=0, atol=pair.error)


@pytest.mark.parametrize("name", ["unimodal", "decoder", "curved", "bimodal", "missed-mode"])
def test_one_and_two_dimensions_by_gauss_legendre(name):
    pair = PAIRS[name]
    panels = {1: 40, 2: 12}[pair.latent_dim]
    nodes, log_weights = gauss_legendre(-9, 9, panels)
    z = torch.cartesian_prod(*[nodes] * pair.latent_dim).reshape(-1, pair.latent_dim)
    weights = torch.cartesian_prod(*[log_weights] * pair.latent_dim).reshape(-1, pair.latent_dim).sum(-1)
    for row in range(ROWS):
        found = torch.logsumexp(log_joint(pair, row, z=z) + weights, 0)
        assert abs(found - pair.log_evidence[row]) < pair.error


GAUSSIAN = ("exact-guide", "correlated", "too-narrow", "too-wide", "far-off", "point-like", "two-sites", "masked-rows")


@pytest.mark.parametrize("name", [*GAUSSIAN, "fifty-linear", "collapsed"])
def test_quadratic_log_joints_by_their_curvature(name, isolated_globals):
    r"""log ∫ exp(f) = f(0) + gᵀ H⁻¹ g / 2 + (D / 2) log 2π − log det(H) / 2, H the negative second derivative.

    Dimensions that f does not depend on are masked: they are no part of this row's latents.
    """
    pair = PAIRS[name]
    with isolated_globals():
        trace = poutine.trace(pair.guide).get_trace(*pair.observations)
    shapes = {each: site["value"].shape[1:] for each, site in sites(trace).items()}
    sizes = [math.prod(shape) for shape in shapes.values()]
    zero = torch.zeros(sum(sizes), dtype=pair.observations[0].dtype)
    for row in range(ROWS):

        def f(flat, row=row):
            parts = flat.split(sizes)
            latents = {each: part.reshape(1, *shape) for (each, shape), part in zip(shapes.items(), parts, strict=True)}
            return log_joint(pair, row, **latents).squeeze()

        gradient = torch.autograd.functional.jacobian(f, zero).double()
        curvature = -torch.autograd.functional.hessian(f, zero).double()
        kept = curvature.diagonal() != 0
        assert bool(kept.all()) == (name != "masked-rows" or bool(pair.x[1][row]))
        gradient, curvature = gradient[kept], curvature[kept][:, kept]
        found = f(zero).double() + 0.5 * (gradient @ torch.linalg.solve(curvature, gradient))
        found += 0.5 * (len(gradient) * math.log(2 * math.pi) - torch.logdet(curvature))
        assert abs(found - pair.log_evidence[row]) < (pair.error if zero.dtype == torch.float64 else 1e-5)


@pytest.mark.parametrize("name", ["many-modes", "fifty-counts", "heavy-tailed"])
def test_factors_of_the_log_joint_one_by_one(name):
    """In coordinates u = C z the log joint is a sum over dimensions: seen, then integrated one by one."""
    pair, size = PAIRS[name], PAIRS[name].latent_dim
    turn = torch.eye(2, dtype=torch.float64) if name == "heavy-tailed" else cosines(size)
    t, log_weights = gauss_legendre(-14, 14)
    nodes = torch.sinh(t) if name == "heavy-tailed" else t
    if name == "heavy-tailed":
        log_weights = log_weights + torch.cosh(t).log()
    one_by_one = torch.eye(size, dtype=torch.float64) * nodes[:, None, None]
    some = torch.linspace(-1, 1, size, dtype=torch.float64)
    for row in range(ROWS):

        def f(u, row=row):
            return log_joint(pair, row, z=u @ turn)

        middle = f(some.new_zeros(1, size))
        assert abs(f(some[None]) - middle - (f(some.diag()) - middle).sum()) < 1e-9
        factors = f(one_by_one.flatten(0, 1)).reshape(len(nodes), size) - middle
        found = middle + torch.logsumexp(factors + log_weights.unsqueeze(-1), 0).sum()
        assert abs(found - pair.log_evidence[row]) < pair.error


def test_the_funnel_by_nested_integrals():
    """For each v, the nine z one by one: given v the log joint is a sum over them."""
    pair = PAIRS["funnel"]
    v, v_weights = gauss_legendre(-12, 12, 12, 16)
    step, step_weights = gauss_legendre(-9, 9, 6, 16)
    for row in range(ROWS):
        x = pair.x[row]
        narrow = (1 / (torch.exp(-v) + 4)).sqrt()  # the deviation of z given v and x, to place the nodes
        centre = (4 * narrow**2).unsqueeze(-1) * x
        z = centre[:, None, None] + torch.eye(9, dtype=torch.float64) * (narrow[:, None] * step)[:, :, None, None]
        wide = v[:, None, None].expand(z.shape[:-1])
        each = log_joint(pair, row, v=wide.flatten(), z=z.flatten(0, 2)).reshape(wide.shape)
        middle = log_joint(pair, row, v=v, z=centre)
        factors = torch.logsumexp(each - middle[:, None, None] + step_weights[:, None], 1).sum(-1)
        found = torch.logsumexp(middle + factors + 9 * narrow.log() + v_weights, 0)
        assert abs(found - pair.log_evidence[row]) < pair.error


def test_conjugate_pairs_by_bayes_rule_at_any_z():
    """log p(x) = log p(x, z) − log p(z given x), the posteriors as textbooks have them."""
    pair = PAIRS["simplex"]
    z = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.3, 0.05, 0.25, 0.4]], dtype=torch.float64)
    for row in range(ROWS):
        after = torch.tensor([0.8, 1.0, 2.0, 3.0], dtype=torch.float64) + pair.x[row]
        found = log_joint(pair, row, z=z) - torch.distributions.Dirichlet(after).log_prob(z)
        torch.testing.assert_close(found, pair.log_evidence[row].expand(2), rtol=0, atol=pair.error)
    pair = PAIRS["positive"]
    z = torch.tensor([[0.4], [3.0]], dtype=torch.float64)
    for row in range(ROWS):
        after = torch.distributions.Gamma(1.5 + pair.x[row].sum(), 2.5)
        found = log_joint(pair, row, z=z) - after.log_prob(z).squeeze(-1)
        torch.testing.assert_close(found, pair.log_evidence[row].expand(2), rtol=0, atol=pair.error)


def test_discrete_latents_value_by_value():
    pair = PAIRS["discrete"]
    labels, *bits = torch.meshgrid(torch.arange(5), *[torch.arange(2)] * 3, indexing="ij")
    flips = torch.stack([bit.flatten() for bit in bits], -1).double()
    for row in range(ROWS):
        found = torch.logsumexp(log_joint(pair, row, label=labels.flatten(), bits=flips), 0)
        assert abs(found - pair.log_evidence[row]) < pair.error


def test_a_likelihood_sharper_than_any_prior_is_the_prior_at_x():
    pair = PAIRS["sharp-likelihood"]
    prior = torch.distributions.Normal(torch.zeros(1).double(), 1.0).log_prob(pair.x.double()).squeeze(-1)
    torch.testing.assert_close(prior, pair.log_evidence, rtol=0, atol=pair.error)


def test_a_damaged_guide_is_wider_and_moved_by_its_own_deviations():
    guide, x = PAIRS["far-off"].guide, PAIRS["far-off"].x
    loc, right = guide.moments(x)
    damaged = guide.damaged(factor=0.5, shift=-28.0).variational_posterior(x)
    torch.testing.assert_close(damaged.mean, loc + 2 * right)
    torch.testing.assert_close(damaged.stddev, 0.5 * right)
    torch.testing.assert_close(guide.variational_posterior(x).mean, loc + 30 * right)


def test_an_unknown_pair():
    with pytest.raises(SettingsError, match="no reference pair is called 'easy': choose from unimodal, "):
        reference_pair("easy")


def test_every_pair_is_integrated_anew():
    """A new pair needs a road of its own above."""
    named = {"unimodal", "decoder", "curved", "bimodal", "missed-mode", *GAUSSIAN, "fifty-linear", "collapsed"}
    named |= {"many-modes", "fifty-counts", "heavy-tailed", "funnel", "simplex", "positive", "discrete"}
    assert named | {"sharp-likelihood"} == set(NAMES)
