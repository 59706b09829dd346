"""Progress of a long estimate: a bar on a terminal, plain lines at a modest rate elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from typing import Any

from bayes_vae.cli.output import note

__all__ = ["Progress"]

SECONDS_BETWEEN_LINES = 10.0


class Progress(AbstractContextManager["Progress"]):
    """Called with (done, N), as the estimators do; written to standard error.

    Args:
        task: what is estimated.
        unit: what is counted.
    """

    def __init__(self, task: str, unit: str = "observations") -> None:
        self.task = task
        self._unit = unit
        self._bar: Any = None
        self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Show how far the work is."""
        if sys.stderr.isatty():
            self._show_bar(done, total)
        elif done < total and time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            note(f"{self.task}: {done:,} of {total:,} {self._unit}")

    def _show_bar(self, done: int, total: int) -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(total=total, desc=self.task, file=sys.stderr, dynamic_ncols=True, leave=False)
        self._bar.update(done - self._bar.n)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
