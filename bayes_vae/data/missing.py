"""Missing values of a data set: NaN, empty cells, or what a mask marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bayes_vae.data.forms import as_array
from bayes_vae.data.outside_rows import OutsideRows
from bayes_vae.data.raw_data import RawData
from bayes_vae.errors import DataError

__all__ = ["separated"]


def separated(raw: RawData, mask: Any = None) -> RawData:
    """Tell missing values from numbers: NaN becomes an observed value of the same place, which nothing ever reads.

    So what the numbers are, and whether a likelihood takes them, is asked of observed values alone.

    Args:
        raw: the rows, NaN where a value is missing.
        mask: what is missing too, True or 1 there; shape (N, *event), or that of one observation.

    Raises:
        DataError: a mask of another shape or of other values, or a row or column of which nothing was observed.
    """
    numbers = raw.values
    if isinstance(numbers, OutsideRows):
        if mask is not None:
            raise DataError("rows that are read one by one are whole: give missing= with an array.")
        return raw
    missing = np.isnan(numbers) if numbers.dtype.kind == "f" else np.zeros(numbers.shape, bool)
    if mask is not None:
        missing = missing | _checked_mask(mask, numbers.shape)
    if not missing.any() or not missing.ndim:
        return raw
    if raw.redraw is not None:
        raise DataError(
            "values are missing in a data set whose transforms draw at random, so which ones are would change from one "
            "reading to the next. Leave the transforms out, or give rows as an array."
        )
    _refuse_empty(missing, raw.columns)
    first = np.expand_dims((~missing).argmax(0), 0)
    values = np.where(missing, np.take_along_axis(numbers, first, 0), numbers)
    return replace(raw, values=values, missing=missing)


def _checked_mask(mask: Any, shape: Sequence[int]) -> np.ndarray:
    given = as_array(mask, "the mask of missing values")
    if given.shape not in (tuple(shape), tuple(shape[1:])) or not bool(((given == 0) | (given == 1)).all()):
        raise DataError(
            f"missing= must be True or 1 where a value is missing and False or 0 elsewhere, of shape {tuple(shape)} or "
            f"{tuple(shape[1:])}, got shape {given.shape} of {given.dtype}. A mask of what was observed is ~mask."
        )
    return np.broadcast_to(given.astype(bool), shape)


def _refuse_empty(missing: np.ndarray, columns: Sequence[str]) -> None:
    """A row without any observed value says nothing, a column without any cannot be learned."""
    rows = np.flatnonzero(missing.reshape(len(missing), -1).all(1))
    if len(rows):
        raise DataError(
            f"of {len(rows)} row(s) every value is missing, the first is row {rows[0]}: there is no x to explain. "
            "Remove these rows."
        )
    empty = np.argwhere(missing.all(0))
    if len(empty):
        place = tuple(int(i) for i in empty[0])
        name = repr(columns[place[0]]) if columns else f"at {place}"
        raise DataError(
            f"of {len(empty)} column(s) every value is missing, the first is the column {name}: nothing says what its "
            "values are like. Remove these columns."
        )
