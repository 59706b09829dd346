"""Data are read from plain files that fit the memory, and whatever a parser raises is one documented error."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import torch

from bayes_vae.errors import DataError
from bayes_vae.plain_files import check_plain_file, one_error
from bayes_vae.terms.memory import available_memory

__all__ = ["LARGEST_FILE", "check_fits", "check_is_plain", "home_expanded", "reading"]

LARGEST_FILE = 2**40
"""Bytes that a file of data may have; whether it fits the memory is looked at beside."""

NOT_WORTH_ASKING = 2**28
"""Bytes below which nobody is asked how much memory is free."""


def home_expanded(path: str | Path) -> Path:
    """A path whose ``~`` is the user's home; like a shell, as it stands where that home is not known."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def reading(path: str | Path) -> AbstractContextManager[None]:
    """Let no error but this library's leave a block that reads data.

    Raises:
        DataError: in place of any other exception.
    """
    remedy = "Save the data again, in one of the forms that load_data takes, or put a whole copy there."
    return one_error(DataError, f"{str(path)[:200]} cannot be read as data", remedy)


def check_is_plain(path: Path) -> int:
    """Size in bytes of a file that a parser is about to open.

    Raises:
        DataError: a folder, a pipe, a device, or too large a file.
    """
    with reading(path):
        return check_plain_file(path, LARGEST_FILE)


def check_fits(needed: int, what: object, remedy: str = "load fewer rows") -> None:
    """Refuse data for which there is not the memory, before they are read.

    Args:
        needed: bytes, at least.
        what: is read, for the message.
        remedy: what to do.

    Raises:
        DataError: says how much would be needed, and how much is there.
    """
    if needed < NOT_WORTH_ASKING:
        return
    free = available_memory(torch.device("cpu"))
    if free is not None and needed > free:
        raise DataError(
            f"{what} would need {needed / 1e9:,.3f} GB of memory, and {free / 1e9:,.3f} GB are free: {remedy}."
        )
