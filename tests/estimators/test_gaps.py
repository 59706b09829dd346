"""The two parts of log p(x) − ELBO, where the best member of the family is known."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import bayes_vae as bv
from bayes_vae import reference
from bayes_vae.distributions import diagonal_normal
from bayes_vae.errors import NotDefinedError, SettingsError, SupportError
from bayes_vae.estimators import gaps
from bayes_vae.estimators.best_normal import Plan, _with_unit_moments, best_normal, log_weights
from bayes_vae.estimators.rungs import quadrature_rung
from bayes_vae.guides import ExactLinearGaussianGuide, SingleLatentGuide
from bayes_vae.models import LinearGaussianVAE
from bayes_vae.terms.exposed import ExposedPair
from bayes_vae.terms.randomness import KeyedNoise
from bayes_vae.terms.rows import TensorRows
from bayes_vae.vocabulary.readings import Reading

GAPS = ("inference_gap", "approximation_gap", "amortization_gap")


class OffGuide(SingleLatentGuide):
    """The exact posterior's means, shifted, and its deviations, rescaled; shifts in deviations."""

    def __init__(self, model, shift, factor):
        super().__init__()
        self._model, self.shift, self.factor = (model,), shift, factor

    def variational_posterior(self, x):
        exact = self._model[0].exact_posterior(x)
        deviation = exact.variance.sqrt()
        return diagonal_normal(exact.loc + self.shift * deviation, self.factor * deviation)


def best_factorized(model, x):
    """The best factorized q of a normal posterior: its mean, and the diagonal of its precision."""
    precision = torch.eye(2, dtype=torch.float64) + model.weight.T @ model.weight / model.log_scale.exp() ** 2
    loc = model.exact_posterior(x).loc
    return diagonal_normal(loc, precision.diagonal().rsqrt().expand_as(loc))


@pytest.fixture(scope="module")
def correlated():
    """A linear-Gaussian model whose posterior has correlation −0.88, and seven observations."""
    with torch.random.fork_rng():
        model = LinearGaussianVAE(latent_dim=2, data_shape=(3,), noise_scale=0.5).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 0.8], [0.5, 0.9], [1.2, 1.0]]))
    return model, model.sample(7, seed=1)


@pytest.mark.parametrize(("shift", "factor"), [(0.0, 1.5), (0.7, 1.2), (-1.0, 0.5), (4.0, 0.2)])
def test_both_parts_are_those_of_the_closed_form(correlated, within, shift, factor):
    """From guides that are too wide, shifted, too narrow, and far away."""
    model, x = correlated
    guide = OffGuide(model, shift, factor)
    gap = bv.inference_gap(model, guide, x, num_particles=2000)
    best = best_factorized(model, x)
    truth = {
        "inference_gap": model.log_evidence(x) - model.elbo(x, guide.variational_posterior(x)),
        "approximation_gap": model.log_evidence(x) - model.elbo(x, best),
        "amortization_gap": model.elbo(x, best) - model.elbo(x, guide.variational_posterior(x)),
    }
    assert (truth["approximation_gap"] > 0.3).all()
    for name in GAPS:
        within(getattr(gap, name), truth[name], getattr(gap, f"{name}_error"))
    assert gap.estimator == "closed form"
    assert gap.converged.all()
    assert gap.failures == ()
    assert (gap.log_evidence_error == 0).all()


@pytest.mark.parametrize(
    ("shift", "factor", "off", "scale_off", "short"), [(0.0, 1.5, 2e-3, 0.03, 1e-3), (4.0, 0.2, 0.03, 0.1, 0.01)]
)
def test_search_ends_at_the_best_of_the_family(correlated, shift, factor, off, scale_off, short):
    """By the exact ELBO: short of the optimum by a milli-nat, from far away by less than the tolerance, never above.

    Noise whose moments are exact leaves means and scales no error but that of Adam.
    """
    model, x = correlated
    index = torch.arange(7)
    batch = ExposedPair(model, OffGuide(model, shift, factor), TensorRows((x,), index)).bind((x,), index)
    found = best_normal(batch, KeyedNoise(0), Plan(0.01, 2000))
    best = best_factorized(model, x)
    shortfall = model.elbo(x, best) - model.elbo(x, diagonal_normal(found.loc, found.scale))
    assert (shortfall >= 0).all()
    assert (shortfall < short).all()
    torch.testing.assert_close(found.scale, best.base_dist.scale, rtol=scale_off, atol=0)
    torch.testing.assert_close(found.loc, best.mean, rtol=0, atol=off)


def test_noise_of_the_search_costs_next_to_nothing(isolated_globals):
    """Ten correlated dimensions: plain noise of 800 draws would cost D / 800 = 0.0125 nats."""
    with isolated_globals(seed=1):
        model = LinearGaussianVAE(latent_dim=10, data_shape=(15,), noise_scale=0.5).double()
        x = model.sample(3, seed=1)
    index = torch.arange(3)
    batch = ExposedPair(model, OffGuide(model, 0.0, 1.5), TensorRows((x,), index)).bind((x,), index)
    found = best_normal(batch, KeyedNoise(0), Plan(0.01, 2000))
    best = diagonal_normal(model.exact_posterior(x).loc, model._precision().diagonal().rsqrt().expand(3, 10))
    shortfall = model.elbo(x, best) - model.elbo(x, diagonal_normal(found.loc, found.scale))
    assert (shortfall >= 0).all()
    assert (shortfall < 0.1 * 10 / 800).all()


@pytest.mark.parametrize(("size", "whitened"), [(1, True), (20, True), (21, False)])
def test_moments_of_the_noise_are_exact(size, whitened):
    """The variances always, the covariances where there are at least four draws for each dimension."""
    noise = KeyedNoise(0).normal("climb", torch.arange(3), range(80), (size,), torch.zeros((), dtype=torch.float64))
    found = _with_unit_moments(noise)
    covariance = torch.einsum("kni,knj->nij", found, found) / 80
    torch.testing.assert_close(covariance.diagonal(dim1=1, dim2=2), torch.ones(3, size, dtype=torch.float64))
    off = (covariance - torch.eye(size, dtype=torch.float64)).abs().amax()
    assert (off < 1e-12) == whitened
    torch.testing.assert_close(_with_unit_moments(noise[:, 1:2]), found[:, 1:2])


def test_exact_guide_has_no_gap(isolated_globals):
    """A posterior that factorizes: log weights are log p(x), and no search improves on that."""
    with isolated_globals(seed=0):
        model = LinearGaussianVAE(latent_dim=2, data_shape=(2,)).double()
        with torch.no_grad():
            model.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, -0.7]]))
        x = model.sample(9, seed=1)
    gap = bv.inference_gap(model, OffGuide(model, 0.0, 1.0), x, num_particles=20)
    zero = torch.zeros(9, dtype=torch.float64)
    for name in GAPS:
        torch.testing.assert_close(getattr(gap, name), zero, rtol=0, atol=1e-12)
        assert (getattr(gap, f"{name}_error") < 1e-12).all()
    assert gap.failures == ()


def test_best_q_as_the_guide_leaves_no_amortization_gap(correlated, within):
    model, x = correlated

    class Best(SingleLatentGuide):
        def variational_posterior(self, x):
            return best_factorized(model, x)

    gap = bv.inference_gap(model, Best(), x, num_particles=500)
    within(gap.amortization_gap + 1e-9, 0.0, gap.amortization_gap_error + 1e-9)
    assert (gap.amortization_gap.abs() < 0.02).all()


def test_nonlinear_model_against_quadrature(small_vae, within, monkeypatch):
    """log p(x) by the grid; ELBOs, and the best q, by Gauss–Hermite nodes."""
    model, guide, x = small_vae
    monkeypatch.setattr(quadrature_rung, "MOST_DIMENSIONS", 0)  # annealed, as larger latents are
    gap = bv.inference_gap(model, guide, x, num_particles=2000, num_temperatures=40, num_chains=64)
    assert gap.estimator == "annealed from the guide"
    decoder = lambda z: model.decoder(z).detach()  # noqa: E731
    log_evidence = torch.tensor([reference.log_evidence_by_grid(row, decoder) for row in x.flatten(1)])
    nodes, weights = (torch.from_numpy(values) for values in np.polynomial.hermite_e.hermegauss(60))

    def elbo(loc, log_scale):
        z = loc + log_scale.exp() * nodes[:, None, None]
        expected = (weights[:, None] * model.likelihood(z).log_prob(x)).sum(0) / weights.sum()
        return expected - (0.5 * (loc**2 + (2 * log_scale).exp() - 1) - log_scale).sum(-1)

    q = guide.variational_posterior(x)
    best = [q.mean.detach().clone().requires_grad_(), q.stddev.log().detach().clone().requires_grad_()]
    optimizer = torch.optim.LBFGS(best, max_iter=200, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = -elbo(*best).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    model.zero_grad()
    of_guide, of_best = elbo(q.mean, q.stddev.log()).detach(), elbo(*best).detach()
    truth = (log_evidence - of_guide, log_evidence - of_best, of_best - of_guide)
    for name, values in zip(GAPS, truth, strict=True):
        within(getattr(gap, name), values, getattr(gap, f"{name}_error"))
    within(gap.log_evidence, log_evidence, gap.log_evidence_error)


def test_parts_add_up(small_vae):
    model, guide, x = small_vae
    gap = bv.inference_gap(model, guide, x, num_particles=50, num_temperatures=10)
    torch.testing.assert_close(gap.inference_gap, gap.approximation_gap + gap.amortization_gap)
    torch.testing.assert_close(gap.inference_gap, gap.log_evidence - gap.elbo)
    squares = gap.log_evidence_error**2 + gap.elbo_error**2
    torch.testing.assert_close(gap.inference_gap_error, squares.sqrt())
    terms = bv.elbo_terms(model, guide, x, num_particles=50, kl="sampled")
    torch.testing.assert_close(gap.elbo, terms.elbo, rtol=0, atol=1e-10)
    torch.testing.assert_close(gap.elbo_error, terms.elbo_error, rtol=1e-8, atol=0)
    averages = {name: average.value for name, average in gap.averages().items()}
    assert list(averages) == ["log_evidence", "elbo", "best_elbo", *GAPS]
    assert averages["inference_gap"] == pytest.approx(averages["approximation_gap"] + averages["amortization_gap"])


def test_common_noise_sharpens_the_amortization_gap(correlated):
    """Of two ELBOs that are nearly the same, the difference is surer than either."""
    model, x = correlated
    q = best_factorized(model, x).base_dist
    exact = model.exact_posterior(x)
    near = OffGuide(model, 0.0, 1.05 * float((q.scale / exact.variance.sqrt()).detach().mean()))
    gap = bv.inference_gap(model, near, x, num_particles=400)
    assert (gap.amortization_gap_error < 0.5 * torch.hypot(gap.elbo_error, gap.best_elbo_error)).all()


def test_log_weights_are_those_of_the_reference(small_vae):
    model, guide, x = small_vae
    index = torch.arange(5)
    batch = ExposedPair(model, guide, TensorRows((x,), index)).bind((x,), index)
    loc, scale = torch.full((5, 1), 0.3, dtype=torch.float64), torch.full((5, 1), 0.6, dtype=torch.float64)
    noise = KeyedNoise(0).normal("z", index, range(4), (1,), loc)
    found = log_weights(batch, loc, scale, noise)
    for k in range(4):
        for n in range(5):
            z = loc[n] + scale[n] * noise[k, n]
            truth = reference.log_importance_weight(x[n].flatten(), z, loc[n], scale[n], model.decoder)
            assert float(found[k, n].detach()) == pytest.approx(truth, abs=1e-10)


@pytest.mark.parametrize(("batch_size", "chunk_size"), [(1, 1), (2, 7), (3, None)])
def test_result_does_not_depend_on_batch_and_chunk(small_vae, batch_size, chunk_size):
    """The stopping rule too is each observation's own."""
    model, guide, x = small_vae
    settings = {"num_particles": 20, "num_temperatures": 5, "tolerance": 0.05}
    whole = bv.inference_gap(model, guide, x, **settings)
    calls = []
    progress = lambda done, total: calls.append((done, total))  # noqa: E731
    cut = bv.inference_gap(model, guide, x, batch_size=batch_size, chunk_size=chunk_size, progress=progress, **settings)
    for name in (*GAPS, "amortization_gap_error", "num_steps"):
        torch.testing.assert_close(getattr(cut, name), getattr(whole, name), rtol=0, atol=1e-8)
    assert calls[-1] == (10, 10)  # the ELBOs, then the annealing
    assert sum(0 < done < min(batch_size, 5) for done, _ in calls) > 49  # steps of the first batch's search
    assert calls == sorted(calls)
    rows = torch.tensor([3, 1])
    some = bv.inference_gap(model, guide, x[rows], index=rows, **settings)
    torch.testing.assert_close(some.amortization_gap, whole.amortization_gap[rows], rtol=0, atol=1e-8)
    torch.testing.assert_close(some.log_evidence, whole.log_evidence[rows], rtol=0, atol=1e-8)


def test_a_search_cut_short_is_reported(correlated):
    model, x = correlated
    gap = bv.inference_gap(model, OffGuide(model, 4.0, 0.2), x, num_particles=20, max_steps=50, data_policy="static")
    assert not gap.converged.any()
    assert (gap.num_steps == 50).all()
    assert gap.failures[-1].startswith("the best q had not converged for 7 of 7 observations after 50 steps")
    assert gap.provenance.data_policy == "static"


def test_a_log_evidence_too_low_is_reported(correlated, isolated_globals):
    model, x = correlated

    class TooLow(LinearGaussianVAE):
        def log_evidence(self, x):
            return super().log_evidence(x) - 50

    with isolated_globals():
        low = TooLow(latent_dim=2, data_shape=(3,)).double()
    low.load_state_dict(model.state_dict())
    failures = bv.inference_gap(low, OffGuide(model, 0.0, 1.0), x, num_particles=100).failures
    assert [failure.split(" is negative beyond its error for 7 of 7")[0] for failure in failures] == list(GAPS[:2])
    assert all("row 0 (-" in failure and "raise num_temperatures" in failure for failure in failures)


def replaced(gap, **values):
    """The gap with other values of its split."""
    return replace(gap, split=replace(gap.split, **values))


def test_an_optimum_below_its_start_is_reported(correlated):
    model, x = correlated
    gap = bv.inference_gap(model, OffGuide(model, 0.0, 1.0), x, num_particles=1000)
    worse = {"best_elbo": gap.elbo - 1}
    (failure,) = replaced(gap, **worse).failures
    assert failure.startswith("amortization_gap is negative beyond its error for 7 of 7 observations")
    assert "lower tolerance" in failure
    error = torch.full_like(gap.elbo, 0.5)
    (failure,) = replaced(gap, **worse, amortization_gap_error=error).failures
    assert failure.startswith("amortization_gap is negative beyond its error in the mean (-1.00 ± 0.19)")
    assert replaced(gap, **worse, amortization_gap_error=2 * error).failures == ()
    rounded = replace(gap, rounding=error + 0.6)
    assert replaced(rounded, **worse, amortization_gap_error=0 * error).failures == ()


PARTS = ("approximation_gap", "amortization_gap", "best_elbo", "best_elbo_error", "converged", "num_steps")


class WideGuide(SingleLatentGuide):
    """The exact posterior with all of its correlations, its deviations rescaled."""

    def __init__(self, model, factor):
        super().__init__()
        self._model, self.factor = (model,), factor

    def variational_posterior(self, x):
        exact = self._model[0].exact_posterior(x)
        return dist.MultivariateNormal(exact.loc, scale_tril=self.factor * exact.scale_tril, validate_args=False)


@pytest.mark.parametrize("source", ["auto", "traces"])
def test_the_whole_gap_of_a_full_covariance_guide_is_the_closed_form(correlated, within, source):
    model, x = correlated
    guide = WideGuide(model, 1.4)
    gap = bv.inference_gap(model, guide, x, num_particles=2000, source=source)
    q = guide.variational_posterior(x)
    within(gap.inference_gap, model.log_evidence(x) - model.elbo(x, q), gap.inference_gap_error)
    assert (gap.inference_gap > 0.1).all()
    assert list(gap.averages()) == ["log_evidence", "elbo", "inference_gap"]
    assert gap.failures == ()
    assert gap.split is None
    for name in PARTS:
        with pytest.raises(NotDefinedError, match="inference_gap, the sum of the two parts, is defined"):
            getattr(gap, name)


def test_the_exact_guide_has_no_gap_to_split(linear_gaussian):
    model, x = linear_gaussian
    gap = bv.inference_gap(model, ExactLinearGaussianGuide(model), x, num_particles=20)
    torch.testing.assert_close(gap.inference_gap, torch.zeros(7, dtype=torch.float64), rtol=0, atol=1e-10)
    assert (gap.inference_gap_error < 1e-10).all()
    assert "the variational posterior is MultivariateNormal" in gap.why_not_split
    assert gap.averages()["inference_gap"].reading == Reading("not_split", reason=gap.why_not_split)
    assert gap.failures == ()


@pytest.mark.parametrize("most", [0, 2])
def test_a_pair_of_programs_with_two_sites_has_its_whole_gap(within, most, monkeypatch):
    """z1 and z2 with x = z1 + z2 + noise; the guide takes each from its prior, so KL(q to posterior) is known.

    The posterior has the precision [[2, 1], [1, 2]], and the best q of independent numbers the variances 1/2: what it
    lacks is ½ log(4/3).
    """

    def model(x):
        with pyro.plate("data", len(x)):
            z = [pyro.sample(f"z{i}", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0)) for i in (1, 2)]
            pyro.sample("x", dist.Normal(z[0] + z[1], 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            for i in (1, 2):
                pyro.sample(f"z{i}", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0))

    monkeypatch.setattr(quadrature_rung, "MOST_DIMENSIONS", most)
    x = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    gap = bv.inference_gap(model, guide, x, num_particles=4000, num_temperatures=100, num_chains=40)
    log_evidence = torch.distributions.Normal(0.0, 3**0.5).log_prob(x)
    elbo = torch.distributions.Normal(0.0, 1.0).log_prob(x) - 0.5 * 2
    within(gap.elbo, elbo, gap.elbo_error)
    within(gap.inference_gap, log_evidence - elbo, gap.inference_gap_error)
    if most:  # what the ladder leads with leads here
        torch.testing.assert_close(gap.log_evidence, log_evidence, rtol=0, atol=1e-3)
        assert gap.estimator == "quadrature on a grid, D = 2"
        assert gap.averages()["log_evidence"].reading.kind == "quadrature"
    else:
        within(gap.log_evidence, log_evidence, gap.log_evidence_error)
        assert gap.estimator == "annealed from the guide"
        assert gap.averages()["log_evidence"].reading.kind == "lower_bound_in_expectation"
    assert gap.why_not_split == ""
    lacking = torch.full((3,), 0.5 * math.log(4 / 3), dtype=torch.float64)
    within(gap.approximation_gap, lacking, gap.approximation_gap_error)


def test_traces_of_a_factorized_pair_have_the_same_whole_gap(small_vae):
    model, guide, x = small_vae
    settings = {"num_particles": 30, "num_temperatures": 5}
    split = bv.inference_gap(model, guide, x, **settings)
    whole = bv.inference_gap(model, guide, x, **settings, source="traces")
    torch.testing.assert_close(whole.elbo, split.elbo, rtol=0, atol=1e-9)
    torch.testing.assert_close(whole.elbo_error, split.elbo_error, rtol=1e-7, atol=0)
    assert whole.why_not_split.endswith("source='traces' reads none.")


def test_a_negative_whole_gap_is_reported(correlated, isolated_globals):
    model, x = correlated
    gap = bv.inference_gap(model, WideGuide(model, 1.4), x, num_particles=100)
    (failure,) = replace(gap, log_evidence=gap.elbo - 20).failures
    assert failure.startswith("inference_gap is negative beyond its error for 7 of 7")


def test_gray_pixels_are_refused(small_vae):
    model, guide, x = small_vae
    with pytest.raises(SupportError, match="binarize"):
        bv.inference_gap(model, guide, x * 0.5)


@pytest.mark.parametrize(("name", "least"), [("num_particles", 2), ("num_chains", 2), ("max_steps", 1)])
def test_numbers_too_small_are_refused(small_vae, name, least):
    with pytest.raises(SettingsError, match=f"{name} must be a whole number of at least {least}, got {least - 1}"):
        bv.inference_gap(*small_vae, **{name: least - 1})


@pytest.mark.parametrize("tolerance", [0.0, -1.0, float("nan")])
def test_tolerance_must_be_positive(small_vae, tolerance):
    with pytest.raises(SettingsError, match="tolerance must be positive, in nats"):
        bv.inference_gap(*small_vae, tolerance=tolerance)


def test_a_gap_takes_the_figure_that_leads_on_the_ladder(small_vae, monkeypatch):
    """Quadrature that did not converge gives way to annealing that did; where neither did, it stays with no error."""
    monkeypatch.setattr(quadrature_rung, "GRID", {"method": "grid", "tolerance": 1e-13, "max_nodes": 64})
    settings = {"num_particles": 20, "num_temperatures": 60, "max_steps": 50}
    gap = bv.inference_gap(*small_vae, **settings)
    assert gap.estimator == "annealed from the guide"
    assert (gap.log_evidence_error > 0).all()
    failed = SimpleNamespace(log_evidence=gap.log_evidence, standard_error=gap.log_evidence_error * torch.nan)
    monkeypatch.setattr(gaps, "anneal", lambda *_, **__: failed)
    gap = bv.inference_gap(*small_vae, **settings)
    assert gap.estimator == "quadrature on a grid, D = 1"
    assert gap.log_evidence_error.isnan().all()
    assert gap.averages()["log_evidence"].reading == Reading("quadrature", 5, 5)
    assert not gap.averages()["inference_gap"].reading.settled
