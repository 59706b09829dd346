"""Columns brought to mean 0 and deviation 1, and back."""

import math

import numpy as np
import pytest
import torch

from bayes_vae.data import Standardization, load_data, unscaled_note
from bayes_vae.errors import DataError

TABLE = np.random.default_rng(0).normal(size=(150, 3)) * [1000.0, 0.01, 0.0] + [5000.0, 0.0, 7.0]


def test_training_rows_have_mean_0_and_deviation_1():
    data = load_data(TABLE, standardize=True)
    train, rows = data.train.observations().double(), torch.from_numpy(TABLE)[data.train.index]
    torch.testing.assert_close(train.mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(train.std(0, correction=0), torch.tensor([1.0, 1.0, 0.0]).double(), atol=1e-6, rtol=0)
    expected = (torch.from_numpy(TABLE)[data.test.index] - rows.mean(0)) / rows.std(0, correction=0)
    torch.testing.assert_close(data.test.observations()[:, :2].double(), expected[:, :2], atol=1e-5, rtol=1e-5)


def test_it_is_undone_in_the_units_of_the_data():
    data = load_data(TABLE, standardize=True)
    back = data.in_original_units(data.test.observations()[None])
    torch.testing.assert_close(back[0], torch.from_numpy(TABLE)[data.test.index].float(), rtol=1e-5, atol=1e-6)
    plain = load_data(TABLE).test.observations()
    assert torch.equal(load_data(TABLE).in_original_units(plain), plain)


def test_the_evidence_moves_by_the_logarithms_of_the_scales():
    """log N(x; m, s) = log N((x − m)/s; 0, 1) − log s."""
    scaling = load_data(TABLE[:, :2], standardize=True).standardization
    x = torch.from_numpy(TABLE[:5, :2])
    original = torch.distributions.Normal(scaling.mean, scaling.scale).log_prob(x).sum(1)
    z = (x - scaling.mean) / scaling.scale
    standard = torch.distributions.Normal(0, 1).log_prob(z).sum(1)
    torch.testing.assert_close(original, standard + scaling.log_evidence_offset)
    assert scaling.log_evidence_offset == pytest.approx(-math.log(1000 * 0.01), abs=0.5)


def test_other_rows_are_scaled_as_those_of_the_training():
    data = load_data(TABLE, standardize=True)
    stored = Standardization.from_json(data.summary()["standardization"])
    again = load_data(TABLE, standardize=stored)
    assert again.digest == data.digest
    other = load_data(TABLE[:20], train=0.0, validation=0, test=1.0, standardize=stored)
    assert len(other.test) == 20
    torch.testing.assert_close(data.in_original_units(other.test.observations()[:, 0:1] * 0)[0], stored.mean.float())


def test_only_real_values_are_standardized():
    with pytest.raises(DataError, match="only real values are standardized, and these are of the kind 'counts'"):
        load_data(np.arange(40).reshape(20, 2), kind="counts", standardize=True)
    with pytest.raises(DataError, match="the data set 'digits' has its own gray pixels"):
        load_data("digits", standardize=True)
    with pytest.raises(DataError, match="no training rows to take mean and deviation from"):
        load_data(TABLE, train=0, validation=0, test=1.0, standardize=True)


def test_unscaled_columns_are_named():
    values = torch.from_numpy(TABLE).float()
    note = unscaled_note(values, ("proline", "hue", "constant"))
    assert note.startswith("columns far from mean 0 and deviation 1: proline (mean ")
    assert "hue (mean" in note
    assert "constant" not in note
    assert "--standardize" in note
    assert unscaled_note(torch.randn(50, 3, generator=torch.Generator())) is None
    assert unscaled_note(values[:, None]) is None
