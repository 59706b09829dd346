"""What a command prints: tables for people, JSON for programs, notes and progress beside them."""

from __future__ import annotations

import json
import math
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

__all__ = ["json_text", "note", "say", "table"]


def say(text: str) -> None:
    """Print a result on standard output, at once."""
    print(text, flush=True)


def note(text: str) -> None:
    """A line for people beside the result, on standard error."""
    print(text, file=sys.stderr, flush=True)


def json_text(content: Any) -> str:
    """Strict JSON; NaN and infinities, which it lacks, become null.

    >>> print(json_text({"value": float("nan")}))
    {
      "value": null
    }
    """
    return json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(content: Any) -> Any:
    if isinstance(content, dict):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Columns of text, indented by two.

    Args:
        header: names of the columns.
        rows: the cells.
        right: numbers of the columns that are aligned to the right.
    """
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(_width(line[column]) for line in lines) for column in range(len(header))]
    texts = [
        "  ".join(
            _pad(cell, width, column in right) for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    return "\n".join(f"  {text}".rstrip() for text in texts)


def _width(text: str) -> int:
    """Columns that a text takes: combining marks take none."""
    return sum(not unicodedata.combining(character) for character in text)


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
