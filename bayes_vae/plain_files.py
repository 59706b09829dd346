"""Files are opened only if they are plain files of a size that can be meant: no pipe, no device, no endless one."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

__all__ = ["read_plain_file"]


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
        raise OSError(errno.EINVAL, "no file can have this name", repr(os.fspath(path))) from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        code = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
        raise OSError(code, "it is not a plain file", str(path))
    with os.fdopen(descriptor, "rb") as file:
        if found.st_size > most:
            raise OSError(errno.EFBIG, f"it has {found.st_size:,} bytes, and at most {most:,} make sense", str(path))
        content = file.read(found.st_size + 1)
        if len(content) != found.st_size:  # it grows, or says nothing of its size
            raise OSError(errno.EIO, f"it has {found.st_size:,} bytes and gives {len(content):,}", str(path))
        return content
