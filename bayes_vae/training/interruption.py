"""Ctrl-C and SIGTERM while training: acted on between two steps, where the state is whole; a second one at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from bayes_vae.errors import Terminated
from bayes_vae.process import ENDING_SIGNALS, terminate

__all__ = ["Interruption", "deferred_interruption"]


class Interruption:
    """Whether the process was asked to end.

    Attributes:
        number: of the signal that asked for it; None as long as there was none.
    """

    def __init__(self) -> None:
        self.number: int | None = None

    @property
    def requested(self) -> bool:
        """Whether to stop after the step in progress."""
        return self.number is not None

    def request(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: note the first, raise ``KeyboardInterrupt`` at the second."""
        if self.requested:
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)
        self.number = number


@contextmanager
def deferred_interruption() -> Iterator[Interruption]:
    """Note Ctrl-C, SIGTERM and SIGHUP inside the block; the process's own handlers are back at its end.

    A signal that asked the process to end is then sent once more, to whatever handles it: by default it ends the
    process, whose checkpoint is there. Outside the main thread, and where a program handles a signal in a way of its
    own, nothing is changed.
    """
    interruption = Interruption()
    deferred = _deferred() if threading.current_thread() is threading.main_thread() else {}
    try:
        for number in deferred:
            signal.signal(number, interruption.request)
        yield interruption
    finally:
        for number, handler in deferred.items():
            signal.signal(number, handler)
        if interruption.number is not None and interruption.number in ENDING_SIGNALS:
            signal.raise_signal(interruption.number)


def _deferred() -> dict[int, Any]:
    """Signal → its handler, of those that nobody else handles."""
    usual: dict[int, tuple[Any, ...]] = {signal.SIGINT: (signal.default_int_handler,)}
    usual |= dict.fromkeys(ENDING_SIGNALS, (signal.SIG_DFL, terminate))
    return {number: signal.getsignal(number) for number, own in usual.items() if signal.getsignal(number) in own}
