"""Values that are not held in memory; and rows that stay on disk, in one or several .npy files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Size, Tensor

from bayes_vae.data.kinds import HeldAs, as_stored, values_of_kind
from bayes_vae.data.outside_rows import OutsideRows
from bayes_vae.data.safe_reading import check_is_plain
from bayes_vae.errors import DataError, SupportError
from bayes_vae.plain_files import one_error
from bayes_vae.settings import DataKind, Kind, Policy

__all__ = ["StoredRows", "StoredValues", "pieces", "stays_on_disk", "stored_file", "stored_folder", "stored_values"]

NOT_STREAMED = (
    "stream is for .npy files, one or a folder of them, and for torch data sets, and {} is none. Save the rows with "
    "numpy.save, or leave stream out."
)

NO_TENSOR = "works on values in memory, and these rows are read one by one: load fewer of them, as an array"


class StoredRows(OutsideRows):
    """Numbers of N observations as files hold them.

    Args:
        name: of the file or folder.
        files: memory-mapped arrays of shape (n, *event), one after the other.
    """

    def __init__(self, name: str, files: Sequence[np.ndarray]) -> None:
        self.name, self.files, self.dtype = name, tuple(files), files[0].dtype
        self.starts = np.cumsum([0, *map(len, files)])
        self.shape = (int(self.starts[-1]), *files[0].shape[1:])

    @classmethod
    def joined(cls, parts: Sequence[StoredRows]) -> StoredRows:
        """The rows of several, one after the other."""
        return cls(parts[0].name, [file for part in parts for file in part.files])

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Rows by number, a copy."""
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        owner = np.searchsorted(self.starts, rows, side="right") - 1
        for number in np.unique(owner):
            here = owner == number
            found[here] = self.files[number][rows[here] - self.starts[number]]
        return found

    def pieces(self) -> Iterator[tuple[int, np.ndarray]]:
        """All rows in order, a few at a time, each time with the number of the first."""
        size = self.rows_at_once
        for start, file in zip(self.starts, self.files, strict=False):
            for first in range(0, len(file), size):
                yield int(start) + first, np.asarray(file[first : first + size])


@dataclass(frozen=True, eq=False)
class StoredValues:
    """Rows outside memory as a data set of a kind keeps them: what stands in the place of a split's tensor of values.

    Indexed by rows it gives a tensor of them; :meth:`take` gives some of the rows, still stored.

    Attributes:
        stored: what the files hold, or a data set computes.
        rows: which of its rows these are, shape (N,), int64.
        kind, policy: of the data.
        ones: whether integers are zeros and ones, which stand for black and white.
        dtype: as :func:`bayes_vae.data.kinds.values_of_kind` has it.
    """

    stored: OutsideRows
    rows: Tensor
    kind: DataKind
    policy: Policy
    ones: bool
    dtype: torch.dtype
    device = torch.device("cpu")

    def __len__(self) -> int:
        return len(self.rows)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise DataError(f"{name} of {self.stored.name} {NO_TENSOR}.")

    @property
    def shape(self) -> Size:
        """(N, *event)."""
        return Size((len(self), *self.stored.shape[1:]))

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """The values of some rows."""
        return as_stored(self.stored.read(self.rows[rows].numpy()), self.kind, self.policy, self.ones)

    def take(self, rows: slice | Tensor) -> StoredValues:
        """Some of the rows, which stay on disk."""
        return replace(self, rows=self.rows[rows])

    def expect(self, batches: Iterable[Tensor]) -> None:
        """Be told which rows will be read next, in this order."""
        self.stored.expect(self.rows[rows].numpy() for rows in batches)

    def pieces(self) -> Iterator[Tensor]:
        """All values in order, a few rows at a time."""
        size = self.stored.rows_at_once
        for first in range(0, len(self), size):
            yield self[first : first + size]


def pieces(values: Tensor | StoredValues) -> Iterator[Tensor]:
    """All values in order: at once where they are in memory, else a few rows at a time."""
    if isinstance(values, StoredValues):
        yield from values.pieces()
    elif len(values):
        yield values


def stored_values(
    stored: OutsideRows, kind: Kind, policy: Policy | None, held_as: HeldAs | None = None
) -> tuple[StoredValues, DataKind, Policy]:
    """As :func:`bayes_vae.data.kinds.values_of_kind`, of rows that stay on disk; every row is looked at once.

    Raises:
        DataError: NaN, which stands for a missing value, and as there.
        SupportError: as there.
    """
    telling = stored.telling()
    try:
        values, found, chosen = values_of_kind(telling, kind, policy, held_as)
    except SupportError as error:
        raise _with_place(stored, kind, policy, held_as, error) from error
    ones = telling.dtype.kind != "f" and int(telling.max()) <= 1
    rows = torch.arange(len(stored))
    return StoredValues(stored, rows, found, chosen, ones, values.dtype), found, chosen


def _with_place(
    stored: OutsideRows, kind: Kind, policy: Policy | None, held_as: HeldAs | None, error: SupportError
) -> SupportError:
    """The error with the rows in which it is found, where they are told apart."""
    if kind == "auto":
        return error
    for first, numbers in stored.pieces():
        try:
            values_of_kind(numbers, kind, policy, held_as)
        except SupportError as found:
            return SupportError(f"{stored.name}, rows counted from row {first}: {found}")
    return error


def stored_file(path: Path) -> StoredRows:
    """The rows of an .npy file, mapped and not read.

    Raises:
        DataError: no such file, or no array of numbers.
    """
    return _stored(path.name, [path])


def stays_on_disk(path: Path, stream: bool) -> bool:
    """Whether the rows at a path are read when they are asked for: of a folder of .npy files, or of one such file.

    Args:
        path: of a file or a folder.
        stream: whether it was asked for; of a folder it need not be.

    Raises:
        DataError: it was asked for other data than .npy files.
    """
    if path.is_dir():
        found = any(each.suffix.lower() == ".npy" for each in path.iterdir())
    else:
        found = path.suffix.lower() == ".npy" and path.is_file()
    if stream and not found:
        raise DataError(NOT_STREAMED.format(path))
    return found and (stream or path.is_dir())


def stored_folder(path: Path) -> StoredRows:
    """The rows of all .npy files of a folder, in the order of the numbers and letters of their names.

    Raises:
        DataError: files that are no arrays of numbers, or whose rows differ in shape or type.
    """
    return _stored(
        path.name, sorted((each for each in path.iterdir() if each.suffix.lower() == ".npy"), key=_by_number)
    )


def _by_number(path: Path) -> list[tuple[int, str]]:
    """So that shard-10 comes after shard-9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _stored(name: str, paths: Sequence[Path]) -> StoredRows:
    files = [_mapped(path) for path in paths]
    for path, file in zip(paths, files, strict=True):
        if (file.shape[1:], file.dtype) != (files[0].shape[1:], files[0].dtype):
            raise DataError(
                f"the files of {name} must hold rows of one shape and type, but {paths[0].name} has "
                f"{files[0].shape[1:]} of {files[0].dtype} and {path.name} {file.shape[1:]} of {file.dtype}. Write "
                "them alike."
            )
    return StoredRows(name, files)


def _mapped(path: Path) -> np.ndarray:
    remedy = "Pickled objects are never loaded: save a plain numeric array with numpy.save(path, x)."
    with one_error(DataError, f"{path} cannot be read as an array of numbers", remedy):
        check_is_plain(path)
        found: np.ndarray = np.lib.format.open_memmap(path, mode="r")
    if found.dtype.kind not in "biuf" or found.ndim < 1 or found.size == 0:
        raise DataError(
            f"{path} holds {'no rows' if found.size == 0 else f'numbers of type {found.dtype}'}: expected shape (N, "
            "*event) of booleans, integers or floats."
        )
    return found
