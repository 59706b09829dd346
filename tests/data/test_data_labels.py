"""Labels on their way to a pair: which are shown, to which model, and data that have none."""

import numpy as np
import pytest
import torch

import bayes_vae as bv
from bayes_vae.data import inputs_of
from bayes_vae.data.classes import first_of_each_class
from bayes_vae.errors import DataError
from bayes_vae.runs import ParameterizedProgram
from bayes_vae.settings import DataSettings


class Plain:
    """A model that takes no label."""


class Given(Plain):
    needs_labels = True


class Inferred(Given):
    infers_labels = True


@pytest.fixture(scope="module")
def data():
    values = np.random.default_rng(0).integers(0, 2, (60, 4))
    return bv.load_data(values, kind="binary", labels=np.arange(60) % 3, policy="none")


def test_the_first_of_each_class_in_turn():
    labels = torch.tensor([2, 2, 0, 2, 0, -1, 1, 0])
    for count, chosen in ((1, [2]), (2, [2, 6]), (3, [0, 2, 6]), (4, [0, 2, 4, 6]), (6, [0, 1, 2, 4, 6, 7])):
        assert first_of_each_class(labels, count).nonzero().flatten().tolist() == chosen


@pytest.mark.parametrize("count", [0, 8])
def test_more_labels_than_there_are_are_refused(count):
    labels = torch.tensor([2, 2, 0, 2, 0, -1, 1, 0])
    with pytest.raises(DataError, match=rf"at least 1 and at most 7, the number of training rows with a .*got {count}"):
        first_of_each_class(labels, count)


def test_the_digits_show_as_many_of_each_class():
    data = bv.load_data(DataSettings(num_labelled=100))
    chosen = data.train.labels[data.train.visible]
    assert chosen.bincount().tolist() == [10] * 10
    assert data.num_classes == 10
    assert data.summary()["num_labelled"] == 100
    assert data.digest == bv.load_data("digits").digest
    assert "num_labelled" not in bv.load_data("digits").summary()


def test_each_model_gets_what_it_takes(data):
    rows = torch.tensor([4, 0, 9])
    x = data.train.observations(rows)
    labels = data.train.labels[rows].tolist()
    for training in (False, True):
        assert inputs_of(Plain(), data.train, x, rows, training=training) == (x,)
        same, y = inputs_of(Given(), data.train, x, rows, training=training)
        assert same is x
        assert (y.tolist(), y.dtype) == (labels, torch.int64)
    assert inputs_of(Inferred(), data.train, x, rows) == (x,)
    assert inputs_of(Inferred(), data.train, x, rows, training=True)[1].tolist() == labels


def test_only_visible_labels_are_shown(data):
    split = data.with_visible_labels(6).train
    y = inputs_of(Inferred(), split, split.observations(), training=True)[1]
    assert y[split.visible].equal(split.labels[split.visible])
    assert set(y[~split.visible].tolist()) == {-1}
    assert inputs_of(Given(), split, split.observations())[1].equal(split.labels)


def test_a_program_with_parameters_of_its_own_still_says_what_it_takes(data):
    program = ParameterizedProgram(Given(), {})
    assert len(inputs_of(program, data.test, data.test.observations())) == 2
    assert not program.infers_labels
    assert ParameterizedProgram(Inferred(), {}).infers_labels


def test_data_without_labels_are_refused():
    data = bv.load_data(np.zeros((30, 4), dtype=np.uint8), kind="binary")
    x = data.test.observations()
    with pytest.raises(DataError, match="Given needs labels, and these data have none: give them with the array"):
        inputs_of(Given(), data.test, x)
    with pytest.raises(DataError, match="num_labelled needs labels, and these data have none"):
        data.with_visible_labels(3)
    assert inputs_of(Inferred(), data.test, x) == (x,)


@pytest.mark.parametrize("wrong", [0.5, -2.0])
def test_labels_that_number_no_classes_are_refused(wrong):
    labels = np.zeros(30)
    labels[:] = wrong
    data = bv.load_data(np.zeros((30, 4), dtype=np.uint8), kind="binary", labels=labels)
    with pytest.raises(DataError, match=rf"number the classes 0, 1, 2, … .*such as {wrong:g}"):
        inputs_of(Given(), data.test, data.test.observations())
