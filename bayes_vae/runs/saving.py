"""Writing a run directory: complete, or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from bayes_vae.errors import RunError
from bayes_vae.runs.config import config_of, json_bytes
from bayes_vae.runs.files import is_temporary, sync_folder, temporary_name, write_atomically
from bayes_vae.runs.manifest import MANIFEST, manifest_bytes, read_manifest
from bayes_vae.runs.metrics import metrics_bytes
from bayes_vae.runs.run import Run
from bayes_vae.runs.weights import pack_weights

__all__ = ["CORE_FILES", "check_destination", "save"]

CORE_FILES = (
    "config.json",
    "metrics.csv",
    "model.safetensors",
    "checkpoints/best.safetensors",
    "checkpoints/last.safetensors",
)
"""The files of every run directory, which only :func:`save` writes."""


def save(run: Run, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a run to a new run directory.

    Args:
        run: what :func:`bayes_vae.fit` returned.
        path: the folder to make.
        overwrite: replace the run directory that is there; it stays as it is until the new one is complete.

    Raises:
        RunError: something is there already, or the folder could not be written.
    """
    check_destination(path, overwrite=overwrite)
    folder = Path(path).resolve()
    files = _contents(run)
    temporary = temporary_name(folder)
    try:
        _write_folder(temporary, files)
        _put_in_place(temporary, folder)
    except OSError as error:
        raise RunError(
            f"the run directory {folder} could not be written ({error}). Make room on that disk, or choose "
            "another folder that you may write to."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _contents(run: Run) -> dict[str, bytes]:
    best = pack_weights(run.best_state)
    files = {
        "config.json": json_bytes(config_of(run), "the settings of the run"),
        "metrics.csv": metrics_bytes(run.history),
        "model.safetensors": best,
        "checkpoints/best.safetensors": best,
        "checkpoints/last.safetensors": pack_weights(run.last_state),
    }
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return files | {MANIFEST: manifest_bytes(digests)}


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    for name in ("checkpoints", "figures"):
        (folder / name).mkdir(parents=True)
    for name, content in files.items():
        write_atomically(folder / name, content)


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Rename the finished folder; an old one is set aside, put back if the rename fails, and then deleted."""
    if not folder.exists() or not any(folder.iterdir()):
        if folder.exists():
            folder.rmdir()
        os.replace(temporary, folder)
        sync_folder(folder.parent)
        return
    old = temporary_name(folder)
    os.replace(folder, old)
    try:
        os.replace(temporary, folder)
    except BaseException:
        os.replace(old, folder)
        raise
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _check_writable(folder: Path) -> None:
    """The nearest folder that exists must take new files: found out before a long training, not after it."""
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not nearest.is_dir():
        raise RunError(f"{nearest} is a file, so no folder can be made below it. Choose another --out.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise RunError(f"{nearest} cannot be written to. Choose another --out, or change its permissions.")


def check_destination(path: str | Path, *, overwrite: bool = False) -> None:
    """Refuse a folder that a run cannot be saved to; call it before a long training.

    Args:
        path: where the run is to go.
        overwrite: whether a run directory that is there may be replaced.

    Raises:
        RunError: a file, a folder with something in it, or with ``overwrite`` one that holds more than a run.
    """
    folder = Path(path).resolve()
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file, but a run directory is a folder. Choose another --out.")
    _check_writable(folder)
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / MANIFEST).is_file():
        raise RunError(
            f"{folder} is not empty and not a run directory (no {MANIFEST}), so nothing is written there. "
            "Choose another --out, or empty the folder."
        )
    if not overwrite:
        raise RunError(
            f"{folder} already holds a run, and a run is never replaced unasked. Choose another --out, or "
            "allow it from Python with save(..., overwrite=True)."
        )
    own = {MANIFEST, *read_manifest(folder)}
    found = (file for file in folder.rglob("*") if not file.is_dir() and not is_temporary(file))
    others = sorted({file.relative_to(folder).as_posix() for file in found} - own)
    if others:
        raise RunError(
            f"{folder} holds files that are not the run's: {', '.join(others)}. Replacing the run would "
            "delete them: move them away, or choose another --out."
        )
