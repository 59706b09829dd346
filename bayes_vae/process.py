"""What this process is asked, by signals and by torchrun: signals that end it are treated as Ctrl-C is."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from bayes_vae.errors import ProcessesError, Terminated

__all__ = [
    "ENDING_SIGNALS",
    "ENDS_WITH_STDIN",
    "end_with_stdin",
    "ending_signals_raise",
    "is_main_process",
    "local_rank_and_size",
    "rank_and_size",
    "terminate",
    "work_alone",
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
    """Whether this process writes: of several that work together, only the one of rank 0 does."""
    return rank_and_size()[0] == 0


def rank_and_size() -> tuple[int, int]:
    """The number of this process among those that work together, from 0, and how many they are; (0, 1) when alone.

    They are those of torch's process group where somebody opened one, else those that torchrun started.
    """
    torch_distributed = sys.modules.get("torch.distributed")  # there is no group where nobody imported it
    if torch_distributed and torch_distributed.is_available() and torch_distributed.is_initialized():
        return torch_distributed.get_rank(), torch_distributed.get_world_size()
    return _of_environment("RANK", "WORLD_SIZE")


def work_alone() -> None:
    """Forget the processes that were started beside this one, here and in those that it starts."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        os.environ.pop(name, None)


def local_rank_and_size() -> tuple[int, int]:
    """The same among the processes on this machine."""
    return _of_environment("LOCAL_RANK", "LOCAL_WORLD_SIZE")


def _of_environment(rank_name: str, size_name: str) -> tuple[int, int]:
    rank, size = (os.environ.get(name, "") for name in (rank_name, size_name))
    if not (rank.isdecimal() and size.isdecimal() and int(size) > 1):
        return 0, 1
    if int(rank) >= int(size):
        raise ProcessesError(
            f"{rank_name}={rank} in the environment, but {size_name}={size}: expected a number from 0 to "
            f"{int(size) - 1}. Start the processes with torchrun, which sets both, or unset them."
        )
    return int(rank), int(size)


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
