"""A pair is opened once for a call or a command, and each set of particles is drawn once."""

import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import NumericalError, ProgramError, SettingsError
from bayes_vae.estimators.elbo import ElboAtDraws
from bayes_vae.estimators.importance.log_evidence import WeightsAtDraws
from bayes_vae.guides import ExactLinearGaussianGuide
from bayes_vae.terms import opened as opened_module
from bayes_vae.terms.at_draws import TermsAtDraws
from bayes_vae.terms.opened import collect, open_pair, part_of


@pytest.fixture
def openings(monkeypatch):
    """Return a list that grows whenever the programs of a pair are read."""
    seen, read = [], opened_module.read_pair
    monkeypatch.setattr(opened_module, "read_pair", lambda *args: seen.append(args[1]) or read(*args))
    return seen


@pytest.mark.parametrize("source", ["distributions", "traces"])
@pytest.mark.parametrize(("estimator", "draws"), [(bv.evaluate, 10), (bv.compare, (1, 5))])
def test_a_pair_is_opened_once_and_the_prior_for_quadrature(small_vae, openings, estimator, draws, source):
    model, guide, x = small_vae
    estimator(model, guide, x, draws, num_temperatures=2, source=source)
    assert openings[0] is guide
    assert len(openings) == 2


def test_accumulators_share_their_draws(small_vae, monkeypatch):
    """Three results of K particles run the decoder as often as one, and each is what it is alone."""
    model, guide, x = small_vae
    decoded, likelihood = [], model.likelihood
    monkeypatch.setattr(model, "likelihood", lambda z: decoded.append(z.shape[0]) or likelihood(z))
    elbo, weights, terms = ElboAtDraws("sampled"), WeightsAtDraws(30), TermsAtDraws(most=7)
    with open_pair(model, guide, x, chunk_size=4) as opened:
        decoded.clear()  # the probes of a pair that is opened
        collect(opened, 30, elbo, weights, terms)
        assert sum(decoded) == 30 + 5  # and one draw with its neighbouring floats
        found = elbo.result(opened), weights.result(opened), terms.result(opened)
    alone = bv.elbo_terms(model, guide, x, 30, kl="sampled", chunk_size=4)
    torch.testing.assert_close(found[0].elbo, alone.elbo, rtol=0, atol=0)
    alone = bv.estimate_log_evidence(model, guide, x, 30, chunk_size=4)
    torch.testing.assert_close(found[1].log_evidence, alone.log_evidence, rtol=0, atol=0)
    alone = bv.log_terms(model, guide, x, 7, chunk_size=4)
    torch.testing.assert_close(found[2].log_joint, alone.log_joint, rtol=0, atol=1e-12)


def test_the_exact_evidence_is_read_batch_by_batch(linear_gaussian, monkeypatch):
    model, x = linear_gaussian
    monkeypatch.setattr(opened_module, "ROWS_AT_ONCE", 2)
    with open_pair(model, ExactLinearGaussianGuide(model), x) as opened:
        torch.testing.assert_close(opened.log_evidence(), model.log_evidence(x).detach())


def test_a_phase_is_told_as_a_part_of_the_whole():
    calls = []
    part_of(lambda *call: calls.append(call), 5, 10)(2, 5)
    assert calls == [(7, 10)]
    assert part_of(None, 5, 10) is None


def test_the_inference_gap_tells_of_its_progress_from_first_to_last(small_vae, monkeypatch):
    model, guide, x = small_vae
    monkeypatch.setattr("bayes_vae.estimators.gaps._by_quadrature", lambda *_: None)  # as of many dimensions
    calls = []
    settings = {"max_steps": 50, "num_temperatures": 4}
    bv.inference_gap(model, guide, x, 4, progress=lambda *call: calls.append(call), **settings)
    assert calls == sorted(calls)
    assert {total for _, total in calls} == {2 * len(x)}
    assert calls[-1] == (2 * len(x), 2 * len(x))
    assert len([done for done, _ in calls if len(x) < done < 2 * len(x)]) > 3


@pytest.mark.parametrize("estimator", [bv.elbo_terms, bv.annealed_log_evidence, bv.posterior_draws])
def test_another_order_gets_a_sentence(small_vae, estimator):
    model, guide, x = small_vae
    with pytest.raises(SettingsError, match=r"take \(model, guide, x\) in this order, got \(VAE, Tensor, Amort"):
        estimator(model, x, guide)


def test_what_is_no_program_is_refused(small_vae):
    model, _, x = small_vae
    with pytest.raises(ProgramError, match="the guide must be a Pyro program, a function or module called with x, got"):
        bv.elbo_terms(model, 3, x)
    with pytest.raises(SettingsError, match="start='guide' needs a guide, got None: pass one, or start='prior'"):
        bv.annealed_log_evidence(model, None, x)
    with pytest.raises(SettingsError, match="start must be 'guide' or 'prior', got 'posterior'"):
        bv.annealed_log_evidence(model, None, x, start="posterior")


@pytest.mark.parametrize("proposal", ["normal", "full_covariance", "student_t"])
def test_a_matrix_that_cannot_be_factorized_is_one_documented_error(small_vae, monkeypatch, proposal):
    def fails(*_):
        raise torch.linalg.LinAlgError("linalg.eigh: the algorithm failed to converge")

    monkeypatch.setattr("torch.linalg.eigh", fails)
    with pytest.raises(NumericalError, match=r"is too extreme for float\d\d \(linalg.eigh.*Compute in float64"):
        bv.estimate_log_evidence(*small_vae, 8, proposal=proposal)
