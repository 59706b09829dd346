"""The figures of each epoch as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping

from bayes_vae.errors import RunError

__all__ = ["metrics_bytes", "read_metrics"]


def metrics_bytes(history: Iterable[Mapping[str, float]]) -> bytes:
    """One line for each epoch; a figure that an epoch lacks is left blank. Numbers come back exactly."""
    rows = list(history)
    names = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _text(value) for name, value in row.items()} for row in rows)
    return text.getvalue().encode()


def _text(value: float) -> str:
    return str(value) if type(value) is int else repr(float(value))


def _number(text: str) -> float:
    return int(text) if text.isdecimal() else float(text)


def read_metrics(content: bytes, name: str) -> list[dict[str, float]]:
    """The rows that :func:`metrics_bytes` wrote.

    Raises:
        RunError: not a table of numbers.
    """
    try:
        rows = csv.DictReader(io.StringIO(content.decode()))
        return [{key: _number(value) for key, value in row.items() if value} for row in rows]
    except (AttributeError, OverflowError, TypeError, ValueError, csv.Error) as error:
        raise RunError(f"{name} is not a table of numbers ({error}). Restore it from a copy of the run.") from error
