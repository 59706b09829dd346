"""Every estimator takes every prior, or says why it does not."""

import math

import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import NotDefinedError
from bayes_vae.estimators.calibration import calibrate_guide
from bayes_vae.parts.registry import names
from bayes_vae.report.latent_pictures import Missing, pictures
from bayes_vae.terms.opened import open_pair

CLOSED_FORM = ("standard-normal", "learned-normal")


@pytest.fixture(scope="module", params=names("prior"))
def named_pair(request, pair_with_prior):
    """Name, model, guide and five observations."""
    model, guide = pair_with_prior(request.param)
    return request.param, model, guide, model.sample(5, seed=1)


def test_both_sources_agree(named_pair):
    _, model, guide, x = named_pair
    one, other = (
        bv.log_terms(model, guide, x, num_particles=7, seed=0, source=source) for source in ("distributions", "traces")
    )
    for name in ("log_prior", "log_likelihood", "log_guide"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name))


def test_the_kl_is_analytic_where_it_has_a_closed_form(named_pair):
    name, model, guide, x = named_pair
    terms = bv.elbo_terms(model, guide, x, num_particles=10, kl="auto")
    assert terms.kl == ("analytic" if name in CLOSED_FORM else "sampled")
    if name in CLOSED_FORM:
        return
    with pytest.raises(NotDefinedError, match=r"no closed-form KL from Independent to \w+ is known."):
        bv.elbo_terms(model, guide, x, num_particles=10, kl="analytic")
    with pytest.raises(NotDefinedError, match="kl_per_dimension needs a prior and a guide that factorize"):
        _ = terms.kl_per_dimension


def test_the_aggregate_posterior_is_compared_with_the_prior(named_pair):
    name, model, guide, x = named_pair
    terms = bv.aggregate_posterior_terms(model, guide, x, num_particles=50)
    average = terms.averages()
    whole = bv.elbo_terms(model, guide, x, num_particles=50, kl="sampled").averages()["kl_to_prior"]
    error = math.hypot(average["kl_to_prior"].monte_carlo_error, whole.monte_carlo_error)
    assert abs(average["kl_to_prior"].value - whole.value) < 5 * error
    if name not in CLOSED_FORM:
        with pytest.raises(NotDefinedError, match="but the prior is"):
            _ = terms.total_correlation


def test_the_gap_is_split_where_prior_and_guide_factorize(named_pair):
    name, model, guide, x = named_pair
    gap = bv.inference_gap(model, guide, x[:2], num_particles=50, max_steps=50, num_temperatures=5, num_chains=2)
    assert gap.inference_gap.isfinite().all()
    if name not in CLOSED_FORM:
        with pytest.raises(NotDefinedError, match="but the prior is"):
            _ = gap.amortization_gap


@pytest.mark.parametrize("size", [1, pytest.param(2, marks=pytest.mark.statistical)])
@pytest.mark.parametrize("name", names("prior"))
def test_annealing_agrees_with_quadrature(pair_with_prior, within, name, size):
    model, guide = pair_with_prior(name, size)
    x = model.sample(2, seed=1)
    truth = bv.quadrature_log_evidence(model, guide, x, method="grid", tolerance=1e-3)
    assert truth.converged.all()
    for start in ("guide", "prior"):
        found = bv.annealed_log_evidence(model, guide, x, start=start, num_temperatures=8, num_chains=200, seed=0)
        within(found.log_evidence, truth.log_evidence, found.standard_error)
        assert found.standard_error.max() < 0.3


def test_hamiltonian_draws_and_calibration_take_it(named_pair):
    _, model, guide, x = named_pair
    draws = bv.posterior_draws(model, guide, x[:2], num_draws=10, num_chains=2, num_warmup=10, num_leapfrog=2)
    assert all(value.isfinite().all() for value in draws.latents.values())
    calibrate_guide(model, guide, num_observations=30, num_draws=19)


def test_pictures_leave_out_traversals_without_quantiles(pair_with_prior):
    for name in names("prior"):
        model, guide = pair_with_prior(name, data_shape=(3, 3))
        x = model.sample(3, seed=0)
        with open_pair(model, guide, x) as opened:
            found = pictures(opened)
        assert found.prior_samples.shape[1:] == (3, 3)
        assert isinstance(found.traversals, Missing) == (name not in CLOSED_FORM)
