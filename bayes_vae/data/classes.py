"""Labels as classes, and which of them a model that infers them sees."""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_vae.errors import DataError
from bayes_vae.networks.labels import UNKNOWN

__all__ = ["class_labels", "first_of_each_class"]


def class_labels(labels: Tensor | None, user: str) -> Tensor:
    """Labels as classes 0, 1, 2, …, shape (N,), int64.

    Args:
        labels: of a split; None where there are none.
        user: what needs them, for the messages.

    Raises:
        DataError: there are none, or they number no classes.
    """
    if labels is None:
        raise DataError(
            f"{user} needs labels, and these data have none: give them with the array, load_data(values, "
            "labels=...), in the .npz file, or as sub-folders of images; or choose a model without labels."
        )
    classes = labels.long()
    if bool((classes != labels).any()) or bool((classes < UNKNOWN).any()):
        raise DataError(
            f"{user} needs labels that number the classes 0, 1, 2, … (or −1 for one that is not known), but some are "
            f"otherwise, such as {float(labels[(classes != labels) | (classes < UNKNOWN)][0]):g}. Number the classes."
        )
    return classes


def first_of_each_class(labels: Tensor, count: int) -> Tensor:
    """A fixed choice of so many rows, as evenly as it goes: the first of each class, then the second of each, ….

    Args:
        labels: shape (N,), −1 where there is none, which is never chosen.
        count: how many.

    Returns:
        which are chosen, shape (N,), bool.

    Raises:
        DataError: fewer rows have a label.

    >>> first_of_each_class(torch.tensor([1, 1, 1, 0, 1]), 3).tolist()
    [True, True, False, True, False]
    """
    known = int((labels > UNKNOWN).sum())
    if not 1 <= count <= known:
        raise DataError(
            f"num_labelled must be at least 1 and at most {known}, the number of training rows with a label, got "
            f"{count}."
        )
    turns = torch.zeros_like(labels)
    for label in labels.unique():
        rows = labels == label
        turns[rows] = torch.arange(int(rows.sum()), device=labels.device)
    num_classes = int(labels.max()) + 1
    order = torch.where(labels > UNKNOWN, turns * num_classes + labels, len(labels) * num_classes + num_classes)
    chosen = torch.zeros_like(labels, dtype=torch.bool)
    chosen[order.argsort(stable=True)[:count]] = True
    return chosen
