"""Writing a file so that, whatever happens, either the old or the new one is there, whole."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bayes_vae.errors import RunError
from bayes_vae.runs.locking import hold

__all__ = ["is_temporary", "new_folder", "sync_folder", "temporary_name", "write_atomically"]


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
    temporary = temporary_name(path)
    try:
        with temporary.open("xb") as file:
            hold(file.fileno())
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
        with contextlib.suppress(OSError):  # it would hide the error that matters
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside ``path``, held as one in use; whatever has its name at the end is deleted."""
    temporary = temporary_name(path)
    temporary.mkdir(parents=True)
    descriptor = os.open(temporary, os.O_RDONLY) if os.name == "posix" else None
    try:
        if descriptor is not None:
            hold(descriptor)
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


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
