"""How far long work is, and how long it will take: told while it runs, on standard error."""

from __future__ import annotations

import math
import reprlib
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from bayes_vae.errors import SettingsError, printable

__all__ = ["Progress", "ProgressBar", "TimeEstimate", "duration_text", "shown"]

Progress = Callable[[float, int], None]
"""Called with the observations done, in proportion within a batch, and their number."""

SECONDS_BETWEEN_LINES = 10.0
"""Between two lines of progress, if standard error is not a terminal."""

SECONDS_TOLD, SECONDS_OF_PILOT, SHARE_OF_PILOT = 60.0, 2.0, 0.01
"""From how long on work is told before it is done, and how long its beginning is watched: both, or half a minute."""

SECONDS_BETWEEN_ESTIMATES = 10.0
"""Before an estimate is corrected."""

BAR = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
"""How a bar looks: the share that is done, the time so far and the time to come."""


def duration_text(seconds: float) -> str:
    """A time as people say it.

    >>> duration_text(2.4), duration_text(95), duration_text(480)
    ('2 s', '1.6 minutes', '8 minutes')
    """
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 1 else f"{minutes:.1f} minutes" if minutes < 5 else f"{minutes:.0f} minutes"


class TimeEstimate:
    """How long all of some work will take, once that is known to be over a minute.

    Args:
        most: seconds that it may take.
    """

    def __init__(self, most: float = math.inf) -> None:
        self._most = most
        self._began = time.monotonic()
        self._first: tuple[float, float] | None = None
        self._told, self._silent_until = SECONDS_TOLD / 2, 0.0

    def __call__(self, done: float, total: int) -> str:
        """At the pace since the first report, as what came before is done once; empty where there is nothing to say.

        It is said as soon as the first seconds show it, and again where it turns out twice as long, or half.
        """
        now = time.monotonic()
        since, before = self._first = self._first or (now, done)
        passed = now - self._began
        early = now - since < SECONDS_OF_PILOT or (done - before < SHARE_OF_PILOT * total and passed < SECONDS_TOLD / 2)
        if early or now < self._silent_until or not before < done < total:
            return ""
        needed = min(passed + (total - done) * (now - since) / (done - before), max(self._most, passed))
        known = self._told >= SECONDS_TOLD and needed <= self._told / 2
        if not (known or needed >= max(SECONDS_TOLD, 2 * self._told)):
            return ""
        self._told, self._silent_until = max(needed, SECONDS_TOLD / 2), now + SECONDS_BETWEEN_ESTIMATES
        return f"about {duration_text(needed)} in all, of which {duration_text(passed)} have passed"


class ProgressBar(AbstractContextManager["ProgressBar"]):
    """Called with (done, N) by the estimators: a bar on a terminal, elsewhere a line on standard error now and then.

    Work that will take over a minute is told with a :class:`TimeEstimate`.

    Args:
        task: what is estimated.
        unit: what is counted.
        most: seconds that it may take.
    """

    def __init__(self, task: str, unit: str = "observations", most: float = math.inf) -> None:
        self.task = task
        self._unit = unit
        self._bar: Any = None
        self._last = time.monotonic()
        self._estimate = TimeEstimate(most)

    def __call__(self, done: float, total: int) -> None:
        """Show how far the work is."""
        needed = self._estimate(done, total)
        if needed:
            self._note(f"{self.task}: {needed}")
        if sys.stderr.isatty():
            self._show_bar(done, total)
        elif done < total and time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            self._note(f"{self.task}: {done / total:.0%} of {total:,} {self._unit}")

    def _note(self, text: str) -> None:
        """A line beside the bar, if there is one."""
        if self._bar is None:
            sys.stderr.write(f"{printable(text)}\n")
            sys.stderr.flush()
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


def shown(
    progress: Progress | bool | None, task: str, unit: str = "observations", most: float = math.inf
) -> AbstractContextManager[Progress | None]:
    """What to call with (done, N): the caller's own function, a :class:`ProgressBar` where it is True, or nothing.

    Raises:
        SettingsError: something else.
    """
    if progress is True:
        return ProgressBar(task, unit, most)
    if progress is None or progress is False:
        return nullcontext(None)
    if not callable(progress):
        raise SettingsError(
            f"progress must be True, or a function that is called with (done, N), got {reprlib.repr(progress)}."
        )
    return nullcontext(progress)
