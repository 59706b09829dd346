"""Writing a run directory: complete, or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bayes_vae.errors import RunError, SettingsError
from bayes_vae.process import is_main_process
from bayes_vae.runs.card import CARD, card_bytes
from bayes_vae.runs.checkpoint_files import POSITION, STATE, checkpoint_files
from bayes_vae.runs.config import config_of, json_bytes
from bayes_vae.runs.exchange import check_exchange, exchange
from bayes_vae.runs.files import is_temporary, new_folder, sync_folder, write_atomically
from bayes_vae.runs.leftovers import clean_leftovers
from bayes_vae.runs.locking import locked, only_trainer
from bayes_vae.runs.manifest import CONFIG, MANIFEST, manifest_bytes, read_manifest, run_path
from bayes_vae.runs.metrics import metrics_bytes
from bayes_vae.runs.run import Run
from bayes_vae.runs.weights import pack_weights
from bayes_vae.terms.whole_numbers import switch

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
    """Write a run to a new run directory, complete or not at all.

    Of several processes that torchrun started, only the one of rank 0 writes.

    Args:
        run: what :func:`bayes_vae.fit` returned.
        path: the folder to make.
        overwrite: replace the run directory that is there, in one step: at any instant one of the two has the name.

    Raises:
        RunError: something is there already, another process trains the run that is to be replaced, or the folder
            could not be written.
    """
    overwrite = switch("overwrite", overwrite)
    if not isinstance(run, Run):
        raise SettingsError(f"run must be what fit returned, got {type(run).__name__}.")
    if not is_main_process():
        return
    check_destination(path, overwrite=overwrite)
    folder = Path(path).resolve()
    clean_leftovers(folder)
    with put_folder(folder, contents(run), replace=overwrite and (folder / MANIFEST).is_file()):
        pass


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


@contextmanager
def put_folder(folder: Path, files: Mapping[str, bytes], *, replace: bool = False) -> Iterator[None]:
    """Write files and their manifest to a new folder, and put it in place when it is complete, in one step.

    Inside the block this process holds the lock of the run's trainer, taken before anybody could see the folder.

    Args:
        folder: where it goes: nothing may be there, or an empty folder.
        files: name → content.
        replace: whether to change places with the run directory that is there instead, which is then deleted.

    Raises:
        RunError: it could not be written; nothing is then left of it, and what was there is untouched.
    """
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    with ExitStack() as trainer:
        try:
            with new_folder(folder) as temporary:
                _write_folder(temporary, {**files, MANIFEST: manifest_bytes(digests)})
                trainer.enter_context(only_trainer(temporary))
                (_exchange if replace else _take)(temporary, folder)
                sync_folder(folder.parent)
        except OSError as error:
            raise RunError(
                f"the run directory {folder} could not be written ({error}). Make room on that disk, or choose "
                "another folder that you may write to."
            ) from error
        yield


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    for name in ("checkpoints", "figures"):
        (folder / name).mkdir(parents=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / name, content)


def _take(temporary: Path, folder: Path) -> None:
    """Give a finished folder its name: a rename that fails where another process came first."""
    if os.name != "posix" and folder.exists():  # there a rename fails for an empty folder too
        folder.rmdir()
    try:
        os.replace(temporary, folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        raise RunError(
            f"another process wrote to {folder} while this one was starting: nothing was changed there. Choose another "
            "--out."
        ) from error


def _exchange(temporary: Path, folder: Path) -> None:
    """Let a finished folder change places with a run that nobody trains or adds to meanwhile."""
    with only_trainer(folder), locked(folder):
        check_destination(folder, overwrite=True)
        exchange(temporary, folder)


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
        RunError: a file, a folder with something in it, or with ``overwrite`` one that holds more than a run, or one
            whose place no other can take here in one step.
    """
    try:
        folder = run_path(path).resolve()
        os.lstat(folder)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, RuntimeError, ValueError) as error:  # too long, a NUL, half of a character, links in a circle
        raise RunError(
            f"{str(path)[:200]!a} cannot be the name of a run directory ({' '.join(str(error).split())[:200]}). "
            "Choose another --out."
        ) from error
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
    check_exchange(folder)
