"""What draws of the prior find where the guide never draws: its size, its limits, and what it must not touch."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae.estimators.importance.log_evidence import estimate_of
from bayes_vae.estimators.importance.proposals import fit_proposal
from bayes_vae.reference_pairs import reference_pair
from bayes_vae.terms.opened import open_pair


class TwoSides:
    """x = z² up to noise: two modes of the same weight, and a guide that knows the exact posterior on one side.

    Args:
        prior: p(z), even.
        least: the program refuses z below it, as one that takes a logarithm would.
    """

    def __init__(self, prior=None, least=-math.inf):
        self.prior, self.least = prior or dist.Normal(0.0, 1.0), least

    def model(self, x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", self.prior)
            if bool((z < self.least).any()):
                raise ValueError("z is too small")
            pyro.sample("x", dist.Normal(z**2, 0.03), obs=x)

    def guide(self, x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(x.sqrt(), 0.02 / x.sqrt()))


X = torch.tensor([0.3, 0.8, 1.2, 0.5])


def estimate(pair, x=X, **options):
    return bv.estimate_log_evidence(pair.model, pair.guide, x, 1000, **options)


@pytest.mark.parametrize("prior", [None, dist.StudentT(8.0, 0.0, 1.0)], ids=["keyed", "not keyed"])
@pytest.mark.parametrize("proposal", ["guide", "student_t"])
def test_a_mode_of_the_same_weight_is_worth_log_two(prior, proposal):
    found = estimate(TwoSides(prior), X.repeat(15), proposal=proposal)
    z = torch.linspace(-6, 6, 40_001, dtype=torch.float64).unsqueeze(-1)
    joint = (prior or dist.Normal(0.0, 1.0)).log_prob(z) + dist.Normal(z**2, 0.03).log_prob(X)
    truth = torch.logsumexp(joint, 0) + math.log(12 / 40_000)
    torch.testing.assert_close(found.log_evidence, (truth - math.log(2)).repeat(15), atol=0.05, rtol=0)
    less_its_error = found.unseen.expm1()
    assert 0.6 < float(less_its_error.mean()) < 0.8  # 1, less the error of some ten draws that come near
    assert float(less_its_error.max()) < 2
    missed = int(found.missed.sum())
    assert missed > 55
    assert torch.equal(found.missed, ~found.converged)
    assert torch.equal(found.missed, found.standard_error.isnan())
    assert str(found.reading) == f"lower bound, not converged: the prior finds more of p(x) for {missed} of 60"


def test_a_guide_over_both_sides_has_seen_everything():
    pair = TwoSides()

    def guide(x):
        with pyro.plate("rows", len(x)):
            sides = torch.stack([x.sqrt(), -x.sqrt()], -1)
            scale = (0.02 / x.sqrt()).unsqueeze(-1).expand_as(sides)
            pyro.sample("z", dist.MixtureSameFamily(dist.Categorical(torch.ones(2)), dist.Normal(sides, scale)))

    found = bv.estimate_log_evidence(pair.model, guide, X, 1000)
    assert found.converged.all()
    assert bool((found.unseen < 0.01).all())


@pytest.mark.parametrize("prior", [None, dist.StudentT(8.0, 0.0, 1.0)], ids=["keyed", "not keyed"])
def test_an_observation_does_not_depend_on_the_others(prior):
    together = estimate(TwoSides(prior))
    alone = estimate(TwoSides(prior), X[2:3], index=torch.tensor([2]))
    torch.testing.assert_close(alone.unseen, together.unseen[2:3])
    torch.testing.assert_close(estimate(TwoSides(prior), batch_size=1, chunk_size=100).unseen, together.unseen)


def test_a_program_that_refuses_draws_of_the_prior_is_not_looked_at():
    found = estimate(TwoSides(least=0.0))
    assert found.unseen.isnan().all()
    assert not found.missed.any()
    assert found.converged.all()


def test_only_what_k_hat_vouches_for_is_looked_at():
    pair = reference_pair("bimodal")
    found = bv.estimate_log_evidence(pair.model, pair.guide, pair.x, 1000)
    vouched = found.pareto_k <= found.pareto_k_thresholds
    assert torch.equal(found.unseen.isnan(), ~vouched)


@pytest.mark.parametrize("proposal", ["normal", "full_covariance", "student_t"])
@pytest.mark.parametrize("name", ["two-sites", "positive", "masked-rows"])
def test_the_density_of_a_refined_proposal_is_that_of_its_draws(name, proposal):
    pair = reference_pair(name)
    with open_pair(pair.model, pair.guide, pair.x) as opened:
        (batch,) = opened.batches(64)
        fitted = fit_proposal(batch, proposal)
        v = fitted.loc + 0.3 * torch.randn(5, *fitted.loc.shape, dtype=fitted.loc.dtype, generator=torch.Generator())
        latents, log_det = fitted.space.latents(v)
        root = fitted.root if fitted.root.dim() == 3 else torch.diag_embed(fitted.root)
        degrees = torch.full((), 20.0, dtype=root.dtype)
        if name == "masked-rows":  # only z's own dimensions count, so nothing of what is held
            places = torch.arange(len(v[0]))
            found = fitted.log_density_at(batch, places, latents)
            moved = {site: value + 1 for site, value in latents.items() if site in batch.bound.masked}
            held = {site: latents[site].where(~batch.bound.masked[site], value) for site, value in moved.items()}
            torch.testing.assert_close(fitted.log_density_at(batch, places, latents | held), found)
            return
        if proposal == "student_t":
            density = dist.MultivariateStudentT(degrees, fitted.loc, torch.linalg.cholesky(root @ root.mT))
        else:
            density = dist.MultivariateNormal(fitted.loc, root @ root.mT)
        expected = density.log_prob(v) - log_det
        some = torch.arange(1, len(v[0]))
        found = fitted.log_density_at(batch, some, {site: value[:, 1:] for site, value in latents.items()})
        torch.testing.assert_close(found, expected[:, 1:].double(), rtol=1e-4, atol=1e-4)
        assert estimate_of(opened, 100, proposal=proposal).converged.any()
