"""What a command prints: tables for people, JSON for programs, notes beside them."""

from __future__ import annotations

import difflib
import json
import math
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from bayes_vae.errors import printable

__all__ = ["json_text", "nearest", "note", "printable", "say", "table"]


def say(text: str) -> None:
    """Print a result on standard output, at once."""
    print(printable(text), flush=True)


def note(text: str) -> None:
    """A line for people beside the result, on standard error."""
    print(printable(text), file=sys.stderr, flush=True)


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The only known name that starts like this one, or else the most similar; None if nothing is similar."""
    starts = [word for word in known if name and word.startswith(name)]
    close = starts if len(starts) == 1 else difflib.get_close_matches(name, list(known), 1, cutoff)
    return close[0] if close else None


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
    """Columns of text under their names, indented by two; ``right`` numbers those that are aligned to the right."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(_width, column)) for column in columns]
    padded = [
        [_pad(cell, width, number in right) for cell in column]
        for number, (column, width) in enumerate(zip(columns, widths, strict=True))
    ]
    return "\n".join(f"  {'  '.join(line)}".rstrip() for line in zip(*padded, strict=True))


def _width(text: str) -> int:
    """Columns that a text takes: combining marks take none."""
    return sum(not unicodedata.combining(character) for character in text)


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
