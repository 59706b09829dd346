"""What the programs of a pair are called with: observations alone, or with their labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bayes_vae.data.split import Rows, Split
from bayes_vae.errors import DataError
from bayes_vae.networks.labels import UNKNOWN

__all__ = ["class_labels", "first_of_each_class", "inputs_of"]


def inputs_of(
    program: Any, split: Split, x: Tensor, rows: Rows | None = None, *, training: bool = False
) -> tuple[Tensor, ...]:
    """The tuple that a pair is called with for some observations.

    - A model without labels: ``(x,)``.
    - A model with ``needs_labels``, whose labels are given: ``(x, y)``, always.
    - A model with ``infers_labels`` too, whose label is a latent: in training ``(x, y)``, −1 where the label is not
      among those that it sees (``Split.visible``); in evaluation ``(x,)``, so that no label is ever looked at.

    Args:
        program: the model.
        split: where the observations are from.
        x: observations, shape (N, *event).
        rows: which rows of the split they are; all when None.
        training: whether they are trained on.

    Returns:
        x as it is, and labels y of shape (N,), int64, on the device of x.

    Raises:
        DataError: labels are needed, and there are none, or they number no classes.
    """
    infers = bool(getattr(program, "infers_labels", False))
    if not getattr(program, "needs_labels", False) or (infers and not training):
        return (x,)
    rows = slice(None) if rows is None else rows
    rows = rows if isinstance(rows, slice) else torch.as_tensor(rows, dtype=torch.int64)
    labels = class_labels(split, type(program).__name__)[rows]
    if infers and split.visible is not None:
        labels = torch.where(split.visible[rows], labels, UNKNOWN)
    return x, labels.to(x.device)


def class_labels(split: Split, user: str) -> Tensor:
    """The labels of a split as classes 0, 1, 2, …, shape (N,), int64.

    Args:
        split: with labels.
        user: what needs them, for the messages.

    Raises:
        DataError: there are none, or they number no classes.
    """
    labels = split.labels
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
