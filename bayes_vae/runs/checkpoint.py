"""A checkpoint: all that training needs to go on exactly where it stood."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

__all__ = ["Checkpoint"]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Where a training stands: between two steps, at an epoch's end or within one.

    Attributes:
        epochs_done: whole epochs.
        steps_done: steps of the epoch after them; 0 at an epoch's end.
        seconds: time that those steps took.
        best_epoch: number of the epoch of ``best_weights``; 0 before the first.
        weights: as :class:`~bayes_vae.runs.Run` has them.
        best_weights: likewise, of the epoch with the largest validation ELBO.
        optimizer: ``NAME/KEY`` → the optimizer's tensor KEY of the parameter NAME.
        random: generator → its state, uint8.
        epoch: of the epoch in progress: the order of its rows, and the sums of its figures so far.
        history: one row of named figures for each whole epoch.
    """

    epochs_done: int
    steps_done: int
    seconds: float
    best_epoch: int
    weights: dict[str, Tensor] = field(repr=False)
    best_weights: dict[str, Tensor] = field(repr=False)
    optimizer: dict[str, Tensor] = field(repr=False)
    random: dict[str, Tensor] = field(repr=False)
    epoch: dict[str, Tensor] = field(repr=False)
    history: list[dict[str, float]] = field(repr=False)
