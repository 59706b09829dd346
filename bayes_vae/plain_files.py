"""Files are opened only if they are plain files of a size that can be meant, and none is replaced unasked."""

from __future__ import annotations

import errno
import os
import reprlib
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bayes_vae.errors import BayesVaeError, RunError

__all__ = ["check_plain_file", "free_file", "one_error", "read_plain_file"]


@contextmanager
def one_error(kind: type[BayesVaeError], found: str, remedy: str) -> Iterator[None]:
    """Let no error but this library's leave a block that reads what others wrote.

    Args:
        kind: of the error that takes the place of any other.
        found: how its message starts; what was raised follows.
        remedy: what to do.
    """
    try:
        yield
    except BayesVaeError:
        raise
    except Exception as error:
        text = ascii(" ".join(str(error).split())[:300])[1:-1]
        about = f"{type(error).__name__}{f': {text}' if text else ''}"
        raise kind(f"{found} ({about}). {remedy}") from error


def check_plain_file(path: str | Path, most: int) -> int:
    """Look at a file that another library will open: its size in bytes.

    Args:
        path: the file; a link is followed.
        most: bytes that it may have.

    Raises:
        OSError: as :func:`read_plain_file`.
    """
    try:
        found = os.stat(path)
    except ValueError as error:  # a NUL, or half of a character
        raise OSError(errno.EINVAL, "no file can have this name", ascii(os.fspath(path))) from error
    return _plain_size(found, path, most)


def _plain_size(found: os.stat_result, path: str | Path, most: int) -> int:
    if not stat.S_ISREG(found.st_mode):
        code = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
        raise OSError(code, "it is not a plain file", str(path))
    if found.st_size > most:
        raise OSError(errno.EFBIG, f"it has {found.st_size:,} bytes, and at most {most:,} make sense", str(path))
    return found.st_size


def read_plain_file(path: str | Path, most: int) -> bytes:
    """Read a file, all of it; a link is followed to its end once, and what is looked at is what is read.

    Args:
        path: the file.
        most: bytes that it may have.

    Raises:
        OSError: as ``open`` does, for a name that no file can have, for what is no plain file, and for too large a one.
    """
    try:
        # a pipe that nobody writes to would block, and a terminal would become this process's own
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
    except ValueError as error:  # a NUL, or half of a character
        raise OSError(errno.EINVAL, "no file can have this name", ascii(os.fspath(path))) from error
    try:
        size = _plain_size(os.fstat(descriptor), path, most)
    except OSError:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(size + 1)
        if len(content) != size:  # it grows, or says nothing of its size
            raise OSError(errno.EIO, f"it has {size:,} bytes and gives {len(content):,}", str(path))
        return content


def free_file(path: Any, *, overwrite: bool) -> Path:
    """The path of a file that is to be written; call it before a long work.

    Raises:
        RunError: no name of a file, a folder, or a file that is there already and may not be replaced.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str) or not str(path).strip():
        raise RunError(f"path must be the name of a file, as text or a pathlib.Path, got {reprlib.repr(path)}.")
    file = Path(path)
    try:
        os.lstat(file)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:  # too long, a NUL, half of a character
        why = ascii(" ".join(str(error).split())[:200])[1:-1]
        raise RunError(f"the path {str(path)[:200]!a} cannot be that of a file ({why}): choose another.") from error
    if file.is_dir():
        raise RunError(f"{path} is a folder: name a file with --out (path).")
    if file.exists() and not overwrite:
        raise RunError(
            f"{path} exists already: choose another --out, or give --overwrite (overwrite=True) to replace it."
        )
    above = next(parent for parent in file.absolute().parents if parent.exists())
    if not above.is_dir():
        raise RunError(f"{above} is a file, so no folder can be made below it: choose another --out (path).")
    return file
