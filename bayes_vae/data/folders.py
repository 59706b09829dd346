"""Where the files of named data sets are: a folder that was named, or the user's cache, which downloads fill."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable, Iterable
from http.client import HTTPException
from pathlib import Path

from bayes_vae.data.safe_reading import home_expanded, reading
from bayes_vae.errors import DataError

__all__ = ["cache_folder", "find_or_download"]


def find_or_download(
    root: str | Path | None,
    inside: str,
    needed: Iterable[str],
    message: Callable[[Path], str],
    download: Callable[[str], object],
) -> Path:
    """The folder that holds a data set; a download fills the cache only, never a folder that was named.

    Args:
        root: the folder of all data sets; else BAYES_VAE_DATA, else the user's cache folder.
        inside: the data set's own folder within it.
        needed: names of files or folders that must be there.
        message: of the folder, what to say when something is missing.
        download: downloads everything into a folder that is given, as torchvision does.

    Returns:
        ``root/inside``.

    Raises:
        DataError: something is missing, and could not be downloaded.
    """
    given = root or os.environ.get("BAYES_VAE_DATA")
    base = home_expanded(given) if given else cache_folder()
    folder = base / inside
    with reading(folder):
        if all((folder / name).exists() for name in needed):
            return folder
    if given:
        raise DataError(message(folder))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=base) as temporary:  # so that an interruption leaves no half file
            download(temporary)
            for path in (Path(temporary) / inside).iterdir():
                if not (folder / path.name).exists():
                    os.replace(path, folder / path.name)
    except (RuntimeError, OSError, EOFError, HTTPException) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{message(folder)} Downloading it failed: {reason}") from error
    return folder


def cache_folder() -> Path:
    """The user's cache folder for this library, as the platform has it."""
    system = platform.system()
    try:
        if system == "Windows":
            base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        elif system == "Darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise DataError(
            "the folder of downloaded data is not known, because this user has no home folder. Name one with "
            "--data-root (root= in Python) or the environment variable BAYES_VAE_DATA."
        ) from error
    return Path(base) / "bayes_vae"
