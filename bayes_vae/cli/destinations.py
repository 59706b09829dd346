"""Where a command puts what it makes: named by --out, never over what is there unless --overwrite is given."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bayes_vae.errors import RunError

__all__ = ["add_out", "file_for", "put", "require_free"]


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
    require_free([path], overwrite=options.overwrite)
    return path


def require_free(paths: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse files that cannot be written, or that are there already; call it before a long work.

    Raises:
        RunError: says which, and what to do.
    """
    for path in paths:
        if path.is_dir():
            raise RunError(f"{path} is a folder: name a file with --out.")
        if path.exists() and not overwrite:
            raise RunError(f"{path} exists already: choose another --out, or give --overwrite to replace it.")
        above = next(parent for parent in path.absolute().parents if parent.exists())
        if not above.is_dir():
            raise RunError(f"{above} is a file, so no folder can be made below it: choose another --out.")


def put(path: Path, content: bytes) -> str:
    """Write a file whole, its folder made where there is none; return its path as text.

    Raises:
        RunError: it cannot be written.
    """
    from bayes_vae.runs.files import write_atomically

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"the folder {path.parent} cannot be made ({error}): choose another --out.") from error
    write_atomically(path, content)
    return str(path)
