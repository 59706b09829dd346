"""Columns as a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["csv_bytes"]


def csv_bytes(columns: Mapping[str, Sequence[Any]]) -> bytes:
    r"""Columns under their names, in UTF-8; unknown numbers are empty cells.

    >>> csv_bytes({"a": [1, 2], "b": [0.5, float("nan")]})
    b'a,b\n1,0.5\n2,\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow(["" if cell is None or cell != cell else cell for cell in row])
    return text.getvalue().encode()
