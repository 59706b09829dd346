"""Locks on files and folders: held by a process, gone with it, whatever ended it."""

from __future__ import annotations

import errno
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bayes_vae.errors import RunError

__all__ = ["hold", "locked", "only_trainer", "try_to_hold"]

_WITHOUT_LOCKS = (errno.EINVAL, errno.ENOLCK, errno.ENOTSUP)
"""What some network file systems answer."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; wait for it if another process has it."""
    with _lock(folder, wait=True):
        yield


@contextmanager
def only_trainer(folder: Path) -> Iterator[None]:
    """Be the only process that trains the run in a folder.

    The lock lies on ``checkpoints``, which is made with the run, moves with it and is never replaced.

    Raises:
        RunError: another one does.
    """
    try:
        with _lock(folder / "checkpoints", wait=False):
            yield
    except BlockingIOError as error:
        raise RunError(
            f"{folder} is being trained by another process, and two would mix their checkpoints. Wait for it or stop "
            "it first."
        ) from error


def hold(descriptor: int) -> None:
    """Mark an open file or folder as one in use, until it is closed; wait for whoever holds it."""
    _flock(descriptor, wait=True)


def try_to_hold(descriptor: int) -> bool:
    """Hold an open file or folder, unless a process that is alive does."""
    try:
        return _flock(descriptor, wait=False)
    except BlockingIOError:
        return False


@contextmanager
def _lock(path: Path, *, wait: bool) -> Iterator[None]:
    if os.name != "posix":  # no locks on folders there
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _flock(descriptor, wait=wait)
        while not os.path.samestat(os.fstat(descriptor), os.stat(path)):  # replaced while this process waited
            os.close(descriptor)
            descriptor = os.open(path, os.O_RDONLY)
            _flock(descriptor, wait=wait)
        yield
    finally:
        os.close(descriptor)


def _flock(descriptor: int, *, wait: bool) -> bool:
    """Lock; whether this system could.

    Raises:
        BlockingIOError: another process holds it, and ``wait`` is not set.
    """
    if os.name != "posix":
        return False
    fcntl = importlib.import_module("fcntl")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
        return False
    return True
