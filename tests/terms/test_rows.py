"""Rows of a data set in the estimators: made when they are read, with all that a model is called with."""

import numpy as np
import pytest
import torch

import bayes_vae as bv
from bayes_vae.data import Split
from bayes_vae.errors import SettingsError, ShapeError
from bayes_vae.guides import AmortizedNormalGuide, ConditionalNormalGuide
from bayes_vae.models import VAE, ConditionalVAE
from bayes_vae.terms.opened import open_pair
from bayes_vae.terms.rows import prepare_for

NETWORKS = {"latent_dim": 2, "data_shape": (8, 8), "hidden_dims": (5,)}


@pytest.fixture(scope="module")
def data():
    return bv.load_data("digits", policy="stochastic")


@pytest.fixture(scope="module")
def pair(isolated_globals):
    with isolated_globals(seed=0):
        return VAE(**NETWORKS), AmortizedNormalGuide(**NETWORKS)


def by_hand(data, count, seed=0):
    return data.test.observations(range(count), seed=seed), data.test.index[:count]


ESTIMATORS = {
    "log_terms": lambda *args, **about: bv.log_terms(*args, 3, **about).log_likelihood,
    "elbo_terms": lambda *args, **about: bv.elbo_terms(*args, 3, **about).elbo,
    "estimate_log_evidence": lambda *args, **about: bv.estimate_log_evidence(*args, 40, **about).log_evidence,
    "annealed": lambda *args, **about: bv.annealed_log_evidence(*args, num_temperatures=3, **about).log_evidence,
    "inference_gap": lambda *args, **about: (
        bv.inference_gap(*args, 10, max_steps=50, num_temperatures=3, **about).inference_gap
    ),
    "aggregate": lambda *args, **about: bv.aggregate_posterior_terms(*args, 3, **about).kl_to_prior,
    "grid": lambda *args, **about: bv.bayes_rule_on_grid(*args, num_points=9, width=6, **about).log_evidence,
    "quadrature": lambda *args, **about: bv.quadrature_log_evidence(*args, tolerance=1e-2, **about).log_evidence,
    "posterior_draws": lambda *args, **about: (
        bv.posterior_draws(*args, num_draws=4, num_warmup=2, num_leapfrog=1, **about).log_joint
    ),
}


@pytest.mark.filterwarnings("ignore::bayes_vae.errors.GridWarning")
@pytest.mark.parametrize("name", ESTIMATORS)
def test_rows_give_what_their_tensors_give(data, pair, name):
    x, index = by_hand(data, 6)
    expected = ESTIMATORS[name](*pair, x, index=index)
    torch.testing.assert_close(ESTIMATORS[name](*pair, data.test[:6]), expected, rtol=0, atol=0)


def test_rows_bring_policy_and_the_seed_of_their_pixels(data, pair):
    terms = bv.elbo_terms(*pair, data.test[:6].seeded(3), 2, seed=1)
    assert (terms.provenance.data_policy, terms.provenance.pixel_seed, terms.provenance.seed) == ("stochastic", 3, 1)
    x, index = by_hand(data, 6, seed=3)
    torch.testing.assert_close(terms.elbo, bv.elbo_terms(*pair, x, 2, seed=1, index=index).elbo, rtol=0, atol=0)
    assert "seed 1 · pixel seed 3" in repr(terms)
    assert terms.to_xarray().attrs["pixel_seed"] == "3"
    other = bv.elbo_terms(*pair, data.test[:6], 2, seed=1)
    assert other.provenance.pixel_seed == 0
    assert not torch.equal(other.elbo, terms.elbo)
    fixed = bv.load_data("digits", policy="threshold")
    assert bv.elbo_terms(*pair, fixed.test[:2], 2).provenance.pixel_seed is None


def test_only_the_rows_of_a_batch_are_made(data, pair, monkeypatch):
    """No more than one batch of pixels is drawn at once, and each row in no more than the probe and its batch."""
    made = []
    observations = Split.observations
    monkeypatch.setattr(
        Split, "observations", lambda self, *a, **k: made.append(len(self)) or observations(self, *a, **k)
    )
    bv.elbo_terms(*pair, data.test[:100], 2, batch_size=30)
    assert max(made) == 30
    assert sum(made) <= 100 + 4  # one row and three are read to see how the pair works


def test_only_a_guide_with_parameters_for_each_observation_reads_them_beforehand(data, pair, monkeypatch):
    read = []
    monkeypatch.setattr(Split, "observations", lambda *_, **__: read.append(1) or torch.zeros(3, 2, 2))
    prepare_for(*pair, data.test[:3])
    assert not read


def test_rows_are_chosen_by_slice_places_and_number(data):
    assert data.test[2:5].index.equal(data.test.index[2:5])
    assert data.test[[4, 1]].index.equal(data.test.index[[4, 1]])
    assert data.test[torch.tensor([4, 1])].labels.equal(data.test.labels[[4, 1]])
    assert data.test[-1].index.equal(data.test.index[-1:])
    for place in (np.int64(3), torch.tensor(3)):
        assert data.test[place].index.equal(data.test.index[3:4])
    assert data.test[4:8].observations().equal(data.test.observations([4, 5, 6, 7]))
    with pytest.raises(IndexError):
        data.test[len(data.test)]


def test_the_labels_go_where_the_model_takes_them(data, isolated_globals):
    networks = {**NETWORKS, "num_classes": 10}
    with isolated_globals(seed=0):
        model, guide = ConditionalVAE(**networks), ConditionalNormalGuide(**networks)
    x, index = by_hand(data, 6)
    expected = bv.elbo_terms(model, guide, (x, data.test.labels[:6]), 3, index=index)
    torch.testing.assert_close(bv.elbo_terms(model, guide, data.test[:6], 3).elbo, expected.elbo, rtol=0, atol=0)


def test_rows_come_in_the_precision_of_the_model(data, isolated_globals):
    with isolated_globals(seed=0):
        model, guide = VAE(**NETWORKS).double(), AmortizedNormalGuide(**NETWORKS).double()
    with open_pair(model, guide, data.test[:3]) as opened:
        assert opened.rows.read()[0].dtype == torch.float64


def test_what_rows_bring_is_not_given_twice(data, pair):
    with pytest.raises(SettingsError, match=r"bring their own index and data policy \('stochastic'\): leave index="):
        bv.elbo_terms(*pair, data.test[:3], index=torch.arange(3))
    with pytest.raises(SettingsError, match="leave index= and data_policy= out"):
        bv.elbo_terms(*pair, data.test[:3], data_policy="static")
    with pytest.raises(ShapeError, match="must name each observation once"):
        bv.elbo_terms(*pair, data.test[[1, 1]])


def test_other_sources_of_rows_are_welcome(data, pair):
    """Whatever has ``rows_for(model)`` can be passed: here a view that turns the pixels of a split around."""

    class Inverted:
        def __init__(self, rows):
            self.rows = rows
            self.index, self.labels, self.pixel_seed = rows.index, None, None
            self.data_policy = "inverted"

        def take(self, rows):
            return Inverted(self.rows.take(rows))

        def read(self):
            return (1 - self.rows.read()[0],)

    class Source:
        def rows_for(self, model):
            return Inverted(data.test[:5].rows_for(model))

    x, index = by_hand(data, 5)
    found = bv.elbo_terms(*pair, Source(), 3)
    torch.testing.assert_close(found.elbo, bv.elbo_terms(*pair, 1 - x, 3, index=index).elbo, rtol=0, atol=0)
    assert found.provenance.data_policy == "inverted"


@pytest.mark.parametrize("kind", [np.int64, np.uint8, torch.tensor])
def test_integers_of_any_type_are_the_same_numbers(data, pair, kind):
    plain = bv.estimate_log_evidence(*pair, data.test[:3].seeded(4), 40, seed=4, batch_size=2)
    other = bv.estimate_log_evidence(*pair, data.test[:3].seeded(kind(4)), kind(40), seed=kind(4), batch_size=kind(2))
    assert torch.equal(plain.log_evidence, other.log_evidence)
    assert other.provenance == plain.provenance
    assert type(other.provenance.seed) is int


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"seed": 0.5}, "seed must be a whole number from .* got 0.5"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"chunk_size": "3"}, "chunk_size must be a whole number of at least 1, got '3'"),
    ],
)
def test_numbers_that_are_not_whole_are_refused(data, pair, about, message):
    with pytest.raises(SettingsError, match=message):
        bv.elbo_terms(*pair, data.test[:3], **about)
