"""Whether a checkpoint makes sense: what is read from a run can be whole and still be no state of this training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from bayes_vae.errors import RunError
from bayes_vae.runs import Checkpoint

if TYPE_CHECKING:
    from bayes_vae.training.loop import Training

__all__ = ["check_sense"]

FIGURES = ("train_elbo", "validation_elbo", "seconds")
"""Of those that every epoch has, the ones that training and the report lean on; an ELBO may be minus infinity."""


def check_sense(name: str, checkpoint: Checkpoint, training: Training) -> None:
    """Refuse a checkpoint that this training could not have been in.

    Args:
        name: of the run, for the message.
        checkpoint: as it was read.
        training: of the same data, networks and settings, at its start.

    Raises:
        RunError: names the first thing that cannot be.
    """
    for problem in (*_position(checkpoint, training), *_epoch(checkpoint, training), *_tensors(checkpoint, training)):
        raise RunError(
            f"the checkpoint of {name} makes no sense: {problem}. Restore the run from a copy, or start a new training."
        )


def _position(checkpoint: Checkpoint, training: Training) -> Iterator[str]:
    done, steps = checkpoint.epochs_done, training.steps_per_epoch
    if done < 0 or not 0 <= checkpoint.steps_done <= steps:
        yield f"it stands after {done} epochs and {checkpoint.steps_done} steps of an epoch that has {steps}"
    if [row.get("epoch") for row in checkpoint.history] != list(range(1, done + 1)):
        yield f"its history has {len(checkpoint.history)} epochs, and {done} are done"
    best, highest = 0, -math.inf
    for row in checkpoint.history:
        missing = [figure for figure in FIGURES if math.isnan(row.get(figure, math.nan))]
        if missing:
            yield f"epoch {row['epoch']} of its history has no {missing[0]}"
        if row.get("validation_elbo", highest) > highest:
            best, highest = int(row["epoch"]), row["validation_elbo"]
    if checkpoint.best_epoch != best:
        yield f"its best epoch is {checkpoint.best_epoch}, and that of its history {best}"
    if not (math.isfinite(checkpoint.seconds) and checkpoint.seconds >= 0):
        yield f"its epoch took {checkpoint.seconds} seconds so far"


def _epoch(checkpoint: Checkpoint, training: Training) -> Iterator[str]:
    """Of the epoch in progress: each row comes once, and the sums are numbers."""
    order, sums, count = checkpoint.epoch.get("order"), checkpoint.epoch.get("sums"), len(training.data.train)
    if order is None or sums is None or order.dtype != torch.int64 or order.dim() != 1:
        yield "it lacks the order of its rows, or the sums of its figures"
        return
    if not torch.equal(order.sort().values, torch.arange(count if checkpoint.steps_done else 0, device="cpu")):
        yield f"the order of its rows is none of the {count} training rows"
    if sums.shape != training.sums.shape or sums.dtype != training.sums.dtype or not bool(sums.isfinite().all()):
        yield f"the sums of its figures are of shape {tuple(sums.shape)}, or not all finite"


def _tensors(checkpoint: Checkpoint, training: Training) -> Iterator[str]:
    """Of the optimizer and the generators: they are of the parameters and generators here."""
    shapes = {name: value.shape for name, value in training.trainable.parameters.items()}
    for key, value in checkpoint.optimizer.items():
        name, _, entry = key.rpartition("/")
        expected = shapes.get(name) if entry != "step" else torch.Size()
        if name not in shapes or entry not in ("step", "exp_avg", "exp_avg_sq") or value.shape != expected:
            yield f"its optimizer holds {key} of shape {tuple(value.shape)}, which no parameter here has"
        elif not bool(value.isfinite().all()):
            yield f"its optimizer holds {key}, which is not finite"
    here = {"batches": training.batches.get_state(), "torch": torch.get_rng_state()}
    for name, state in here.items():
        stored = checkpoint.random.get(name)
        if stored is not None and (stored.dtype != state.dtype or stored.shape != state.shape):
            yield f"the state of its generator {name!r} is of another kind"
    if not {"batches", "torch"} <= checkpoint.random.keys():
        yield "it lacks the states of its generators"
