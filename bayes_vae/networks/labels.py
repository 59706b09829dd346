"""Class labels as numbers that a network reads."""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_vae.errors import ShapeError, SupportError

__all__ = ["UNKNOWN", "append_label", "check_labels"]

UNKNOWN = -1
"""What stands for a label that is not known."""


def check_labels(
    labels: Tensor | None, num_observations: int, num_classes: int, program: str, *, may_be_unknown: bool = False
) -> Tensor:
    """Return the labels as int64, or say which were expected.

    Args:
        labels: shape (N,), whole numbers.
        num_observations: N.
        num_classes: C.
        program: name of the class that takes them, for the messages.
        may_be_unknown: whether −1 stands for a label that is not known.

    Raises:
        ShapeError: none, or not one whole number for each observation.
        SupportError: a label that is no class.
    """
    if not isinstance(labels, Tensor) or labels.shape != (num_observations,) or labels.is_floating_point():
        found = f"{tuple(labels.shape)} of {labels.dtype}" if isinstance(labels, Tensor) else type(labels).__name__
        raise ShapeError(
            f"{program} takes (x, y) with one whole number y for each observation, shape ({num_observations},), got y "
            f"of {found}. Pass the labels as the second of the tuple, as {program}(x, y)."
        )
    least = UNKNOWN if may_be_unknown else 0
    outside = labels[(labels < least) | (labels >= num_classes)]
    if len(outside) > 0:
        unknown = " and −1 for one that is not known" if may_be_unknown else ""
        raise SupportError(
            f"{program} has the classes 0…{num_classes - 1}{unknown}, got the label {int(outside[0])}. Build it with "
            "num_classes above the largest label, and number the classes from 0."
        )
    return labels.long()


def append_label(numbers: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Numbers and a label, one-hot, side by side: what a network that is given a class reads.

    Args:
        numbers: shape (*batch, P).
        labels: whole numbers, of a shape that broadcasts with ``batch``.
        num_classes: C.

    Returns:
        shape (*batch, P + C), the batch dimensions broadcast.

    >>> append_label(torch.zeros(2, 1), torch.tensor([1, 0]), 3).tolist()
    [[0.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0]]
    """
    one_hot = torch.nn.functional.one_hot(labels, num_classes).to(numbers.dtype)
    batch = torch.broadcast_shapes(numbers.shape[:-1], labels.shape)
    parts = [part.expand(*batch, part.shape[-1]) for part in (numbers, one_hot)]
    return torch.cat(parts, dim=-1)
