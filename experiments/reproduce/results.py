"""What the reproductions share: figures beside published ones, and a results file that says how they came about."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bayes_vae.runs.config import machine, versions
from bayes_vae.runs.files import write_atomically
from bayes_vae.vocabulary.number_text import value_text, with_error

__all__ = ["Figure", "print_figures", "write_results"]

_STARTED = time.perf_counter()


@dataclass(frozen=True)
class Figure:
    """One number beside the one that it reproduces.

    Attributes:
        name: what it is, with its conditions.
        value: as found here.
        published: of the paper, or of the closed form; None where there is none.
        error: standard error of ``value``, over draws and data; None where it was computed exactly.
        differs: how the protocol differs from the published one, in a few words.
    """

    name: str
    value: float
    published: float | None = None
    error: float | None = None
    differs: str = ""


def print_figures(figures: Sequence[Figure]) -> None:
    """A line for each figure."""
    width = max(len(figure.name) for figure in figures)
    print(f"{'':<{width}}  {'here':<22}{'published or exact':<20}")
    for figure in figures:
        there = "" if figure.published is None else _text(figure.published)
        print(f"{figure.name:<{width}}  {_text(figure.value, figure.error):<22}{there:<20}{figure.differs}".rstrip())


def _text(value: float, error: float | None = None) -> str:
    if error is not None:
        return with_error(value, error)
    if value == round(value):
        return f"{value:g}"
    return f"{value:.1e}" if 0 < abs(value) < 5e-4 else value_text(value)


def write_results(path: str | None, name: str, settings: dict[str, Any], figures: Sequence[Figure]) -> None:
    """Write the results as JSON: settings, versions, machine, seconds and every figure.

    Args:
        path: the file; nothing is written when None.
        name: of the reproduction.
        settings: of this run of it.
        figures: what was found.
    """
    if path is None:
        return
    content = {
        "reproduction": name,
        "settings": settings,
        "versions": versions(),
        "machine": machine(),
        "seconds": round(time.perf_counter() - _STARTED, 1),
        "figures": [asdict(figure) for figure in figures],
    }
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
    print(f"Results: {file}")
