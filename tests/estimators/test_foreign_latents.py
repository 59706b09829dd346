"""Programs written elsewhere whose densities overflow, or whose supports move: moves are rejected, maps refused."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.distributions import constraints

import bayes_vae as bv
from bayes_vae.errors import NotDefinedError
from bayes_vae.estimators.latent_space import _same

pytestmark = pytest.mark.libraries

COUNTS = torch.tensor([0.0, 2.0, 20.0], dtype=torch.float64)
STEEPNESS = 6.0


def steep_counts(x):
    """A Poisson rate of exp(6 z): a long leapfrog step ends at a rate of infinity, and the next one at NaN."""
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(len(x)).double(), 1.0))
        pyro.sample("x", dist.Poisson((STEEPNESS * z).exp()), obs=x)


def steep_counts_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(torch.zeros(len(x)).double(), 1.0))


def log_evidence_of_counts():
    z = torch.linspace(-10, 10, 200_001, dtype=torch.float64)
    log_joint = dist.Normal(torch.zeros_like(z), 1.0).log_prob(z) + dist.Poisson((STEEPNESS * z).exp()).log_prob(
        COUNTS.unsqueeze(-1)
    )
    return log_joint.logsumexp(-1) + (z[1] - z[0]).log()


@pytest.mark.parametrize("settings", [{"start": "guide", "refine": False}, {"start": "prior"}])
def test_moves_that_overflow_are_rejected_with_validation_on(within, settings):
    with pyro.validation_enabled(True):
        estimate = bv.annealed_log_evidence(
            steep_counts, steep_counts_guide, COUNTS, num_temperatures=100, num_chains=200, **settings
        )
    within(estimate.log_evidence, log_evidence_of_counts(), estimate.standard_error)
    assert (estimate.acceptance < 1).all()


def test_refined_proposals_and_draws_where_moves_overflow(within):
    with pyro.validation_enabled(True):
        estimate = bv.estimate_log_evidence(steep_counts, steep_counts_guide, COUNTS, 200, proposal="student_t")
        draws = bv.posterior_draws(steep_counts, steep_counts_guide, COUNTS, num_draws=100, num_warmup=60)
    assert estimate.log_evidence.isfinite().all()
    assert draws.latents["z"].isfinite().all()


def moving_support(x):
    with pyro.plate("data", len(x)):
        a = pyro.sample("a", dist.Gamma(2.0 * torch.ones(len(x)), 2.0))
        z = pyro.sample("z", dist.Uniform(0.0, a, validate_args=False))
        pyro.sample("x", dist.Normal(z, 0.3), obs=x)


def moving_guide(x):
    with pyro.plate("data", len(x)):
        a = pyro.sample("a", dist.Gamma(2.0 * torch.ones(len(x)), 1.0))
        pyro.sample("z", dist.Uniform(torch.zeros(len(x)), a, validate_args=False))


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: bv.annealed_log_evidence(moving_support, moving_guide, x),
        lambda x: bv.annealed_log_evidence(moving_support, None, x, start="prior"),
        lambda x: bv.quadrature_log_evidence(moving_support, moving_guide, x),
        lambda x: bv.bayes_rule_on_grid(moving_support, moving_guide, x),
        lambda x: bv.estimate_log_evidence(moving_support, moving_guide, x, 100, proposal="normal"),
        lambda x: bv.posterior_draws(moving_support, moving_guide, x),
        lambda x: bv.nuts_draws(moving_support, x),
    ],
    ids=["annealed", "from the prior", "quadrature", "grid", "proposal", "draws", "NUTS"],
)
def test_a_support_that_depends_on_another_latent_is_refused(ask):
    """One draw's map would serve all: annealed figures were nats off, above log p(x) too, without a word."""
    with pytest.raises(NotDefinedError, match="support of latent site 'z' depends on another latent, as that of Unif"):
        ask(torch.tensor([0.2]))


def test_when_two_supports_are_the_same():
    one, two = torch.ones(3), 2 * torch.ones(3)
    assert _same(constraints.interval(0.0, one), constraints.interval(0.0, one.clone()))
    assert not _same(constraints.interval(0.0, one), constraints.interval(0.0, two))
    assert not _same(constraints.independent(constraints.greater_than(one), 1), constraints.greater_than(one))
    assert not _same(*(constraints.independent(constraints.greater_than(low), 1) for low in (one, two)))
    assert not _same(*(constraints.stack([constraints.real, constraints.less_than(high)]) for high in (one, two)))
    assert _same(constraints.simplex, constraints.simplex)
