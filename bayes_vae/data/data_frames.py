"""Tables whose columns have names: of a data frame, and of a .csv file."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bayes_vae.data.raw_data import RawData
from bayes_vae.data.safe_reading import LARGEST_FILE, check_fits, check_is_plain
from bayes_vae.errors import DataError
from bayes_vae.plain_files import one_error, read_plain_file

__all__ = ["NoSuchColumnError", "columns_as_array", "read_csv"]


class NoSuchColumnError(DataError):
    """A table without the column that was named."""


MISSING = ("", "na", "nan", "null", "none", "n/a")
"""What an empty cell of a file may hold, in small letters."""

CELLS_PER_TEXT = 10
"""Bytes that the cells of a table take for each byte of its text, at least."""


def columns_as_array(columns: Mapping[Any, np.ndarray]) -> np.ndarray:
    """Columns of numbers side by side, shape (N, number of columns): booleans, integers, or floats where any has them.

    Raises:
        DataError: columns of something else; the message names them.
    """
    read = {name: _as_numbers(values) for name, values in columns.items()}
    other = [str(name) for name, values in read.items() if values is None]
    if other or not read:
        which = f"the columns {', '.join(map(repr, other))} hold" if other else "there is no column of numbers, only"
        raise DataError(
            f"{which} text or dates, not numbers. Leave them out (frame.drop(columns=...)), make numbers of them "
            "(pandas.get_dummies(frame)), or name the one with labels: load_data(..., labels=COLUMN), --label-column "
            "COLUMN on the command line."
        )
    kinds = {values.dtype.kind for values in read.values() if values is not None}
    dtype = np.float64 if "f" in kinds else (np.bool_ if kinds == {"b"} else np.int64)
    return np.stack([np.asarray(values, dtype) for values in read.values()], 1)


def _as_numbers(values: np.ndarray) -> np.ndarray | None:
    """A column as booleans, integers or floats; None where it holds something else."""
    if values.dtype.kind in "biuf":
        return values
    if values.dtype != object:
        return None
    plain = [np.nan if value is None or str(value) in ("<NA>", "nan") else value for value in values.tolist()]
    if not all(isinstance(value, bool | int | float) for value in plain):
        return None
    return np.asarray(plain, np.float64)


def read_csv(path: Path, label_column: str | None) -> RawData:
    """Read a table: commas, semicolons or tabs between columns; a first line of names, where it is not all numbers.

    Args:
        path: of the file; UTF-8.
        label_column: its labels, numbers or text.

    Raises:
        DataError: no table, lines of several lengths, columns of text, or no such column.
    """
    names, cells = _cells(path)
    if label_column is not None and label_column not in names:
        raise NoSuchColumnError(
            f"{path} has no column {label_column!r}: its columns are {', '.join(names) or 'not named'}."
        )
    columns = dict(zip(names or map(str, range(len(cells[0]))), zip(*cells, strict=True), strict=True))
    labels = None if label_column is None else _parsed(columns.pop(label_column))
    read = {name: _parsed(column) for name, column in columns.items()}
    counter = read.get("")
    if counter is not None and counter.dtype.kind == "i" and bool((np.diff(counter) == 1).all()):
        raise DataError(
            f"{path}: the first column has no name and numbers the rows, so it is no part of an observation. Write the "
            "file without it: frame.to_csv(path, index=False)."
        )
    try:
        values = columns_as_array(read)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    named = tuple(columns) if names else ()
    return RawData(path.name, values, labels, columns=named, held_as="table" if names else None)


def _cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """Names of the columns, or none, and the lines of cells."""
    check_fits(CELLS_PER_TEXT * check_is_plain(path), path)
    with one_error(DataError, f"{path} cannot be read as a table of text", "Save it as CSV in UTF-8."):
        lines = _split(read_plain_file(path, LARGEST_FILE).decode("utf-8-sig"))
    for number, line in enumerate(lines, 1):
        if len(line) != len(lines[0]):
            raise DataError(
                f"{path}: line {number} has {len(line)} cells, the first {len(lines[0])}. Expected a row in each line, "
                "with commas, semicolons or tabs between its cells."
            )
    named = bool(lines) and any(_number(cell) is None for cell in lines[0])
    if len(lines) <= named:
        raise DataError(f"{path} holds no rows: expected one observation a line, under a line with names or none.")
    names = [cell.strip() for cell in lines[0]] if named else []
    if len(set(names)) < len(names):
        raise DataError(f"{path}: two columns have one name. Rename them: {', '.join(names)}.")
    return names, lines[named:]


def _split(text: str) -> list[list[str]]:
    """Lines of cells, between which stands what the first line holds most of, unless only another makes lines alike."""
    first = re.sub(r'"[^"]*"', "", text[: 2**20]).partition("\n")[0]  # without what stands in quotes
    tried: list[list[list[str]]] = []
    for delimiter in sorted(",;\t", key=first.count, reverse=True):
        tried.append([line for line in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if line])
        if len({len(line) for line in tried[-1]}) == 1 and (len(tried) == 1 or len(tried[-1][0]) > 1):
            return tried[-1]
    return tried[0]


def _number(cell: str) -> float | None:
    """A cell as a number; NaN where it is empty, None where it holds text."""
    if cell.strip().lower() in MISSING:
        return float("nan")
    try:
        return float(cell)
    except ValueError:
        return None


def _parsed(cells: tuple[str, ...]) -> np.ndarray:
    """A column: integers where all cells are written so, floats, or text."""
    numbers = [_number(cell) for cell in cells]
    if any(number is None for number in numbers):
        return np.asarray([cell.strip() for cell in cells])
    if all(cell.strip().lstrip("+-").isdigit() for cell in cells):
        return np.asarray([int(cell) for cell in cells], np.int64)
    return np.asarray(numbers, np.float64)
