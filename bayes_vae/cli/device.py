"""The threads that a command runs on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

__all__ = ["on_threads", "one_thread"]


def one_thread() -> AbstractContextManager[None]:
    """Run on one thread, which for small networks is as fast, and far faster where the cores are busy."""
    return on_threads(1)


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Run on so many threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
