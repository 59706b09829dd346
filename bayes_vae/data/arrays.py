"""Data of the user's own: numpy arrays and torch tensors, checked before anything is computed from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from bayes_vae.data.data_set import Data, split_data
from bayes_vae.errors import DataError, SupportError
from bayes_vae.settings import Policy

__all__ = ["as_labels", "as_values", "from_array", "quantize"]

_MINIMUM = 10


def from_array(name: str, array: Any, labels: Any, policy: Policy) -> Data:
    """Make a data set of an array: 80 % training, 10 % validation and 10 % test rows, always the same.

    Args:
        name: of the data set.
        array: numpy array or torch tensor, shape (N, *event), see :func:`as_values`.
        labels: N numbers, or None.
        policy: how pixels become observations.

    Raises:
        DataError: not an array of numbers, a wrong shape, NaN or infinity, fewer than 10 rows, labels that
            do not fit.
        SupportError: values outside the policy's range.
    """
    values = as_values(array, policy)
    count = len(values)
    if count < _MINIMUM:
        raise DataError(
            f"a data set needs at least {_MINIMUM} rows, to be split into training, validation and test "
            f"rows, but there are {count}. Observations run along the first dimension: shape (N, *event)."
        )
    tenth = count // 10
    sizes = (count - 2 * tenth, tenth, tenth)
    return split_data(name, values, None if labels is None else as_labels(labels, count), policy, sizes)


def as_values(array: Any, policy: Policy) -> Tensor:
    """Pixels as bytes, or real values as float32.

    - uint8, and other integers in 0…255, are pixels; integers that are all 0 or 1, and booleans, are
      zeros and ones.
    - Floats in [0, 1] are rounded to 255ths under the policies that binarize, one half downwards; under the
      policy ``none`` floats of any range are kept as they are.

    Args:
        array: numpy array or torch tensor, shape (N, *event), at least one event dimension.
        policy: how pixels become observations.

    Returns:
        shape (N, *event), uint8 or float32; a copy.
    """
    numbers = _as_numpy(array, "the data")
    if numbers.ndim < 2 or numbers.size == 0:
        what = "empty" if numbers.size == 0 else "one-dimensional or less"
        raise DataError(
            f"the data are {what}: expected shape (N, *event), N observations of at least one number each, "
            f"got shape {numbers.shape}. For observations of one number each, use shape (N, 1)."
        )
    return _from_floats(numbers, policy) if numbers.dtype.kind == "f" else _from_integers(numbers)


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


def _from_integers(numbers: np.ndarray) -> Tensor:
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0 or high > 255:
        raise SupportError(
            f"integers are taken as pixels in 0…255, but they range over [{low}, {high}]. Rescale them; "
            "real-valued data are given as floats, with the policy 'none'."
        )
    pixels = torch.from_numpy(numbers.astype(np.uint8))
    return pixels * 255 if high <= 1 else pixels


def _from_floats(numbers: np.ndarray, policy: Policy) -> Tensor:
    with np.errstate(over="ignore"):
        values = torch.from_numpy(numbers.astype(np.float32))
    bad = int((~values.isfinite()).sum())
    if bad:
        raise DataError(
            f"the data have {bad} values of {values.numel()} that are NaN, infinite or beyond float32. "
            "Remove or fill in those observations first."
        )
    if policy == "none":
        return values
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise SupportError(
            f"the policy {policy!r} takes floats in [0, 1], but they range over [{low:g}, {high:g}]. "
            "Divide pixels by 255 or store them as uint8; real-valued data take the policy 'none'."
        )
    return quantize(values)


def quantize(values: Tensor) -> Tensor:
    """Round numbers in [0, 1] to 255ths as bytes; a half rounds down, so 1/2 stays below the threshold."""
    return (values * 255 - 0.5).ceil().to(torch.uint8)


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
