"""A bound in expectation, estimator by estimator: over many seeds the mean of exp(estimate − log p(x)) is at most 1.

One observation, repeated, has independent noise in each row: so rows are the seeds.
"""

import functools

import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv

SEEDS = 200

BOUNDS = {
    "ELBO": lambda *pair, **options: bv.elbo_terms(*pair, 5, kl="sampled", **options).elbo,
    "L_5": lambda *pair, **options: bv.estimate_log_evidence(*pair, 5, **options).log_evidence,
    "L_K to a tolerance": lambda *pair, **options: (
        bv.estimate_log_evidence(*pair, 300, tolerance=0.05, **options).log_evidence
    ),
    **{
        proposal: lambda *pair, proposal=proposal, **options: (
            bv.estimate_log_evidence(*pair, 5, proposal=proposal, **options).log_evidence
        )
        for proposal in ("normal", "full_covariance", "student_t")
    },
    **{
        f"annealed from {name}": lambda *pair, arguments=arguments, **options: (
            bv.annealed_log_evidence(
                *pair, num_temperatures=8, num_chains=2, num_leapfrog=3, **arguments, **options
            ).log_evidence
        )
        for name, arguments in {
            "a fitted start": {},
            "the guide": {"refine": False},
            "the prior": {"start": "prior"},
        }.items()
    },
}

INTEGRALS = {
    method: lambda *pair, method=method, **options: (
        bv.quadrature_log_evidence(*pair, method=method, **options).log_evidence
    )
    for method in ("gauss-hermite", "grid")
}


def counts(x, guide=False):
    """A positive latent: z is Gamma(3, 1) and x is Poisson(z)."""
    with pyro.plate("data", len(x)):
        q = dist.LogNormal(((x + 3) / 2).log(), 0.6)
        z = pyro.sample("z", q if guide else dist.Gamma(x.new_tensor(3.0), 1.0))
        if not guide:
            pyro.sample("x", dist.Poisson(z), obs=x)


def simplex(x, mask, guide=False):
    """A masked latent on the simplex: z is Dirichlet(1, 2, 3), x counts four draws from it; and a positive one."""
    with pyro.plate("data", len(x)):
        one = pyro.sample("y", dist.Gamma(x.new_tensor(2.0), 1.0))
        with pyro.poutine.mask(mask=mask):
            concentration = torch.tensor([1.0, 2.0, 3.0]).to(x)
            z = pyro.sample("z", dist.Dirichlet(concentration + (0.8 * x if guide else 0.0)))
            if not guide:
                pyro.sample("x", dist.Multinomial(4, z, validate_args=False), obs=x)
        if not guide:
            pyro.sample("n", dist.Poisson(one), obs=x[:, 0])


def of_counts():
    x = torch.tensor([0.0, 2.0, 5.0]).double()
    truth = dist.NegativeBinomial(torch.tensor(3.0).double(), probs=torch.tensor(0.5).double()).log_prob(x)
    return functools.partial(counts), functools.partial(counts, guide=True), (x,), truth


def of_simplex():
    x = torch.tensor([[1.0, 2.0, 1.0], [1.0, 2.0, 1.0], [0.0, 1.0, 3.0]]).double()
    mask = torch.tensor([True, False, True])
    alpha = torch.tensor([1.0, 2.0, 3.0]).double()
    beta = lambda a: torch.lgamma(a).sum(-1) - torch.lgamma(a.sum(-1))  # noqa: E731
    drawn = torch.lgamma(x.sum(-1) + 1) - torch.lgamma(x + 1).sum(-1) + beta(alpha + x) - beta(alpha)
    counted = dist.NegativeBinomial(torch.tensor(2.0).double(), probs=torch.tensor(0.5).double()).log_prob(x[:, 0])
    return functools.partial(simplex), functools.partial(simplex, guide=True), (x, mask), counted + drawn * mask


LONG = [
    pytest.param(name, marks=pytest.mark.statistical)
    for name in ("masked_simplex", "masked_event_dims", "masked_chain", "counts")
]


@pytest.fixture(params=["linear", "masked_rows", *LONG])
def pair(request, masked_pair, linear_gaussian, rescaled_guide):
    """Model, guide, arguments of a few observations, and log p(x) of each in closed form."""
    if request.param == "linear":
        model, x = linear_gaussian
        return model, rescaled_guide(model, 1.3), (x[:2],), model.log_evidence(x[:2])
    style = {"masked_rows": "two_sites", "masked_event_dims": "event_dims", "masked_chain": "markov"}
    if request.param in style:
        return masked_pair(style[request.param], 3)
    return of_counts() if request.param == "counts" else of_simplex()


def repeated(pair, count):
    """Each observation as often as asked for."""
    model, guide, x, truth = pair
    rows = tuple(part.repeat_interleave(count, 0) for part in x)
    return (model, guide, rows if len(rows) > 1 else rows[0]), truth.repeat_interleave(count).double().detach()


@pytest.mark.parametrize("name", BOUNDS)
def test_the_mean_weight_is_at_most_one(pair, name, within):
    programs, truth = repeated(pair, SEEDS)
    weights = (BOUNDS[name](*programs).double() - truth).exp().reshape(-1, SEEDS)
    error = weights.std(1) / SEEDS**0.5
    within(weights.mean(1).clamp(min=1), torch.ones(len(weights)), error + 1e-9)


@pytest.mark.parametrize("name", INTEGRALS)
def test_quadrature_is_the_truth(pair, name):
    model, guide, x, truth = pair
    found = INTEGRALS[name](model, guide, x if len(x) > 1 else x[0])
    torch.testing.assert_close(found, truth.double().detach(), rtol=0, atol=1e-5)


@pytest.mark.statistical
@pytest.mark.parametrize("name", BOUNDS)
def test_over_two_hundred_seeds(pair, name, within):
    """With 200 seeds of 50 rows each the error of the mean weight is below a percent in most pairs."""
    programs, truth = repeated(pair, 50)
    weights = torch.stack([(BOUNDS[name](*programs, seed=seed).double() - truth).exp() for seed in range(SEEDS)])
    weights = weights.reshape(SEEDS, -1, 50).transpose(0, 1).flatten(1)
    error = weights.std(1) / weights.shape[1] ** 0.5
    within(weights.mean(1).clamp(min=1), torch.ones(len(weights)), error + 1e-9)


def test_both_bounds_of_simulated_data(linear_gaussian, rescaled_guide, within):
    """The mean of exp(lower − log p(x)), and of exp(log p(x) − upper), over simulated observations."""
    model, _ = linear_gaussian
    shared = {"num_observations": SEEDS, "num_temperatures": 8, "num_chains": 2, "num_leapfrog": 3}
    for guide in (None, rescaled_guide(model, 1.3)):
        found = bv.bidirectional_bounds(model, guide, **shared)
        truth = model.log_evidence(found.observations).double().detach()
        for weights in ((found.lower - truth).exp(), (truth - found.upper).exp()):
            within(weights.mean().clamp(min=1), 1.0, weights.std() / SEEDS**0.5)
