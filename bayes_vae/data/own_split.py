"""Which rows are for training, validation and the test: the caller's choice, or one at random, always the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bayes_vae.errors import DataError

__all__ = ["LEAST_HELD_OUT", "as_shares", "held_out", "is_share", "permutation", "split_rows"]

_SPLIT_SEED = 19980701
"""Seed of the one permutation by which data sets are split."""

LEAST_HELD_OUT = 20
"""Validation and test rows at least, where that leaves three fifths for training: below, no mean has an error."""

NAMES = ("train", "validation", "test")


def permutation(count: int) -> Tensor:
    """The permutation of 0…count − 1 by which data sets are split: always the same one.

    It is made from raw bits of PCG64, which numpy promises to keep, so it does not depend on numpy's version.
    """
    bits = np.random.PCG64(_SPLIT_SEED).random_raw(count)
    return torch.from_numpy(np.argsort(bits, kind="stable"))


def held_out(count: int) -> int:
    """Validation rows, and test rows, of so many rows where nobody says: a tenth, and of 100 rows or more at least 20.

    >>> held_out(1000), held_out(178), held_out(100), held_out(60)
    (100, 20, 20, 6)
    """
    return max(count // 10, LEAST_HELD_OUT if count >= 5 * LEAST_HELD_OUT else 0)


def is_share(part: Any) -> bool:
    """Whether a part of a split is a fraction or a number of rows, and not the rows themselves."""
    return isinstance(part, int | float | np.integer | np.floating) and not isinstance(part, bool)


def as_shares(parts: Sequence[float]) -> tuple[float, ...]:
    """Fractions as they are; numbers of rows, which add up to more than 1, as whole numbers.

    >>> as_shares((0.8, 0.2, 0.0)), as_shares((13.0, 1.0, 1.0))
    ((0.8, 0.2, 0.0), (13, 1, 1))
    """
    if sum(parts) <= 1 + 1e-9:
        return tuple(parts)
    return tuple(int(part) if part == int(part) else part for part in parts)


def split_rows(
    count: int, train: Any = None, validation: Any = None, test: Any = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Which of 0…count − 1 are training, validation and test rows.

    Args:
        count: rows there are.
        train, validation, test: each a fraction up to 1.0, a number of rows as an int, their places, a mask (count,)
            of booleans, or None: for validation and test as :func:`held_out`, for training the rows that are left. Rows
            that nobody chose are drawn at random, always in the same way. Where training and test rows are named and
            leave none, the validation rows come from the training rows.

    Returns:
        three tensors of places, int64, without a common one.

    Raises:
        DataError: no such row, one row in two parts, more rows than there are, or none for training and test.
    """
    given = dict(zip(NAMES, (train, validation, test), strict=True))
    chosen = {
        name: _places(name, part, count) for name, part in given.items() if part is not None and not is_share(part)
    }
    _check_apart(chosen)
    if validation is None and {"train", "test"} <= set(chosen) and sum(map(len, chosen.values())) == count:
        chosen["train"], chosen["validation"] = _some_held_out(chosen["train"])
    free = torch.ones(count, dtype=torch.bool)
    for places in chosen.values():
        free[places] = False
    order = permutation(count)
    order = order[free[order]]
    sizes = {name: _size(name, given[name], count) for name in NAMES if name not in chosen}
    whole = sum(float(part) for part in given.values() if isinstance(part, float | np.floating) and 0 <= part <= 1)
    if "train" in sizes and (sizes["train"] is None or abs(whole - 1) < 1e-9):
        sizes["train"] = len(order) - sum(size for name, size in sizes.items() if name != "train" and size is not None)
    wanted = sum(size or 0 for size in sizes.values())
    if wanted > len(order) or min((size or 0 for size in sizes.values()), default=0) < 0:
        raise DataError(
            f"the split asks for more rows than there are: {_asked(given)} of {count} rows. Fractions may add up to 1 "
            "at most, numbers of rows to the number there is."
        )
    for name, size in sizes.items():
        chosen[name], order = order[: size or 0], order[size or 0 :]
    return chosen["train"], chosen["validation"], chosen["test"]


def _some_held_out(places: Tensor) -> tuple[Tensor, Tensor]:
    """Named training rows without some at random, in their order, and these."""
    order, size = permutation(len(places)), held_out(len(places))
    return places[order[size:].sort().values], places[order[:size]]


def _size(name: str, part: Any, count: int) -> int | None:
    """Rows of a part that is a share; None for what is left to training."""
    if part is None:
        return None if name == "train" else held_out(count)
    if not 0 <= part < math.inf or (part > 1 and part != int(part)):
        raise DataError(f"{name} must be a fraction from 0 to 1, a number of rows, or their places, got {part}.")
    return int(part) if part > 1 or isinstance(part, int | np.integer) else int(float(part) * count + 1e-9)


def _places(name: str, part: Any, count: int) -> Tensor:
    """Places of rows that were named, or marked by booleans."""
    try:
        rows = torch.as_tensor(np.asarray(part))
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: expected places of rows, got {type(part).__name__} ({error}).") from error
    if rows.dtype == torch.bool and rows.shape == (count,):
        return rows.nonzero()[:, 0]
    if rows.dim() != 1 or rows.is_floating_point() or rows.dtype == torch.bool:
        raise DataError(
            f"{name}: beside an array of {count} rows, expected a fraction, a number of rows, places of rows as whole "
            f"numbers of shape (n,), or booleans of shape ({count},), got shape {tuple(rows.shape)} of {rows.dtype}. "
            "Parts that are arrays of their own stand alone: load_data(train=..., test=...)."
        )
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < count:
        bad = int(rows[(rows < 0) | (rows >= count)][0])
        raise DataError(f"{name} names row {bad}, but the data have the rows 0…{count - 1}.")
    if len(rows.unique()) < len(rows):
        raise DataError(f"{name} names a row twice. Name each row once.")
    return rows.to(torch.int64)


def _check_apart(chosen: dict[str, Tensor]) -> None:
    for one in chosen:
        for other in chosen:
            both = chosen[one][torch.isin(chosen[one], chosen[other])]
            if one < other and len(both):
                raise DataError(
                    f"row {int(both[0])} is in {one} and in {other} ({len(both)} rows are): figures of rows that were "
                    "trained on say nothing about new ones. Give each row to one part."
                )


def _asked(given: dict[str, Any]) -> str:
    parts = (
        f"{name} {part if is_share(part) else f'{len(part)} rows'}" for name, part in given.items() if part is not None
    )
    return ", ".join(parts)
