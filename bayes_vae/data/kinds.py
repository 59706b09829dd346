"""What the numbers of a data set are: zeros and ones, gray pixels, counts, or real values."""

from __future__ import annotations

from typing import get_args

import numpy as np
import torch
from torch import Tensor

from bayes_vae.errors import DataError, SupportError
from bayes_vae.settings import DataKind, Kind, Policy

__all__ = ["KINDS", "KIND_WORDS", "check_kind", "policy_for", "quantize", "values_of_kind"]

KINDS: tuple[Kind, ...] = get_args(Kind)
"""Those that can be asked for; ``auto`` finds out."""

KIND_WORDS: dict[DataKind, str] = {
    "binary": "zeros and ones",
    "gray": "gray pixels",
    "counts": "counts",
    "real": "real values",
}

LARGEST_COUNT = 2**24
"""Observations are float32, which has every whole number up to here."""

_SAY = "Say what they are: kind='counts' or kind='real' (--kind on the command line)"


def check_kind(kind: str) -> None:
    """Refuse a kind that does not exist.

    Raises:
        DataError: lists the kinds.
    """
    if kind not in KINDS:
        raise DataError(f"unknown kind of data {kind!r}: choose one of {', '.join(KINDS)}.")


def policy_for(kind: Kind, policy: Policy | None) -> Policy:
    """The policy, or the one that goes with the kind.

    Raises:
        DataError: a policy that makes zeros and ones of pixels, for data that are none.
    """
    if kind in ("counts", "real"):
        if policy not in (None, "none"):
            raise DataError(
                f"the policy {policy!r} makes zeros and ones of pixels, but the kind of the data is {kind!r}. Leave "
                "the policy out, or say 'none'."
            )
        return "none"
    return policy or "stochastic"


def values_of_kind(numbers: np.ndarray, kind: Kind, policy: Policy) -> tuple[Tensor, DataKind]:
    """Numbers as they are stored, and what they are.

    - ``binary``: zeros and ones.
    - ``gray``: integers in 0…255 stand for n/255; floats in [0, 1] are rounded to 255ths under the policies that
      binarize, one half downwards, and kept as they are under ``none``.
    - ``counts``: whole numbers of 0 and more.
    - ``real``: any finite number.
    - ``auto``: booleans, zeros and ones are ``binary``; bytes above 127, other integers in 0…255 that reach 255,
      and floats in [0, 1] are ``gray``; other floats are ``real`` under the policy ``none``. Everything
      else could be one thing or another, and is refused with the question which.

    Args:
        numbers: booleans, integers or floats, shape (N, *event).
        kind: of the numbers.
        policy: how pixels become observations.

    Returns:
        shape (N, *event), a copy: uint8 pixels, int32 counts or float32; and the kind found.

    Raises:
        DataError: NaN, infinity or beyond float32.
        SupportError: numbers that are not of the kind.
    """
    if numbers.dtype.kind == "f":
        _check_finite(numbers)
    if kind == "auto":
        kind = _found(numbers, policy)
    if kind == "counts":
        _require(numbers, (numbers >= 0) & (numbers == np.round(numbers)) & (numbers <= LARGEST_COUNT), kind)
        return torch.from_numpy(numbers.astype(np.int32)), kind
    if kind == "real":
        return torch.from_numpy(numbers.astype(np.float32)), kind
    _require(numbers, (numbers == 0) | (numbers == 1) if kind == "binary" else _gray_range(numbers), kind)
    if numbers.dtype.kind != "f":
        pixels = torch.from_numpy(numbers.astype(np.uint8))
        return pixels * 255 if int(numbers.max()) <= 1 else pixels, kind
    values = torch.from_numpy(numbers.astype(np.float32))
    return values if policy == "none" else quantize(values), kind


def _gray_range(numbers: np.ndarray) -> np.ndarray:
    result: np.ndarray = (numbers >= 0) & (numbers <= (1 if numbers.dtype.kind == "f" else 255))
    return result


def _found(numbers: np.ndarray, policy: Policy) -> DataKind:
    """The kind of numbers, where they leave no doubt."""
    low, high = numbers.min().item(), numbers.max().item()
    if bool(((numbers == 0) | (numbers == 1)).all()):
        return "binary"
    if numbers.dtype.kind == "f":
        if low >= 0 and high <= 1:
            return "gray"
        if policy == "none":
            return "real"
        raise SupportError(
            f"the policy {policy!r} takes floats in [0, 1], but they range over [{low:g}, {high:g}]. Divide pixels by "
            f"255 or store them as uint8; of real values say so: kind='real', or the policy 'none'."
        )
    if low < 0 or high > 255:
        raise SupportError(
            f"integers are taken as pixels in 0…255, but they range over [{low}, {high}]. {_SAY}, or rescale pixels."
        )
    if high == 255 or (numbers.dtype == np.uint8 and high > 127):
        return "gray"
    raise SupportError(
        f"integers in 0…{high}: as pixels they would stand for n/255, all of them at most {high / 255:.2f}. {_SAY}, or "
        f"kind='gray' if they are such dark pixels. Of gray levels 0…{high} give x / {high}."
    )


def _check_finite(numbers: np.ndarray) -> None:
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(numbers.astype(np.float32))
    if bad.any():
        rows = np.flatnonzero(bad.reshape(len(bad), -1).any(1))
        others = f", and {len(rows) - 1} rows more" if len(rows) > 1 else ""
        raise DataError(
            f"the data have {int(bad.sum())} values of {bad.size} that are NaN, infinite or beyond float32: row "
            f"{rows[0]}{others}. Remove or fill in those observations first."
        )


def _require(numbers: np.ndarray, fits: np.ndarray, kind: DataKind) -> None:
    """Refuse numbers that are not of the kind, by row."""
    if fits.all():
        return
    place = np.unravel_index(int(np.argmin(fits)), fits.shape)
    takes = {
        "binary": "0 or 1",
        "gray": "integers in 0…255 or floats in [0, 1]",
        "counts": f"whole numbers from 0 to {LARGEST_COUNT:,}",
    }
    raise SupportError(
        f"data of the kind {kind!r} are {takes[kind]}, but row {place[0]} has {numbers[place].item():g} "
        f"({int((~fits).sum())} such values of {fits.size}). Choose another kind, or mend those rows."
    )


def quantize(values: Tensor) -> Tensor:
    """Round numbers in [0, 1] to 255ths as bytes; a half rounds down, so 1/2 stays below the threshold."""
    return (values * 255 - 0.5).ceil().to(torch.uint8)
