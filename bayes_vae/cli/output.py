"""What a command prints: tables for people, JSON for programs, notes and progress beside them."""

from __future__ import annotations

import difflib
import json
import math
import sys
import time
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from bayes_vae.errors import printable

__all__ = ["Progress", "json_text", "nearest", "note", "printable", "say", "table"]

SECONDS_BETWEEN_LINES = 10.0
"""Between two lines of progress, if standard error is not a terminal."""


SECONDS_TOLD, SECONDS_OF_PILOT, SHARE_OF_PILOT = 60.0, 2.0, 0.01
"""From how long on work is told before it is done, and how long its beginning is watched: both, or half a minute."""

SECONDS_BETWEEN_ESTIMATES = 10.0
"""Before an estimate is corrected."""


def duration_text(seconds: float) -> str:
    """A time as people say it.

    >>> duration_text(2.4), duration_text(95), duration_text(480)
    ('2 s', '1.6 minutes', '8 minutes')
    """
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 1 else f"{minutes:.1f} minutes" if minutes < 5 else f"{minutes:.0f} minutes"


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


BAR = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
"""How a bar looks: the share that is done, the time so far and the time to come."""


class Progress(AbstractContextManager["Progress"]):
    """Called with (done, N) by the estimators: a bar on a terminal, elsewhere a line on standard error now and then.

    Work that will take over a minute is told with an estimate as soon as its first seconds show it, and again where it
    turns out twice as long, or half.

    Args:
        task: what is estimated.
        unit: what is counted.
    """

    def __init__(self, task: str, unit: str = "observations") -> None:
        self.task = task
        self._unit = unit
        self._bar: Any = None
        self._last = self._began = time.monotonic()
        self._first: tuple[float, float] | None = None
        self._told, self._silent_until = SECONDS_TOLD / 2, 0.0

    def __call__(self, done: float, total: int) -> None:
        """Show how far the work is."""
        now = time.monotonic()
        self._tell_time(now, done, total)
        if sys.stderr.isatty():
            self._show_bar(done, total)
        elif done < total and now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            note(f"{self.task}: {done / total:.0%} of {total:,} {self._unit}")

    def _tell_time(self, now: float, done: float, total: int) -> None:
        """Say how long all of it will take, at the pace since the first report: what came before is done once."""
        since, before = self._first = self._first or (now, done)
        passed = now - self._began
        early = now - since < SECONDS_OF_PILOT or (done - before < SHARE_OF_PILOT * total and passed < SECONDS_TOLD / 2)
        if early or now < self._silent_until or not before < done < total:
            return
        needed = passed + (total - done) * (now - since) / (done - before)
        if needed >= max(SECONDS_TOLD, 2 * self._told) or (self._told >= SECONDS_TOLD and needed <= self._told / 2):
            self._told, self._silent_until = max(needed, SECONDS_TOLD / 2), now + SECONDS_BETWEEN_ESTIMATES
            self._note(
                f"{self.task}: about {duration_text(needed)} in all, of which {duration_text(passed)} have passed"
            )

    def _note(self, text: str) -> None:
        """A line beside the bar, if there is one."""
        if self._bar is None:
            note(text)
        else:
            self._bar.write(printable(text), file=sys.stderr)

    def _show_bar(self, done: float, total: int) -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(
                total=total, desc=self.task, file=sys.stderr, dynamic_ncols=True, leave=False, bar_format=BAR
            )
        self._bar.update(done - self._bar.n)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
