"""Data of the user's own, checked before anything is computed from them, split, and standardized where asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bayes_vae.data.data_set import Data, SplitBy
from bayes_vae.data.forms import as_array
from bayes_vae.data.kinds import values_of_kind
from bayes_vae.data.outside_rows import OutsideRows
from bayes_vae.data.policies import LOADER, ObservedAs
from bayes_vae.data.raw_data import RawData
from bayes_vae.data.split import Split
from bayes_vae.data.standardization import Standardization, standardization_of
from bayes_vae.data.stored_rows import StoredValues, stored_values
from bayes_vae.errors import DataError
from bayes_vae.settings import DataKind, Kind, Policy

__all__ = ["as_labels", "check_enough", "data_of"]

_MINIMUM = 10


def data_of(
    raw: RawData,
    policy: Policy | None,
    kind: Kind,
    parts: Sequence[Tensor],
    split_by: SplitBy,
    standardize: bool | Standardization | Sequence[str] = False,
) -> Data:
    """Make a data set of rows of numbers.

    Args:
        raw: the rows, missing values :func:`~bayes_vae.data.missing.separated`.
        policy: how pixels become observations; None for the one that goes with the kind.
        kind: what the numbers are; ``auto`` for what their form says, see
            :func:`bayes_vae.data.kinds.values_of_kind`.
        parts: places of the training, validation and test rows.
        split_by: who chose them.
        standardize: whether to bring each column to mean 0 and deviation 1 over the training rows; or which columns, by
            name; or by how much.

    Raises:
        DataError: no numbers, NaN or infinity, labels that do not fit, standardization of other than real values.
        SupportError: values that are not of the kind, or that leave it open.
    """
    values, found, observed_as = _values(raw, policy, raw.kind if kind == "auto" else kind)
    if standardize and found != "real":
        raise DataError(
            f"only real values are standardized, and these are of the kind {found!r}. Say kind='real' (--kind real) if "
            "they are a table of measurements, or do not standardize."
        )
    scaling, missing = None, None if raw.missing is None else torch.from_numpy(raw.missing)
    if standardize and isinstance(values, StoredValues):
        raise DataError(
            f"rows that are read one by one are taken as they are, and {raw.name} is not standardized. Standardize it "
            "once: subtract the columns' means, divide by their deviations, and save it again."
        )
    if standardize and isinstance(values, Tensor):
        seen = values if missing is None else values.where(~missing, torch.nan)
        scaling = _scaling(standardize, seen[parts[0]], raw.columns)
        values = scaling.apply(values)
    labels, names = (None, ()) if raw.labels is None else as_labels(raw.labels, len(values))
    rows = Split(
        values,
        labels,
        torch.arange(len(values)),
        observed_as,
        beside=raw.beside,
        redraw=raw.redraw,
        missing=missing,
    )
    train, validation, test = (rows[part] for part in parts)
    label_names = raw.label_names or names
    splits = {"train": train, "validation": replace(validation, redraw=None), "test": replace(test, redraw=None)}
    return Data(
        raw.name,
        **splits,
        kind=found,
        label_names=label_names,
        columns=raw.columns,
        split_by=split_by,
        standardization=scaling,
    )


def _scaling(standardize: Any, seen: Tensor, columns: Sequence[str]) -> Standardization:
    """How values are standardized, from training rows; NaN where a value is missing."""
    if isinstance(standardize, bool | Standardization):
        return standardization_of(seen) if isinstance(standardize, bool) else standardize
    names = {name.replace(" ", "_"): place for place, name in enumerate(columns)}
    wanted = [str(name).replace(" ", "_") for name in standardize]
    unknown = [name for name in wanted if name not in names]
    if unknown:
        known = f"its columns are {', '.join(names)}" if names else "its columns have no names"
        raise DataError(f"there is no column {unknown[0]!r} to standardize: {known}.")
    return standardization_of(seen, [names[name] for name in wanted])


def _values(raw: RawData, policy: Policy | None, kind: Kind) -> tuple[Tensor | StoredValues, DataKind, ObservedAs]:
    """Numbers as they are stored, their kind, and how they are observed."""
    if isinstance(raw.values, OutsideRows):
        return stored_values(raw.values, kind, policy, raw.held_as)
    numbers = _checked(raw.values)
    if raw.redraw is None:
        return values_of_kind(numbers, kind, policy, raw.held_as)
    if policy not in (None, "none"):
        raise DataError(
            f"the transforms of this data set draw at random each time a row is read, and the policy {policy!r} would "
            "draw again. Leave the policy out, which reads training rows anew in each epoch, or leave those transforms "
            "out."
        )
    values, found, _ = values_of_kind(numbers, kind, "none", raw.held_as)
    return values, found, LOADER


def check_enough(count: int) -> None:
    """Refuse rows that are too few to be split at random.

    Raises:
        DataError: says how many there must be.
    """
    if count < _MINIMUM:
        raise DataError(
            f"a data set needs at least {_MINIMUM} rows, to be split into training, validation and test "
            f"rows, but there are {count}. Observations run along the first dimension: shape (N, *event)."
        )


def _checked(numbers: np.ndarray) -> np.ndarray:
    """Numbers of shape (N, *event); the event may have any number of dimensions, also none.

    Raises:
        DataError: empty, or a single number.
    """
    if numbers.ndim < 1 or numbers.size == 0:
        what = "empty" if numbers.size == 0 else "a single number"
        raise DataError(
            f"the data are {what}: expected shape (N, *event), N observations of at least one number each, "
            f"got shape {numbers.shape}."
        )
    return numbers


def as_labels(labels: Any, count: int) -> tuple[Tensor, tuple[str, ...]]:
    """One label for each observation, and what they stand for where they are text.

    Args:
        labels: integers, which become int64; floats, float32; text, whose sorted values are numbered 0, 1, 2, ….
        count: of the observations.

    Raises:
        DataError: not ``count`` numbers or words.
    """
    held = isinstance(labels, list | tuple) or (hasattr(labels, "dtype") and not isinstance(labels, Tensor))
    given = np.asarray(labels) if held else labels
    names: tuple[str, ...] = ()
    if isinstance(given, np.ndarray) and given.dtype.kind in "OUST":
        words, given = np.unique(
            np.asarray([str(label) for label in given.ravel()]).reshape(given.shape), return_inverse=True
        )
        names = tuple(words.tolist())
    numbers = as_array(given, "the labels")
    if numbers.shape != (count,):
        raise DataError(
            f"the labels need one number for each of the {count} observations, shape ({count},), got shape "
            f"{numbers.shape}."
        )
    return torch.from_numpy(numbers.astype(np.float32 if numbers.dtype.kind == "f" else np.int64)), names
