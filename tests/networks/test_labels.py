"""Labels that a network reads, and those that are none."""

import pytest
import torch

from bayes_vae.errors import ShapeError, SupportError
from bayes_vae.networks.labels import append_label, check_labels


def test_a_label_stands_beside_the_numbers_of_every_batch_dimension():
    numbers, labels = torch.arange(12.0).reshape(2, 3, 2), torch.tensor([2, 0, 1])
    found = append_label(numbers, labels, 3)
    assert found.shape == (2, 3, 5)
    torch.testing.assert_close(found[..., :2], numbers)
    assert found[1, :, 2:].argmax(-1).tolist() == [2, 0, 1]


def test_classes_and_numbers_broadcast():
    """As under enumeration: a class for each row of the first dimension, numbers for each of the last."""
    found = append_label(torch.zeros(4, 2), torch.arange(3).unsqueeze(-1), 3)
    assert found.shape == (3, 4, 5)
    assert found[..., 2:].argmax(-1).tolist() == [[0] * 4, [1] * 4, [2] * 4]


def test_labels_come_back_as_integers():
    assert check_labels(torch.tensor([1, 0], dtype=torch.uint8), 2, 2, "Model").dtype == torch.int64
    assert check_labels(torch.tensor([-1, 0]), 2, 2, "Model", may_be_unknown=True).tolist() == [-1, 0]


def test_labels_of_another_shape_are_refused():
    message = r"Model takes \(x, y\) with one whole number y for each observation, shape \(3,\), got y of "
    for labels, found in (
        (torch.zeros(2, dtype=torch.int64), r"\(2,\) of torch.int64"),
        (torch.zeros(3), r"\(3,\) of torch.float32"),
        (None, "NoneType"),
    ):
        with pytest.raises(ShapeError, match=message + found):
            check_labels(labels, 3, 2, "Model")


def test_labels_that_are_no_class_are_refused():
    with pytest.raises(SupportError, match=r"Model has the classes 0…1, got the label 2\. Build it with num_classes"):
        check_labels(torch.tensor([0, 2]), 2, 2, "Model")
    with pytest.raises(SupportError, match=r"Model has the classes 0…1, got the label -1\."):
        check_labels(torch.tensor([0, -1]), 2, 2, "Model")
    with pytest.raises(SupportError, match=r"0…1 and −1 for one that is not known, got the label -2"):
        check_labels(torch.tensor([-2, -1]), 2, 2, "Model", may_be_unknown=True)
