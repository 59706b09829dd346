"""Where a command puts what it makes: named by --out, never over what is there unless --overwrite is given."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bayes_vae.errors import RunError
from bayes_vae.plain_files import free_file

__all__ = ["add_out", "file_for", "put"]


def add_out(group: Any, metavar: str, text: str, *, required: bool = False) -> None:
    """Add --out and --overwrite to a group of flags."""
    group.add_argument("--out", metavar=metavar, required=required, help=text)
    group.add_argument("--overwrite", action="store_true", help="replace files of those names that exist already")


def file_for(options: Namespace, endings: Iterable[str]) -> Path:
    """The file that --out names.

    Raises:
        RunError: another ending, a folder, or a file that is there without --overwrite.
    """
    path, endings = Path(options.out), tuple(endings)
    if path.suffix.lower() not in endings:
        raise RunError(f"--out {path}: expected a file that ends in {' or '.join(endings)}.")
    return free_file(path, overwrite=options.overwrite)


def put(path: Path, content: bytes) -> str:
    """Write a file whole, as :func:`bayes_vae.runs.files.put`; return its path as text."""
    from bayes_vae.runs import files

    return str(files.put(path, content))
