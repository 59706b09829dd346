"""What the numbers of a data set are: zeros and ones, gray pixels, counts, or real values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from bayes_vae.errors import DataError, SupportError
from bayes_vae.settings import DataKind, Kind, Policy

__all__ = [
    "KINDS",
    "KIND_WORDS",
    "HeldAs",
    "as_stored",
    "check_kind",
    "policy_for",
    "quantize",
    "shaped_as_image",
    "values_of_kind",
]

HeldAs = Literal["table", "image"]
"""What the form in which data came says of them: columns with names, or image files."""

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

FLOATS_ASKED = (
    "Of a table say load_data(x, kind='real'), for a normal likelihood (bayes-vae train --kind real --likelihood "
    "normal); of pixels say load_data(x, kind='gray'), which makes zeros and ones of them at random (--kind gray), or "
    "load_data(x, policy='none'), which keeps them (--policy none --likelihood continuous-bernoulli)."
)
"""What floats in [0, 1] without the shape of an image are asked."""

COLOURS_ASKED = (
    "Keep them with policy='none' (bayes-vae train --policy none --likelihood discretized-logistic, normal or "
    "continuous-bernoulli); make zeros and ones of each colour with policy='stochastic' (--policy stochastic); or give "
    "gray images, of a folder colour='gray' (--colour gray)."
)
"""What colour images without a policy are asked."""


def check_kind(kind: str) -> None:
    """Refuse a kind that does not exist.

    Raises:
        DataError: lists the kinds.
    """
    if kind not in KINDS:
        raise DataError(f"unknown kind of data {kind!r}: choose one of {', '.join(KINDS)}.")


def policy_for(kind: Kind, policy: Policy | None) -> Policy | None:
    """The policy; of kinds that have only one, that one.

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
    return policy


def values_of_kind(
    numbers: np.ndarray, kind: Kind, policy: Policy | None, held_as: HeldAs | None = None
) -> tuple[Tensor, DataKind, Policy]:
    """Numbers as they are stored, what they are, and how observations are made of them.

    - ``binary``: zeros and ones.
    - ``gray``: integers in 0…255 stand for n/255; floats in [0, 1] are rounded to 255ths under the policies that
      binarize, one half downwards, and kept as they are under ``none``.
    - ``counts``: whole numbers of 0 and more.
    - ``real``: any finite number.
    - ``auto``: booleans, zeros and ones are ``binary``. Columns with names are a table, ``real`` where a number has a
      fraction or is negative. Without names, bytes above 127 and other integers in 0…255 that reach 255 are ``gray``,
      and so are floats in [0, 1] that are shaped as images or have a policy; other floats with fractions are ``real``.
      Everything else could be one thing or another, and is refused with the question which.

    Without a policy, real values and counts have ``none``, and zeros and ones and gray pixels ``stochastic``; of colour
    images it is asked for.

    Args:
        numbers: booleans, integers or floats, shape (N, *event).
        kind: of the numbers.
        policy: how pixels become observations; None for the one that goes with the kind.
        held_as: a table whose columns have names, or images; None where only the numbers and their shape can say.

    Returns:
        shape (N, *event), a copy: uint8 pixels, int32 counts or float32; the kind found; and the policy.

    Raises:
        DataError: infinity or beyond float32; a policy that the kind does not have.
        SupportError: numbers that are not of the kind, or that leave kind or policy open.
    """
    if numbers.dtype.kind == "f":
        _check_finite(numbers)
    found = _found(numbers, policy, held_as) if kind == "auto" else kind
    policy = policy_for(found, policy)
    if policy is None and found == "gray" and _is_colour(numbers.shape[1:], held_as):
        raise SupportError(
            f"colour images of shape {numbers.shape[1:]}: are their pixels observed as they are, or "
            f"made zeros and ones? {COLOURS_ASKED}"
        )
    policy = policy or "stochastic"
    return _stored(numbers, found, policy), found, policy


def _stored(numbers: np.ndarray, kind: DataKind, policy: Policy) -> Tensor:
    """Numbers of a kind, once they were found to be of it, as a data set keeps them."""
    if kind == "counts":
        _require(numbers, (numbers >= 0) & (numbers == np.round(numbers)) & (numbers <= LARGEST_COUNT), kind)
    elif kind != "real":
        _require(numbers, (numbers == 0) | (numbers == 1) if kind == "binary" else _gray_range(numbers), kind)
    return as_stored(numbers, kind, policy, numbers.dtype.kind != "f" and int(numbers.max()) <= 1)


def as_stored(numbers: np.ndarray, kind: DataKind, policy: Policy, ones: bool) -> Tensor:
    """Numbers of a kind, as a data set keeps them; ``ones`` says that pixels are zeros and ones instead of bytes."""
    if kind == "counts":
        return torch.from_numpy(numbers.astype(np.int32))
    if kind == "real":
        return torch.from_numpy(numbers.astype(np.float32))
    if numbers.dtype.kind != "f":
        pixels = torch.from_numpy(numbers.astype(np.uint8))
        return pixels * 255 if ones else pixels
    values = torch.from_numpy(numbers.astype(np.float32))
    return values if policy == "none" else quantize(values)


def shaped_as_image(event: Sequence[int]) -> Literal["gray", "colour"] | None:
    """Whether one observation has the shape of an image: two sides of at least 8, neither over twice the other.

    Beside the sides there may be one channel, or three or four, which make it a colour image, first or last.

    >>> shaped_as_image((28, 28)), shaped_as_image((3, 32, 32)), shaped_as_image((100, 6)), shaped_as_image((784,))
    ('gray', 'colour', None, None)
    """
    sides, channels = tuple(event), 1
    if len(sides) == 3:
        first = sides[0] in (1, 3, 4)
        channels, sides = (sides[0], sides[1:]) if first else (sides[2], sides[:2])
    if len(sides) != 2 or channels not in (1, 3, 4) or min(sides) < 8 or max(sides) > 2 * min(sides):
        return None
    return "gray" if channels == 1 else "colour"


def _gray_range(numbers: np.ndarray) -> np.ndarray:
    result: np.ndarray = (numbers >= 0) & (numbers <= (1 if numbers.dtype.kind == "f" else 255))
    return result


def _is_colour(event: Sequence[int], held_as: HeldAs | None) -> bool:
    return len(event) == 3 if held_as == "image" else held_as is None and shaped_as_image(event) == "colour"


def _found(numbers: np.ndarray, policy: Policy | None, held_as: HeldAs | None) -> DataKind:
    """The kind of numbers, where they leave no doubt."""
    if bool(((numbers == 0) | (numbers == 1)).all()):
        return "binary"
    return _of_floats(numbers, policy, held_as) if numbers.dtype.kind == "f" else _of_integers(numbers, held_as)


def _of_floats(numbers: np.ndarray, policy: Policy | None, held_as: HeldAs | None) -> DataKind:
    low, high = numbers.min().item(), numbers.max().item()
    if policy not in (None, "none"):
        if low >= 0 and high <= 1:
            return "gray"
        raise SupportError(
            f"the policy {policy!r} takes floats in [0, 1], but they range over [{low:g}, {high:g}]. Divide pixels by "
            f"255 or store them as uint8; of real values say so: kind='real', or the policy 'none'."
        )
    if low >= 0 and high <= 1 and held_as != "table":
        if policy is None and held_as is None and not shaped_as_image(numbers.shape[1:]):
            raise SupportError(
                f"floats in [0, 1] of shape {numbers.shape[1:]} may be gray pixels or a scaled table. {FLOATS_ASKED}"
            )
        return "gray"
    if policy is None and low >= 0 and bool((numbers == np.round(numbers)).all()):
        raise SupportError(
            f"whole numbers in {low:g}…{high:g}, stored as floats. {_SAY}; divide pixels by 255 or store them as uint8."
        )
    return "real"


def _of_integers(numbers: np.ndarray, held_as: HeldAs | None) -> DataKind:
    low, high = numbers.min().item(), numbers.max().item()
    if held_as == "table":
        raise SupportError(f"whole numbers in {low}…{high}, in columns with names. {_SAY}, or kind='gray' of pixels.")
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
            f"the data have {int(bad.sum())} values of {bad.size} that are infinite or beyond float32: row "
            f"{rows[0]}{others}. Remove those observations, or make the values NaN, which stands for a missing one."
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
