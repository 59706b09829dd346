"""Writing a file so that, whatever happens, either the old or the new one is there, whole."""

from __future__ import annotations

import errno
import os
import re
import secrets
from pathlib import Path

from bayes_vae.errors import RunError

__all__ = ["is_temporary", "sync_folder", "temporary_name", "write_atomically"]


def temporary_name(path: Path) -> Path:
    """A hidden name beside ``path`` that nobody else uses."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def is_temporary(path: Path) -> bool:
    """Whether a name is one of :func:`temporary_name`, left by a process that was killed."""
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
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise RunError(
            f"{path} could not be written ({error}). Make room on that disk, or choose another folder that "
            "you may write to."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


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
