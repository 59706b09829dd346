"""Writing a run directory: complete, or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from bayes_vae.errors import RunError
from bayes_vae.runs.card import CARD, card_bytes
from bayes_vae.runs.checkpoint_files import POSITION, STATE, checkpoint_files
from bayes_vae.runs.config import config_of, json_bytes
from bayes_vae.runs.files import is_temporary, sync_folder, temporary_name, write_atomically
from bayes_vae.runs.manifest import CONFIG, MANIFEST, manifest_bytes, read_manifest
from bayes_vae.runs.metrics import metrics_bytes
from bayes_vae.runs.run import Run
from bayes_vae.runs.weights import pack_weights

__all__ = ["CORE_FILES", "OWN_FILES", "check_destination", "contents", "put_folder", "save"]

CORE_FILES = (
    "config.json",
    "metrics.csv",
    "model.safetensors",
    "checkpoints/best.safetensors",
    "checkpoints/last.safetensors",
)
"""The files of every finished run directory."""

OWN_FILES = (*CORE_FILES, CARD, f"checkpoints/{STATE}", f"checkpoints/{POSITION}", MANIFEST)
"""Files that belong to the training, and that nothing else may replace."""


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
    put_folder(Path(path).resolve(), contents(run))


def contents(run: Run) -> dict[str, bytes]:
    """The files of a finished run but for its manifest, by name."""
    best, config = pack_weights(run.best_state), config_of(run)
    files = {
        "config.json": json_bytes(config, "the settings of the run"),
        "metrics.csv": metrics_bytes(run.history),
        "model.safetensors": best,
        "checkpoints/best.safetensors": best,
        "checkpoints/last.safetensors": pack_weights(run.last_state),
        CARD: card_bytes(run, config),
    }
    if run.checkpoint is not None:
        state = checkpoint_files(run.checkpoint)
        files |= {f"checkpoints/{name}": state[name] for name in (STATE, POSITION)}
    return files


def put_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files and their manifest to a new folder, and put it in place when it is complete.

    Raises:
        RunError: it could not be written; nothing is then left of it.
    """
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    temporary = temporary_name(folder)
    try:
        _write_folder(temporary, {**files, MANIFEST: manifest_bytes(digests)})
        _put_in_place(temporary, folder)
    except OSError as error:
        raise RunError(
            f"the run directory {folder} could not be written ({error}). Make room on that disk, or choose "
            "another folder that you may write to."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    for name in ("checkpoints", "figures"):
        (folder / name).mkdir(parents=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
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


_ALLOW = "allow it from Python with save(..., overwrite=True)"

_LEFT_BEHIND = r"checkpoints/\d+/|tensorboard/"
"""Files of the training that no manifest lists."""


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
        unfinished = CONFIG not in read_manifest(folder)
        kind, other_way = ("an unfinished run", f"go on with it: --resume {path}") if unfinished else ("a run", _ALLOW)
        raise RunError(
            f"{folder} already holds {kind}, and a run is never replaced unasked. Choose another --out, or {other_way}."
        )
    own = {MANIFEST, *read_manifest(folder)}
    found = (file for file in folder.rglob("*") if not file.is_dir() and not is_temporary(file))
    names = {file.relative_to(folder).as_posix() for file in found} - own
    others = sorted(name for name in names if not re.match(_LEFT_BEHIND, name))
    if others:
        raise RunError(
            f"{folder} holds files that are not the run's: {', '.join(others)}. Replacing the run would "
            "delete them: move them away, or choose another --out."
        )
