"""What killed processes left: found by the lock that they no longer hold, told, and deleted."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bayes_vae.errors import LeftoverWarning
from bayes_vae.runs.files import is_temporary
from bayes_vae.runs.locking import try_to_hold
from bayes_vae.runs.manifest import MANIFEST

__all__ = ["clean_leftovers"]


def clean_leftovers(folder: Path) -> None:
    """Delete the temporary files and folders of dead processes in a run directory and beside it, with a warning.

    Where nothing has the run's own name, a whole run under a temporary one may be all that there is of it: that one
    stays, and the warning says so.

    Args:
        folder: the run directory, there or not.
    """
    deleted, kept = [], []
    for path in _temporaries(folder):
        with _of_the_dead(path) as dead:
            if dead and not folder.exists() and (path / MANIFEST).is_file():
                kept.append(path)
            elif dead and _delete(path):
                deleted.append(path.name)
    if deleted:
        text = f"{len(deleted)} unfinished file(s) or folder(s) that killed processes had left of {folder} were deleted"
        warnings.warn(f"{text}: {', '.join(deleted)}.", LeftoverWarning, stacklevel=3)
    for path in kept:
        warnings.warn(
            f"{path} may hold a run that a process was replacing when it was killed. Rename it to keep it, or delete "
            "it.",
            LeftoverWarning,
            stacklevel=3,
        )


def _temporaries(folder: Path) -> Iterator[Path]:
    """Temporary names of the run itself, then of the files in it."""
    start = f".{folder.name}."
    for place in (folder.parent, folder, folder / "checkpoints", folder / "figures"):
        if not place.is_dir():
            continue
        for path in sorted(place.iterdir()):
            if is_temporary(path) and not path.is_symlink() and (place != folder.parent or path.name.startswith(start)):
                yield path


@contextmanager
def _of_the_dead(path: Path) -> Iterator[bool]:
    """Whether no living process holds this; nobody else can take it inside the block."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:  # it went away, or is not ours to look at
        yield False
        return
    try:
        yield try_to_hold(descriptor)
    finally:
        os.close(descriptor)


def _delete(path: Path) -> bool:
    """Delete a file or a folder; whether it is gone."""
    try:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
        return not path.exists()
    except OSError:
        return False
