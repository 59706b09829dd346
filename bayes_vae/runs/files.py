"""Writing a file so that, whatever happens, either the old or the new one is there, whole."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bayes_vae.errors import RunError
from bayes_vae.runs.locking import hold

__all__ = ["is_temporary", "new_folder", "put", "sync_folder", "temporary_name", "write_atomically"]


def temporary_name(path: Path) -> Path:
    """A hidden name beside ``path`` that nobody else uses."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def is_temporary(path: Path) -> bool:
    """Whether a name is one of :func:`temporary_name`, in use or left by a process that was killed."""
    return re.fullmatch(r"\..+\.[0-9a-f]{16}\.tmp", path.name) is not None


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file: to a temporary one in the same folder, synced to disk, then renamed.

    Args:
        path: the file; it gets the permissions that new files usually have.
        content: all of it.

    Raises:
        RunError: it could not be written. A file that was there before is untouched, no temporary one is
            left.
    """
    temporary = None
    try:
        temporary, descriptor = _held(path, _new_file)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if os.name != "posix":  # an open file cannot be renamed there
                file.close()
            os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise RunError(
            f"{path} could not be written ({error}). Make room on that disk, or choose another folder that "
            "you may write to."
        ) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):  # it would hide the error that matters
                temporary.unlink(missing_ok=True)


def put(path: Path, content: bytes) -> Path:
    """Write a file whole, its folder made where there is none; return its path.

    Raises:
        RunError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"the folder {path.parent} cannot be made ({error}): choose another --out.") from error
    write_atomically(path, content)
    return path


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside ``path``, held as one in use; whatever has its name at the end is deleted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, descriptor = _held(path, _new_folder)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if descriptor >= 0:
            os.close(descriptor)


def _held(path: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """Make something under a temporary name and hold it; its name, and the open descriptor.

    Between the two steps whoever cleans up after dead processes may take it for one of theirs: it is then made anew.
    """
    while True:
        temporary = temporary_name(path)
        descriptor = make(temporary)
        if descriptor < 0:  # a folder, on a system that opens none
            return temporary, descriptor
        hold(descriptor)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(temporary), os.fstat(descriptor)):
                return temporary, descriptor
        os.close(descriptor)


def _new_file(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)


def _new_folder(path: Path) -> int:
    while True:
        path.mkdir(exist_ok=True)
        if os.name != "posix":
            return -1
        with contextlib.suppress(FileNotFoundError):  # it was taken for one of a dead process
            return os.open(path, os.O_RDONLY)


def sync_folder(folder: Path) -> None:
    """Make renames within a folder last through a power cut, on systems that can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems
            raise
    finally:
        os.close(descriptor)
