"""The manifest of a run directory: the SHA-256 of each file, checked whenever a file is read."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from bayes_vae.errors import RunError
from bayes_vae.plain_files import read_plain_file

__all__ = [
    "CONFIG",
    "FORMAT_VERSION",
    "MANIFEST",
    "inside",
    "locate",
    "manifest_bytes",
    "of_one_manifest",
    "read_manifest",
    "read_verified",
    "run_path",
    "step_folder",
]

MANIFEST = "manifest.json"
CONFIG = "config.json"
FORMAT_VERSION = 1

LARGEST_MANIFEST, LARGEST_FILE = 10_000_000, 2**36
"""Bytes that a manifest and any other file of a run may have."""

_AT_THE_TOP = (CONFIG, "metrics.csv")
"""Files that are not in ``checkpoints/`` once a run is finished."""


def step_folder(number: int) -> str:
    """Where the files of one checkpoint of an unfinished run are."""
    return f"checkpoints/{number:06d}"


def locate(digests: Mapping[str, str], name: str) -> str:
    """Where a file of the training is: in a finished run always there, in an unfinished one with its checkpoint.

    Args:
        digests: the manifest.
        name: such as ``config.json`` or ``best.safetensors``.
    """
    numbered = sorted(path for path in digests if re.fullmatch(rf"checkpoints/\d+/{re.escape(name)}", path))
    if CONFIG not in digests and numbered:
        return numbered[-1]
    return name if name in _AT_THE_TOP else f"checkpoints/{name}"


def run_path(path: Any) -> Path:
    """The path of a run directory.

    Raises:
        RunError: empty, or neither text nor a path.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise RunError(
            f"the path of a run directory must be text or a pathlib.Path, got {type(path).__name__}: "
            "it is not a run directory."
        )
    if not str(path).strip():
        raise RunError(
            "the path of a run directory is empty: name a folder. An unset variable of a shell looks so, and it is not "
            "a run directory."
        )
    return Path(path)


def inside(folder: Path, name: str) -> Path:
    """The file of a run directory that has this name.

    Args:
        folder: the run directory.
        name: relative, with forward slashes.

    Raises:
        RunError: a name that leads out of the folder.
    """
    if not isinstance(name, str):
        raise RunError(f"the name of a file in {folder} must be text, got {type(name).__name__}.")
    plain = PurePosixPath(name)
    path = folder / plain
    try:
        leads_out = (
            plain.as_posix() != name
            or plain.is_absolute()
            or bool({"", ".", ".."} & {name, *plain.parts})
            or any(sign in name for sign in "\\:\0")
            or not path.resolve().is_relative_to(folder.resolve())
        )
    except (OSError, RuntimeError, ValueError):  # links in a circle, or half of a character
        leads_out = True
    if leads_out:
        raise RunError(
            f"{name!r} is no file name within the run directory {folder}: expected a relative one with "
            "forward slashes and without '..', such as 'figures/ladder.png'."
        )
    return path


def manifest_bytes(digests: Mapping[str, str]) -> bytes:
    """The text of a manifest; it says so where the run is unfinished, which is where it has no config.json."""
    mark = {} if CONFIG in digests else {"unfinished": True}
    content = {"format_version": FORMAT_VERSION, **mark, "files": dict(sorted(digests.items()))}
    return json.dumps(content, indent=2).encode()


def read_manifest(folder: Path) -> dict[str, str]:
    """Read name → SHA-256 of the files in a run directory.

    Raises:
        RunError: not a run directory, a damaged manifest, or one of another version.
    """
    try:
        content: Any = json.loads(read_plain_file(folder / MANIFEST, LARGEST_MANIFEST))
    except OSError as error:
        raise RunError(
            f"{folder} is not a run directory: it has no {MANIFEST} that can be read. Expected a folder "
            "that `bayes-vae train --out` or bayes_vae.save wrote."
        ) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise RunError(_damaged(folder, f"it is not JSON ({error})")) from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version != FORMAT_VERSION:
        raise RunError(
            f"{folder} was written in version {version} of the run format; this release of bayes_vae reads "
            f"version {FORMAT_VERSION}. Install the release that wrote it, or train again."
        )
    files = content.get("files") if isinstance(content, dict) else None
    if version is None or not isinstance(files, dict) or not all(isinstance(d, str) for d in files.values()):
        raise RunError(_damaged(folder, "it must hold format_version and files"))
    for name in files:
        inside(folder, name)
    return files


def _damaged(folder: Path, reason: str) -> str:
    return (
        f"the {MANIFEST} of {folder} is damaged: {reason}. Restore the folder from a copy, or train again "
        "into another one."
    )


Found = TypeVar("Found")


def of_one_manifest(folder: Path, read: Callable[[Mapping[str, str]], Found]) -> Found:
    """Read files that belong together; once more where a training has put others in their place meanwhile.

    Args:
        folder: the run directory.
        read: called with the manifest, by which it finds and checks every file.

    Raises:
        RunError: as ``read`` does of a manifest that stays as it is.
    """
    digests = read_manifest(folder)
    while True:
        try:
            return read(digests)
        except RunError:
            before, digests = digests, read_manifest(folder)
            if digests == before:
                raise


def read_verified(folder: Path, name: str, digests: Mapping[str, str]) -> bytes:
    """Read a file and compare it with its digest.

    Raises:
        RunError: the file is not listed, is missing, or is not what was written.
    """
    path = inside(folder, name)
    if name not in digests:
        raise RunError(
            f"the run directory {folder} has no file {name}: its manifest lists {', '.join(sorted(digests))}."
        )
    try:
        content = read_plain_file(path, LARGEST_FILE)
    except OSError as error:
        raise RunError(
            f"{path} is listed in the manifest but cannot be read ({error}). Restore it from a copy of the "
            "run directory, or make it again."
        ) from error
    if hashlib.sha256(content).hexdigest() != digests[name]:
        raise RunError(
            f"{path} is not the file that was written: its {len(content)} bytes do not match the digest in "
            f"{MANIFEST}, so it was changed, cut short or damaged. Restore it from a copy of the run "
            "directory, or make it again."
        )
    return content
