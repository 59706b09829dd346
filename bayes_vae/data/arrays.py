"""Data of the user's own: numpy arrays and torch tensors, checked before anything is computed from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from bayes_vae.data.data_set import Data, split_data
from bayes_vae.data.kinds import policy_for, values_of_kind
from bayes_vae.errors import DataError
from bayes_vae.settings import Kind, Policy

__all__ = ["as_labels", "as_numbers", "from_array"]

_MINIMUM = 10


def from_array(
    name: str,
    array: Any,
    labels: Any,
    policy: Policy | None,
    kind: Kind = "auto",
    label_names: tuple[str, ...] = (),
) -> Data:
    """Make a data set of an array: 80 % training, 10 % validation and 10 % test rows, always the same.

    Args:
        name: of the data set.
        array: numpy array or torch tensor, shape (N, *event), see :func:`bayes_vae.data.kinds.values_of_kind`.
        labels: N numbers, or None.
        policy: how pixels become observations; None for the one that goes with the kind.
        kind: what the numbers are.
        label_names: what the labels stand for, where they are 0, 1, 2, ….

    Raises:
        DataError: not an array of numbers, a wrong shape, NaN or infinity, fewer than 10 rows, labels that
            do not fit.
        SupportError: values that are not of the kind, or that leave it open.
    """
    numbers, policy = as_numbers(array), policy_for(kind, policy)
    count = len(numbers)
    if count < _MINIMUM:
        raise DataError(
            f"a data set needs at least {_MINIMUM} rows, to be split into training, validation and test "
            f"rows, but there are {count}. Observations run along the first dimension: shape (N, *event)."
        )
    values, found = values_of_kind(numbers, kind, policy)
    tenth = count // 10
    sizes = (count - 2 * tenth, tenth, tenth)
    checked = None if labels is None else as_labels(labels, count)
    return split_data(name, values, checked, policy, sizes, found, label_names)


def as_numbers(array: Any) -> np.ndarray:
    """Booleans, integers or floats of shape (N, *event); the event may have any number of dimensions, also none.

    Raises:
        DataError: not an array of numbers, or empty.
    """
    numbers = _as_numpy(array, "the data")
    if numbers.ndim < 1 or numbers.size == 0:
        what = "empty" if numbers.size == 0 else "a single number"
        raise DataError(
            f"the data are {what}: expected shape (N, *event), N observations of at least one number each, "
            f"got shape {numbers.shape}."
        )
    return numbers


def _as_numpy(array: Any, what: str) -> np.ndarray:
    """Return a numpy array of booleans, integers or floats, or say what arrived."""
    if isinstance(array, Tensor):
        dense = array.detach()
        try:
            array = (dense.float() if dense.dtype == torch.bfloat16 else dense).cpu().numpy()
        except (TypeError, RuntimeError) as error:
            raise DataError(f"{what}: expected a dense tensor, got another kind ({error}).") from error
    if not isinstance(array, np.ndarray):
        raise DataError(
            f"{what}: expected a numpy array or a torch tensor, got {type(array).__name__}. "
            "Convert it with numpy.asarray first."
        )
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"{what}: expected booleans, integers or floats, got an array of dtype {array.dtype}. "
            "Convert it to numbers first; a complex array can be given as real and imaginary parts."
        )
    return array


def as_labels(labels: Any, count: int) -> Tensor:
    """One label for each observation; integers as int64, floats as float32.

    Raises:
        DataError: not ``count`` numbers.
    """
    numbers = _as_numpy(np.asarray(labels) if isinstance(labels, list | tuple) else labels, "the labels")
    if numbers.shape != (count,):
        raise DataError(
            f"the labels need one number for each of the {count} observations, shape ({count},), got shape "
            f"{numbers.shape}."
        )
    return torch.from_numpy(numbers.astype(np.float32 if numbers.dtype.kind == "f" else np.int64))
