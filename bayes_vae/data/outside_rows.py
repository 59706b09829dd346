"""What rows can do that are not held in memory, wherever they come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

import numpy as np

from bayes_vae.errors import DataError

__all__ = ["PIECE", "OutsideRows", "telling"]

PIECE = 2**24
"""Bytes of rows that are read at once where every row is looked at."""


class OutsideRows(ABC):
    """Numbers of N observations, read when they are asked for.

    Attributes:
        name: where they come from.
        dtype: of the numbers.
        shape: (N, *event).
    """

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Dimensions of the shape."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Numbers in all."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def rows_at_once(self) -> int:
        """Rows that are read at once where every row is looked at."""
        return max(1, PIECE // max(1, self.dtype.itemsize * self.size // len(self)))

    @abstractmethod
    def read(self, rows: np.ndarray) -> np.ndarray:
        """Rows by number, a copy."""

    @abstractmethod
    def pieces(self) -> Iterator[tuple[int, np.ndarray]]:
        """All rows in order, a few at a time, each time with the number of the first."""

    def telling(self) -> np.ndarray:
        """A few rows by which the kind of the numbers is told; every row is looked at."""
        return np.concatenate([telling(first, numbers, self.name) for first, numbers in self.pieces()])

    def expect(self, batches: Iterable[np.ndarray]) -> None:
        """Be told which rows will be read next, in this order; rows may be read otherwise all the same."""
        return


def telling(first: int, numbers: np.ndarray, name: str) -> np.ndarray:
    """The rows by which the kind of some numbers is told: with the extremes, one that is not 0 or 1, one not whole.

    Raises:
        DataError: NaN, which stands for a missing value, or infinity.
    """
    flat = numbers.reshape(len(numbers), -1)
    if numbers.dtype.kind == "f" and not bool(np.isfinite(flat).all()):
        row = int(np.argmin(np.isfinite(flat).all(1)))
        raise DataError(
            f"row {first + row} of {name} has a value that is missing (NaN) or infinite, and rows that are read one by "
            "one are whole. Remove it, or load the rows as an array, where NaN stands for a missing value."
        )
    marks = [flat.argmin(), flat.argmax(), ((flat == 0) | (flat == 1)).argmin()]
    if numbers.dtype.kind == "f":
        marks.append((flat == np.round(flat)).argmin())
    found: np.ndarray = numbers[np.unique(np.asarray(marks) // flat.shape[1])]
    return found
