"""Writing a run directory while training goes on: always one whole checkpoint, at the end a finished run.

Each checkpoint goes to a folder of its own, ``checkpoints/000001`` and so on. The manifest is replaced last and in one
piece, so that whenever the process is killed, the manifest names files that are there, whole.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bayes_vae.errors import RunError
from bayes_vae.runs.checkpoint import Checkpoint
from bayes_vae.runs.checkpoint_files import BEST, POSITION, checkpoint_files, read_position
from bayes_vae.runs.config import config_of, json_bytes
from bayes_vae.runs.files import sync_folder, write_atomically
from bayes_vae.runs.leftovers import clean_leftovers
from bayes_vae.runs.locking import locked, only_trainer
from bayes_vae.runs.manifest import (
    CONFIG,
    MANIFEST,
    inside,
    locate,
    manifest_bytes,
    read_manifest,
    read_verified,
    step_folder,
)
from bayes_vae.runs.run import Run
from bayes_vae.runs.saving import check_destination, contents, put_folder
from bayes_vae.runs.weights import pack_weights

__all__ = ["RunWriter", "run_writer"]


@contextmanager
def run_writer(path: str | Path, run: Run, *, resume: bool = False) -> Iterator[RunWriter]:
    """Write a run directory during training, as the only process that does.

    Args:
        path: the folder to make, or with ``resume`` that of the unfinished run that goes on.
        run: the run as it stands, with its checkpoint.
        resume: whether the folder is there.

    Raises:
        RunError: something is there already, another process trains this run, or it went on since it was read.
    """
    config = config_of(run)
    del config["outcome"]
    assert run.checkpoint is not None
    if not resume:
        check_destination(path)
    folder = Path(path).resolve()
    clean_leftovers(folder)
    if resume:
        with only_trainer(folder):
            _check_unchanged(folder, run.checkpoint)
            writer = RunWriter(folder, config)
            writer.write(run.checkpoint)
            yield writer
    else:
        with put_folder(folder, _checkpoint_contents(1, config, run.checkpoint, with_best=True)):
            yield RunWriter(folder, config)


def _check_unchanged(folder: Path, checkpoint: Checkpoint) -> None:
    """Refuse a run that another process trained between the reading of its checkpoint and the taking of its lock."""
    digests = read_manifest(folder)
    stored = read_position(read_verified(folder, locate(digests, POSITION), digests), str(folder / POSITION))
    same = all(stored[name] == getattr(checkpoint, name) for name in ("epochs_done", "steps_done"))
    if CONFIG in digests or not same:
        raise RunError(
            f"{folder} was trained by another process since its checkpoint was read: it stands after "
            f"{stored['epochs_done']} epochs and {stored['steps_done']} steps now. Resume it once more."
        )


class RunWriter:
    """Writes checkpoints into an unfinished run directory, and finishes it.

    Args:
        folder: the run directory.
        config: what its config.json will hold, but for the outcome.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder, self._config = folder, dict(config)
        numbers = [int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdecimal()]
        self._number = max(numbers, default=0)
        self._best_epoch: int | None = None

    def write(self, checkpoint: Checkpoint) -> None:
        """Make this the checkpoint from which the run is resumed.

        Where it has other best weights, results of the old ones are deleted; other files that were added stay.

        Args:
            checkpoint: where training stands.

        Raises:
            RunError: it could not be written; the last checkpoint then still stands.
        """
        self._number += 1
        with_best = checkpoint.best_epoch != self._best_epoch
        files = _checkpoint_contents(self._number, self._config, checkpoint, with_best=with_best)
        with locked(self.folder):
            old = read_manifest(self.folder)
            keep = _added(old, with_results=not with_best)
            if not with_best:
                keep |= {name: old[name] for name in [locate(old, BEST)]}
            self._commit(files, keep, old)
        self._best_epoch = checkpoint.best_epoch

    def finish(self, run: Run) -> None:
        """Turn the directory into that of a finished run; results are deleted, other files that were added stay.

        Raises:
            RunError: it could not be written; the last checkpoint then still stands.
        """
        files = contents(run)
        with locked(self.folder):
            old = read_manifest(self.folder)
            (self.folder / "figures").mkdir(exist_ok=True)
            self._commit(files, _added(old, with_results=False), old)
            for path in (self.folder / "checkpoints").iterdir():
                if path.name.isdecimal():
                    shutil.rmtree(path, ignore_errors=True)

    def _commit(self, files: Mapping[str, bytes], keep: dict[str, str], old: Mapping[str, str]) -> None:
        """Write new files, then the manifest that lists them, then delete what neither manifest lists."""
        _write_new(self.folder, files)
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()} | keep
        write_atomically(self.folder / MANIFEST, manifest_bytes(digests))
        for name in old.keys() - digests.keys():
            if not _is_step(name):
                inside(self.folder, name).unlink(missing_ok=True)
        needed = {name.rpartition("/")[0] for name in (*old, *digests)}  # another process may be reading the old one
        for path in (self.folder / "checkpoints").iterdir():
            if path.name.isdecimal() and f"checkpoints/{path.name}" not in needed:
                shutil.rmtree(path, ignore_errors=True)


_RESULT = r"(evaluation(-[\w-]+)?\.(json|nc)|report(-[\w-]+)?\.html|figures/[^/]+\.png)"
"""Files that the library computes from the best weights."""


def _added(digests: Mapping[str, str], *, with_results: bool) -> dict[str, str]:
    """The files that did not come from the training, with or without results of the best weights."""
    return {
        name: digest
        for name, digest in digests.items()
        if not _is_step(name) and (with_results or not re.fullmatch(_RESULT, name))
    }


def _is_step(name: str) -> bool:
    return re.match(r"checkpoints/\d+/", name) is not None


def _checkpoint_contents(
    number: int, config: Mapping[str, Any], checkpoint: Checkpoint, *, with_best: bool
) -> dict[str, bytes]:
    files = {CONFIG: json_bytes(dict(config), "the settings of the run"), **checkpoint_files(checkpoint)}
    if with_best:
        files[BEST] = pack_weights(checkpoint.best_weights)
    return {f"{step_folder(number)}/{name}": content for name, content in files.items()}


def _write_new(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files that no manifest lists yet, down to the disk."""
    try:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with (folder / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for parent in {(folder / name).parent for name in files}:
            sync_folder(parent)
    except OSError as error:
        raise RunError(
            f"a checkpoint could not be written to {folder} ({error}). Make room on that disk; the last one still "
            "stands: go on from it with --resume."
        ) from error
