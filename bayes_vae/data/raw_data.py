"""Data as they were brought, before it is settled what their numbers are and who sees which row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bayes_vae.data.kinds import HeldAs
from bayes_vae.data.outside_rows import OutsideRows
from bayes_vae.data.stored_rows import StoredRows
from bayes_vae.errors import DataError
from bayes_vae.settings import Kind

__all__ = ["RawData", "Redraw", "joined"]

Redraw = Callable[[Tensor, int], np.ndarray]
"""Rows read anew, of these numbers and with this seed: of a data set whose transforms draw at random."""


@dataclass(frozen=True, eq=False)
class RawData:
    """Rows of numbers, with what the form in which they came says of them.

    Attributes:
        name: of the file, the folder or the kind of object.
        values: shape (N, *event); or rows that stay on disk.
        labels: shape (N,), or None.
        label_names: what the labels 0, 1, 2, … stand for.
        columns: names of the columns of a table.
        held_as: a table with named columns, or images; None where the form does not say.
        kind: what the numbers are, where the form says so, else ``auto``.
        beside: what a program is called with after x, one row for each observation.
        redraw: reads rows anew, where transforms draw at random; else None.
        missing: which values are missing, shape (N, *event), bool; None where none is, and before
            :func:`~bayes_vae.data.missing.separated`.
    """

    name: str
    values: np.ndarray | OutsideRows
    labels: Any = None
    label_names: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    held_as: HeldAs | None = None
    kind: Kind = "auto"
    beside: tuple[Tensor, ...] = ()
    redraw: Redraw | None = None
    missing: np.ndarray | None = None


def joined(parts: Sequence[RawData]) -> RawData:
    """Rows of several data, one after the other, as one data set.

    Raises:
        DataError: observations of several shapes, other columns, or labels or covariates in some of them only.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    for name, of in _COMMON.items():
        found = [of(part) for part in parts]
        if any(other != found[0] for other in found[1:]):
            raise DataError(
                f"training, validation and test rows must have the same {name}, but they have "
                f"{' and '.join(map(str, found))}. Bring them into one form first."
            )
    labels = None if first.labels is None else np.concatenate([np.asarray(part.labels) for part in parts])
    beside = tuple(map(torch.cat, zip(*(part.beside for part in parts), strict=True)))
    stored = [part.values for part in parts if isinstance(part.values, StoredRows)]
    if len(stored) < len(parts) and any(isinstance(part.values, OutsideRows) for part in parts):
        raise DataError(
            "training, validation and test rows that are not held in memory must all be of .npy files: give all of "
            "them as such files with stream=True, or as folders of them, or all as arrays. Of a torch data set give "
            "one with all rows, and places of rows as train=, validation= and test=."
        )
    arrays = [part.values for part in parts if isinstance(part.values, np.ndarray)]
    values = StoredRows.joined(stored) if stored else np.concatenate(arrays)
    return replace(first, values=values, labels=labels, beside=beside, redraw=_joined_redraw(parts))


_COMMON: dict[str, Callable[[RawData], Any]] = {
    "shape": lambda part: part.values.shape[1:],
    "columns": lambda part: part.columns,
    "label names": lambda part: part.label_names,
    "labels, all or none of them,": lambda part: "none" if part.labels is None else "labels",
    "number of tensors beside x": lambda part: len(part.beside),
}


def _joined_redraw(parts: Sequence[RawData]) -> Redraw | None:
    """Reads training rows anew, which come first; the others are never trained on."""
    redraw, count = parts[0].redraw, len(parts[0].values)

    def of_training_rows(rows: Tensor, seed: int) -> np.ndarray:
        if int(rows.max()) >= count or redraw is None:
            raise DataError(f"only the {count} training rows are read anew.")
        return redraw(rows, seed)

    return None if redraw is None else of_training_rows
