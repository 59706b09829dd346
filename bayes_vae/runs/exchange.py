"""Two folders change places in one step, so that at any instant one of them has the name."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from bayes_vae.errors import RunError
from bayes_vae.runs.files import new_folder

__all__ = ["check_exchange", "exchange"]

_LINUX_EXCHANGE, _MAC_SWAP, _HERE = 2, 2, -100
"""``RENAME_EXCHANGE`` of renameat2, ``RENAME_SWAP`` of renamex_np, ``AT_FDCWD``."""


def exchange(one: Path, other: Path) -> None:
    """Let two folders of one file system change places.

    Raises:
        RunError: this system or its file system cannot; nothing was changed.
    """
    failure = _exchange(os.fsencode(one), os.fsencode(other))
    if failure:
        raise _refusal(other, failure)


def check_exchange(folder: Path) -> None:
    """Find out before any work whether another folder could take the place of this one: two empty ones try it.

    Raises:
        RunError: this system or its file system cannot; nothing was changed.
    """
    try:
        with new_folder(folder) as temporary:
            pair = [temporary / name for name in ("one", "other")]
            for path in pair:
                path.mkdir()
            failure = _exchange(*map(os.fsencode, pair))
    except OSError as error:
        failure = str(error)
    if failure:
        raise _refusal(folder, failure)


def _refusal(folder: Path, failure: str) -> RunError:
    return RunError(
        f"{folder} cannot be replaced in one step here ({failure}), and in two steps a power cut between them would "
        "leave neither run. Save to a new folder, then delete the old one."
    )


def _exchange(one: bytes, other: bytes) -> str:
    """What keeps two paths from changing places; empty once they have."""
    library: Any = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
    if sys.platform == "darwin" and hasattr(library, "renamex_np"):
        call = partial(library.renamex_np, one, other, _MAC_SWAP)
    elif hasattr(library, "renameat2"):
        call = partial(library.renameat2, _HERE, one, _HERE, other, _LINUX_EXCHANGE)
    else:
        return "the system has no such call"
    return os.strerror(ctypes.get_errno()) if call() else ""
