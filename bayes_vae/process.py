"""What this process is asked, by signals and by torchrun: signals that end it are treated as Ctrl-C is."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from bayes_vae.errors import Terminated

__all__ = [
    "ENDING_SIGNALS",
    "ENDS_WITH_STDIN",
    "end_with_stdin",
    "ending_signals_raise",
    "is_main_process",
    "terminate",
]

ENDING_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""From a scheduler or a container, and from a terminal that was closed."""


ENDS_WITH_STDIN = "BAYES_VAE_ENDS_WITH_STDIN"
"""Environment variable by which a command that starts others ties them to its own life."""


def end_with_stdin() -> None:
    """End this process, as SIGTERM does, when its standard input is closed: when its parent is gone, even by kill -9.

    Only where the parent asked for it in the environment, which this process's own children do not inherit.
    """
    if os.environ.pop(ENDS_WITH_STDIN, ""):
        threading.Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def is_main_process() -> bool:
    """Whether this process writes: of several that torchrun started, only the one of rank 0 does."""
    rank, size = (os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE"))
    return not (rank.isdecimal() and size.isdecimal() and int(size) > 1 and int(rank) > 0)


def terminate(number: int, frame: FrameType | None) -> None:
    """Handle such a signal."""
    raise Terminated(number)


@contextmanager
def ending_signals_raise() -> Iterator[None]:
    """Let these signals raise :class:`bayes_vae.errors.Terminated` inside the block, where nobody else handles them."""
    main = threading.current_thread() is threading.main_thread()
    taken = [number for number in ENDING_SIGNALS if main and signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in taken:
            signal.signal(number, terminate)
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
