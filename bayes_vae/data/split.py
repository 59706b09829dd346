"""One part of a data set: training, validation or test rows, and how to get observations from them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, SupportsIndex, cast

import numpy as np
import torch
from torch import Size, Tensor, nn

from bayes_vae.data.classes import class_labels
from bayes_vae.data.policies import (
    BINARIZING,
    ObservedAs,
    binarize_anew,
    binarize_by_index,
    binarize_once,
    threshold,
)
from bayes_vae.data.raw_data import Redraw
from bayes_vae.data.stored_rows import StoredValues
from bayes_vae.errors import ProgramError
from bayes_vae.networks.labels import UNKNOWN
from bayes_vae.terms.rows import Rows
from bayes_vae.terms.traits import Program, modules_of, traits_of
from bayes_vae.terms.whole_numbers import seed_number

__all__ = ["Selection", "Split", "inputs_of"]

LOOKED_AT = 10_000
"""Rows of a split that stays on disk, where a few say enough."""

Selection = slice | Sequence[int] | Tensor
"""Which rows: a slice, or their places."""


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of a data set, with the policy that turns them into observations.

    Estimators take them as they are, ``data.test`` or some of them, ``data.test[:500]``: each model gets what it is
    called with, on its device and in its precision.

    Attributes:
        values: shape (N, *event); uint8 pixels; or under the policy ``none`` int32 counts or float32 numbers too. Rows
            that stay on disk are no tensor, and are read when a batch asks for them.
        labels: shape (N,), or None.
        index: each row's number in the original data set, shape (N,), int64; no two splits share one.
        policy: stochastic, static, threshold, none, or "as the loader gives".
        visible: which labels a model that infers them sees in training, shape (N,), bool; None for all there are.
        pixel_seed: of the policy ``stochastic``, whose noise is keyed by (seed, index); apart from an estimator's seed.
        beside: what a program is called with after x: covariates, masks, library sizes, each with a row for each x.
        redraw: reads rows of these indices anew, with a seed, under the policy "as the loader gives".
        missing: which numbers are missing, shape (N, *event), bool: observations are NaN there, whatever the values
            hold. None where none is.
    """

    values: Tensor | StoredValues
    labels: Tensor | None
    index: Tensor
    policy: ObservedAs
    visible: Tensor | None = None
    pixel_seed: int = 0
    beside: tuple[Tensor, ...] = ()
    redraw: Redraw | None = None
    missing: Tensor | None = None

    def __getitem__(self, rows: Selection | SupportsIndex) -> Split:
        """Some of the rows; rows of one where a number is given."""
        if not isinstance(rows, slice) and np.ndim(cast(Any, rows)) == 0:
            place = range(len(self))[cast(SupportsIndex, rows)]  # raises IndexError where there is no such row
            rows = slice(place, place + 1)
        rows = _as_selection(cast(Selection, rows))
        optional = (self.labels, self.visible, self.missing)
        labels, visible, missing = (None if part is None else part[rows] for part in optional)
        some = replace(self, labels=labels, visible=visible, missing=missing)
        beside = tuple(part[rows] for part in self.beside)
        values = self.values.take(rows) if isinstance(self.values, StoredValues) else self.values[rows]
        return replace(some, values=values, index=self.index[rows], beside=beside)

    @staticmethod
    def joined(splits: Sequence[Split]) -> Split:
        """The rows of several splits of one data set, in the order of their indices; every label is shown."""
        whole = splits[0]
        order = torch.cat([each.index for each in splits]).argsort()

        def together(parts: Sequence[Tensor]) -> Tensor:
            return torch.cat(list(parts))[order]

        labels = None if whole.labels is None else together([cast(Tensor, each.labels) for each in splits])
        beside = tuple(map(together, zip(*(each.beside for each in splits), strict=True)))
        index, values = together([each.index for each in splits]), _joined([each.values for each in splits], together)
        return replace(whole, values=values, labels=labels, index=index, visible=None, beside=beside)

    @property
    def for_a_look(self) -> Tensor:
        """Observations to look at, for what a note says of them: all that are in memory, else the first."""
        return self.observations(slice(LOOKED_AT) if isinstance(self.values, StoredValues) else None)

    def seeded(self, pixel_seed: int) -> Split:
        """The same rows, their pixels drawn with another seed under the policy ``stochastic``."""
        return replace(self, pixel_seed=seed_number("pixel_seed", pixel_seed))

    def rows_for(self, model: Program) -> Rows:
        """These rows as a model takes them: what every estimator reads."""
        weights = (weight for owner in modules_of(model) for weight in owner.parameters())
        like = next(weights, torch.zeros(()))
        return SplitRows(self, model, like.device, like.dtype)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def data_shape(self) -> Size:
        """Shape of one observation."""
        return self.values.shape[1:]

    @cached_property
    def _all_fixed(self) -> Tensor:
        return self._fix(self.values[:], self.index)

    def _fix(self, values: Tensor, index: Tensor) -> Tensor:
        return (binarize_once(values, index) if self.policy == "static" else threshold(values)).to(torch.uint8)

    def _fixed(self, rows: slice | Tensor) -> Tensor:
        """The zeros and ones of the policies that draw nothing at use, uint8; made once of values in memory."""
        if isinstance(self.values, StoredValues):
            return self._fix(self.values[rows], self.index[rows])
        return self._all_fixed[rows]

    def observations(
        self, rows: Selection | None = None, *, seed: int | None = None, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Observations for evaluation: the same row gives the same x whatever the batch and the order.

        Args:
            rows: which rows of this split; all when None.
            seed: of the policy ``stochastic``, whose noise is keyed by (seed, index); ``pixel_seed`` when None. The
                other policies ignore it.
            device: where the result goes.

        Returns:
            shape (N, *event), float32: zeros and ones, or values in their own range under ``none``; NaN where missing.
        """
        rows = _as_selection(rows)
        if self.policy == "stochastic":
            x = binarize_by_index(self.values[rows], self.index[rows], self.pixel_seed if seed is None else seed)
        else:
            x = self._fixed(rows) if self.policy in BINARIZING else self._unbinarized(rows)
        return self._with_gaps(x.to(torch.float32), rows).to(device)

    def training_batch(self, rows: Tensor, generator: torch.Generator, own: slice = slice(None)) -> Tensor:
        """Observations for a training step: under ``stochastic`` binarized anew at each call, or read anew.

        Args:
            rows: which rows of this split, shape (B,), int64.
            generator: source of the noise, on the device of ``values``.
            own: which of these are wanted; noise is drawn for all of them, so that it is the same for the ones that
                are.

        Returns:
            shape (b, *event), float32, on the device of ``values``; b = B where all are wanted.
        """
        wanted = rows[own]
        if self.policy == "stochastic":
            x = binarize_anew(self.values[wanted], generator, len(rows), own)
            return self._with_gaps(x.to(torch.float32), wanted)
        if self.redraw is not None:
            seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
            drawn = torch.from_numpy(self.redraw(self.index[rows.to(self.index.device)].cpu(), seed))
            return _plain(drawn[own].to(self.values.device))
        x = self._fixed(wanted).to(torch.float32) if self.policy in BINARIZING else self._unbinarized(wanted)
        return self._with_gaps(x, wanted)

    def expect(self, batches: Iterable[Tensor]) -> None:
        """Be told which rows training will read next, in this order, for data sets that compute them ahead."""
        if isinstance(self.values, StoredValues):
            self.values.expect(batches)

    def _unbinarized(self, rows: slice | Tensor) -> Tensor:
        return _plain(self.values[rows])

    def _with_gaps(self, x: Tensor, rows: slice | Tensor) -> Tensor:
        """Observations of some rows, NaN where a number is missing."""
        return x if self.missing is None else torch.where(self.missing[rows], torch.nan, x)

    @property
    def missing_share(self) -> float:
        """Share of the numbers that are missing."""
        return 0.0 if self.missing is None else float(self.missing.double().mean())

    def mean(self) -> Tensor:
        """Mean of what was observed, over the policy's noise too; shape ``data_shape``, float32."""
        if self.missing is not None:
            split = replace(self, policy="none") if self.policy in ("stochastic", "none") else self
            return split.observations().double().nanmean(0).float()
        fixed, whole = self.policy in ("static", "threshold"), self.values.dtype == torch.uint8
        if isinstance(self.values, StoredValues):
            return self._mean_of_pieces(self.values, fixed=fixed and whole)
        if not whole:
            return self.values.mean(0, dtype=torch.float64).float()
        total, one = (self._all_fixed, 1) if fixed else (self.values, 255)
        return (total.sum(0, dtype=torch.int64) / (len(self) * one)).float()

    def _mean_of_pieces(self, values: StoredValues, *, fixed: bool) -> Tensor:
        total, first = torch.zeros(values.shape[1:], dtype=torch.float64), 0
        for piece in values.pieces():
            rows = slice(first, first + len(piece))
            part = self._fix(piece, self.index[rows]) if fixed else piece
            total, first = total + part.sum(0, dtype=torch.float64), rows.stop
        return (total / (len(self) * (255 if values.dtype == torch.uint8 and not fixed else 1))).float()

    def to(self, device: torch.device | str) -> Split:
        """The same split with its values on another device, where :meth:`training_batch` then works."""
        if isinstance(self.values, StoredValues):
            return self
        missing = None if self.missing is None else self.missing.to(device)
        return replace(self, values=self.values.to(device), missing=missing)


def _joined(
    parts: Sequence[Tensor | StoredValues], together: Callable[[Sequence[Tensor]], Tensor]
) -> Tensor | StoredValues:
    """Values of several splits, put together; rows that stay on disk stay there."""
    first = parts[0]
    if isinstance(first, StoredValues):
        return replace(first, rows=together([cast(StoredValues, part).rows for part in parts]))
    return together(cast(Sequence[Tensor], parts))


def _plain(values: Tensor) -> Tensor:
    """Bytes as n/255, other numbers as they are, float32."""
    return values / 255 if values.dtype == torch.uint8 else values.to(torch.float32)


def _as_selection(rows: Selection | None) -> slice | Tensor:
    if rows is None:
        return slice(None)
    return rows if isinstance(rows, slice) else torch.as_tensor(rows, dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class SplitRows:
    """Rows of a data set as one model takes them; made when they are read.

    Attributes:
        split: the rows.
        model: called with the labels too where it needs them.
        device, dtype: of the model's weights.
    """

    split: Split
    model: Program
    device: torch.device
    dtype: torch.dtype

    def rows_for(self, model: Program) -> Rows:
        """Themselves: they are taken as they are."""
        return self

    @cached_property
    def index(self) -> Tensor:
        """The observations' indices, shape (N,)."""
        return self.split.index.to(self.device)

    @property
    def labels(self) -> Tensor | None:
        """Labels, for the record; whether the model sees them is its own business."""
        return self.split.labels

    @property
    def data_policy(self) -> str:
        """How pixels became observations."""
        return self.split.policy

    @property
    def missing_share(self) -> float:
        """Share of the numbers that are missing."""
        return self.split.missing_share

    @property
    def pixel_seed(self) -> int | None:
        """Seed of the pixels; None where none are drawn at use."""
        return self.split.pixel_seed if self.split.policy == "stochastic" else None

    def take(self, rows: slice | Tensor) -> SplitRows:
        """Some of them."""
        chosen = rows if isinstance(rows, slice) else rows.to(self.split.index.device)
        return replace(self, split=self.split[chosen])

    def read(self) -> tuple[Tensor, ...]:
        """All of them, as :func:`inputs_of` says."""
        x = self.split.observations(device=self.device).to(self.dtype)
        return inputs_of(self.model, self.split, x)


def inputs_of(
    program: Program, split: Split, x: Tensor, rows: Selection | None = None, *, training: bool = False
) -> tuple[Tensor, ...]:
    """The tuple that a pair is called with for some observations.

    - A model without labels: ``(x,)``.
    - A model with ``needs_labels``, whose labels are given: ``(x, y)``, always.
    - What stands beside x follows, in its order: ``(x, c, …)`` or ``(x, y, c, …)``.
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
    traits = traits_of(program)
    rows = _as_selection(rows)
    beside = tuple(_like(part[rows], x) for part in split.beside)
    if not traits.needs_labels or (traits.infers_labels and not training):
        return _checked(program, (x, *beside), split)
    labels = class_labels(split.labels, type(program).__name__)[rows]
    if traits.infers_labels and split.visible is not None:
        labels = torch.where(split.visible[rows], labels, UNKNOWN)
    return x, labels.to(x.device), *beside


def _like(part: Tensor, x: Tensor) -> Tensor:
    """What stands beside x on its device; floats in its precision."""
    return part.to(x.device, x.dtype) if part.is_floating_point() else part.to(x.device)


def _checked(program: Program, inputs: tuple[Tensor, ...], split: Split) -> tuple[Tensor, ...]:
    """The inputs, if the program's signature takes so many.

    Raises:
        ProgramError: says what it takes, what there is, and how labels or covariates are given.
    """
    takes = _places_of(program)
    if takes is None or takes[0] <= len(inputs) <= takes[1]:
        return inputs
    named, labels = f"{getattr(program, '__qualname__', type(program).__name__)}", split.labels is not None
    also = (
        "Its labels are not passed unless the program declares `needs_labels = True`, and then as the second argument. "
        if labels and takes[0] > len(inputs)
        else ""
    )
    raise ProgramError(
        f"{named} is called with {takes[0] if takes[0] > len(inputs) else takes[1]} tensors, but the data give "
        f"{len(inputs)}. {also}What stands beside x is given with it, in the order of the program's arguments: "
        "load_data((x, covariates, ...)), or the tuple itself where a data set is taken."
    )


def _places_of(program: Program) -> tuple[int, float] | None:
    """How few and how many tensors a program can be called with; None where its signature does not say."""
    if isinstance(program, nn.Module):
        program = program.forward
    try:
        parameters = inspect.signature(program).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return None
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    placed = [p for p in parameters if p.kind in by_place and p.name != "index"]
    return sum(p.default is p.empty for p in placed), len(placed)
