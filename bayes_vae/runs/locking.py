"""Locks on folders: held by a process, gone with it, whatever ended it."""

from __future__ import annotations

import errno
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bayes_vae.errors import RunError

__all__ = ["locked", "only_trainer"]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; wait for it if another process has it."""
    with _lock(folder, wait=True):
        yield


@contextmanager
def only_trainer(folder: Path) -> Iterator[None]:
    """Be the only process that trains the run in a folder.

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


@contextmanager
def _lock(folder: Path, *, wait: bool) -> Iterator[None]:
    if os.name != "posix":  # no locks on folders there
        yield
        return
    fcntl = importlib.import_module("fcntl")
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOLCK, errno.ENOTSUP):  # some network file systems
                raise
        yield
    finally:
        os.close(descriptor)
