"""Which rows are in which split, what the digest depends on, and what a Bernoulli likelihood refuses."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bayes_vae.data import Data, Split, load_data, require_binary
from bayes_vae.data.data_set import permutation
from bayes_vae.errors import DataError, SupportError
from bayes_vae.settings import DataSettings

SPLITS = ("train", "validation", "test")


def indices(data):
    return [set(getattr(data, name).index.tolist()) for name in SPLITS]


@pytest.fixture(scope="module")
def digits():
    return load_data("digits")


def test_the_digits(digits):
    assert [len(getattr(digits, name)) for name in SPLITS] == [1297, 200, 300]
    assert (digits.name, digits.policy, tuple(digits.data_shape)) == ("digits", "stochastic", (8, 8))
    values = torch.cat([getattr(digits, name).values for name in SPLITS])
    assert values.dtype == torch.uint8
    assert (values.min(), values.max()) == (0, 255)
    assert digits.train.labels.unique().tolist() == list(range(10))


def test_what_is_printed_is_one_line(digits):
    kind, sizes = repr(digits).split("; ")
    assert kind == "Data 'digits': kind gray, policy stochastic, observations of shape (8, 8)"
    assert sizes == "train 1,297, validation 200, test 300 (split at random)"


def test_the_digits_keep_their_gray_levels(digits):
    from sklearn.datasets import load_digits

    images = torch.from_numpy(load_digits().images)
    restored = digits.train.values.double() * 16 / 255
    assert torch.equal(restored.round(), images[digits.train.index])
    assert torch.equal(digits.train.labels, torch.from_numpy(load_digits().target)[digits.train.index])


def test_each_observation_is_in_exactly_one_split(digits):
    train, validation, test = indices(digits)
    assert len(train) + len(validation) + len(test) == 1797
    assert train | validation | test == set(range(1797))


def test_the_split_is_always_the_same(digits):
    assert indices(load_data("digits", policy="threshold")) == indices(digits)
    assert permutation(10).tolist() == [6, 2, 1, 9, 8, 7, 3, 5, 0, 4]


def test_a_permutation_has_every_row_once():
    assert permutation(1000).sort().values.tolist() == list(range(1000))


def test_the_digest_is_always_the_same(digits):
    assert digits.digest == "b0b79090f19f93a648502c6ac2e57cf64b4d2d5a389820b512fc037cc22f5a2b"
    assert load_data("digits", policy="static").digest == digits.digest


@pytest.mark.parametrize("change", ["value", "shape", "dtype", "split"])
def test_the_digest_sees_every_change(change):
    values = torch.arange(200, 240, dtype=torch.uint8).reshape(10, 4)
    before = load_data(values).digest
    if change == "value":
        values[3, 3] += 1
    changed = load_data(values if change != "shape" else values.reshape(10, 2, 2))
    if change == "dtype":
        parts = [getattr(changed, name) for name in SPLITS]
        changed = Data("array", *(Split(p.values.to(torch.int16), None, p.index, p.policy) for p in parts), "gray")
    if change == "split":
        changed = Data("array", changed.train, changed.test, changed.validation, "gray")
    assert changed.digest != before


def test_what_a_run_stores_of_the_data(digits):
    assert digits.summary() == {
        "name": "digits",
        "policy": "stochastic",
        "kind": "gray",
        "digest": digits.digest,
        "sizes": {"train": 1297, "validation": 200, "test": 300},
        "data_shape": [8, 8],
        "label_names": [],
    }


def test_settings_name_data_policy_and_root():
    data = load_data(DataSettings(data="digits", policy="threshold"))
    assert (data.name, data.policy) == ("digits", "threshold")
    assert load_data(DataSettings(policy="threshold"), policy="none").policy == "none"


def test_labels_of_a_named_data_set_are_refused():
    with pytest.raises(DataError, match="'digits' has its own labels: give labels only with an array"):
        load_data("digits", labels=[1])


def test_an_unknown_name_lists_the_known_ones():
    message = r"unknown data set 'mnits': did you mean mnist\? If not, choose one of digits, mnist, .* folder of images"
    with pytest.raises(DataError, match=message):
        load_data("mnits")


def test_gray_values_are_refused_for_a_bernoulli_likelihood():
    with pytest.raises(SupportError, match=r"'digits' under the policy 'none'.*binarize.*continuous Bernoulli"):
        require_binary(load_data("digits", policy="none"))


@pytest.mark.parametrize("policy", ["stochastic", "static", "threshold"])
def test_the_other_policies_fit_a_bernoulli_likelihood(policy):
    require_binary(load_data("digits", policy=policy))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_zeros_and_ones_fit_a_bernoulli_likelihood_as_they_are(dtype):
    ones = np.eye(20).astype(dtype)
    data = load_data(ones, policy="none")
    require_binary(data)
    assert torch.equal(data.train.observations(), torch.eye(20)[data.train.index])


@pytest.mark.parametrize("split", SPLITS)
def test_one_gray_value_in_any_split_is_found(split):
    data = load_data(np.eye(20), policy="none")
    getattr(data, split).values[0, 0] = 0.5
    with pytest.raises(SupportError, match="values in between or outside"):
        require_binary(data)


def test_loading_gives_no_warning_and_needs_no_torchvision():
    source = (
        "import sys; from bayes_vae.data import load_data; load_data('digits');assert 'torchvision' not in sys.modules"
    )
    command = [sys.executable, "-W", "error", "-c", source]
    folder = Path(__file__).resolve().parents[2]
    assert subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stderr == ""
