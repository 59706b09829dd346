"""Reading a run directory: every file is compared with its digest before it is believed."""

from __future__ import annotations

import hashlib
import json
import math
import re
import warnings
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from bayes_vae.errors import RunError, UnfinishedRunWarning
from bayes_vae.pairs import build_program
from bayes_vae.runs.boundary import documented
from bayes_vae.runs.checkpoint import Checkpoint
from bayes_vae.runs.checkpoint_files import BEST, METRICS, POSITION, STATE, read_checkpoint
from bayes_vae.runs.files import write_atomically
from bayes_vae.runs.locking import locked
from bayes_vae.runs.manifest import (
    CONFIG,
    FORMAT_VERSION,
    MANIFEST,
    inside,
    locate,
    manifest_bytes,
    of_one_manifest,
    read_manifest,
    read_verified,
    run_path,
)
from bayes_vae.runs.metrics import read_metrics
from bayes_vae.runs.pairs import fill_pair
from bayes_vae.runs.saving import CORE_FILES, OWN_FILES
from bayes_vae.runs.schema import check_config, check_size
from bayes_vae.runs.weights import unpack_weights

__all__ = ["RunDirectory", "load", "read_config", "unfinished_note"]

LARGEST_CONFIG = 10_000_000
"""Bytes; a configuration has a few thousand."""


class RunDirectory:
    """A run on disk.

    Args:
        path: the folder that :func:`bayes_vae.save` or a training wrote.

    Raises:
        RunError: not a run directory, or one of its own files is missing, was changed, or is of another
            version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = run_path(path)
        self.config = read_config(path)
        of_one_manifest(self.path, self._check_files)

    def _check_files(self, digests: Mapping[str, str]) -> None:
        """Compare every file of the training with its digest."""
        unfinished = CONFIG not in digests
        for name in [name for name in digests if name.startswith("checkpoints/")] if unfinished else CORE_FILES:
            read_verified(self.path, name, digests)

    @property
    def unfinished(self) -> bool:
        """Whether training has not come to its end; weights and figures are then those of the last checkpoint."""
        return CONFIG not in read_manifest(self.path)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings by section: ``data``, ``pair``, ``training``."""
        return dict(self.config["settings"])

    @cached_property
    def history(self) -> list[dict[str, float]]:
        """One row of named figures for each epoch."""
        with documented(self.path / METRICS):
            return read_metrics(self._read(METRICS), str(self.path / METRICS))

    def weights(self, which: Literal["best", "last"] = "best") -> dict[str, Tensor]:
        """The weights of the best epoch or of the last, keyed as :class:`~bayes_vae.runs.Run` says."""
        name = f"{which}.safetensors"
        with documented(self.path / "checkpoints" / name):
            return unpack_weights(self._read(name), str(self.path / "checkpoints" / name))

    def checkpoint(self) -> Checkpoint:
        """Where training stands, for :func:`bayes_vae.fit` to go on from.

        Raises:
            RunError: the run holds none.
        """

        def read(digests: Mapping[str, str]) -> Checkpoint:
            if not {locate(digests, STATE), locate(digests, POSITION)} <= digests.keys():
                raise RunError(
                    f"{self.path} holds no checkpoint to resume from (no optimizer state): it was saved without one. "
                    "Its weights can start a new training: model, guide = load(path), then fit(model, guide, ...)."
                )
            with documented(f"the checkpoint of {self.path}"):
                return read_checkpoint(partial(self._located, digests), str(self.path))

        return of_one_manifest(self.path, read)

    def _located(self, digests: Mapping[str, str], name: str) -> bytes:
        return read_verified(self.path, locate(digests, name), digests)

    def _read(self, name: str) -> bytes:
        return of_one_manifest(self.path, lambda digests: self._located(digests, name))

    def pair(self, *, model: Any = None, guide: Any = None) -> tuple[Any, Any]:
        """The pair with the weights of the best epoch, in evaluation mode. See :func:`load`."""
        built = {role for role, given in (("model", model), ("guide", guide)) if given is None}
        name, content = of_one_manifest(self.path, self._best_weights)
        with documented(self.path):
            for role in sorted(built):
                check_size(role, self.config[role], len(content))
            if "model" in built:
                model = build_program("model", self.config["model"])
            if "guide" in built:
                guide = build_program("guide", self.config["guide"], model)
            return fill_pair(model, guide, unpack_weights(content, str(self.path / name)), built)

    def _best_weights(self, digests: Mapping[str, str]) -> tuple[str, bytes]:
        name = locate(digests, BEST) if CONFIG not in digests else "model.safetensors"
        return name, read_verified(self.path, name, digests)

    def suffix_for(self, data: Mapping[str, Any]) -> str:
        """What sets apart the names of files on other data than the run's, which must not replace its own.

        Args:
            data: summary of the data, as :meth:`bayes_vae.data.Data.summary` gives it.

        Returns:
            empty for the run's own data and policy; else the data's name with part of its digest, and the policy.
        """
        own = self.config["data"]
        parts = []
        if data["digest"] != own.get("digest"):
            parts.append(f"{re.sub(r'[^A-Za-z0-9]+', '_', data['name'])[:40]}-{data['digest'][:8]}")
        if data["policy"] != own.get("policy"):
            parts.append(data["policy"])
        return "".join(f"-{part}" for part in parts)

    def read_file(self, name: str) -> bytes:
        """A file of the run, compared with its digest.

        Args:
            name: relative, with forward slashes, such as ``evaluation.json``.
        """
        return of_one_manifest(self.path, lambda digests: read_verified(self.path, name, digests))

    def remove_file(self, name: str) -> None:
        """Delete a file that :meth:`add_file` wrote, where there is one.

        Args:
            name: relative, with forward slashes.

        Raises:
            RunError: as :meth:`add_file`.
        """
        path = self._addable(name)
        with locked(self.path):
            digests = read_manifest(self.path)
            if name in digests:
                del digests[name]
                write_atomically(self.path / MANIFEST, manifest_bytes(digests))
                path.unlink(missing_ok=True)

    def _addable(self, name: str) -> Path:
        path = inside(self.path, name)
        if name in OWN_FILES or re.match(r"checkpoints/\d+/", name):
            raise RunError(f"{name} of {self.path} belongs to the training and is never replaced: choose another name.")
        return path

    def add_file(self, name: str, content: bytes) -> Path:
        """Write a file into the run directory, or replace it, and enter its digest in the manifest.

        Args:
            name: relative, with forward slashes, such as ``figures/ladder.png``.
            content: all of it.

        Returns:
            where the file is.

        Raises:
            RunError: a name outside the folder, or of a file that belongs to the training.
        """
        path = self._addable(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"the folder {path.parent} cannot be made ({error}). Choose another name.") from error
        with locked(self.path):
            write_atomically(path, content)
            digests = read_manifest(self.path) | {name: hashlib.sha256(content).hexdigest()}
            write_atomically(self.path / MANIFEST, manifest_bytes(digests))
        return path


def read_config(path: str | Path) -> dict[str, Any]:
    """The configuration of a run, without a look at its weights.

    Raises:
        RunError: not a run directory, or a configuration that is damaged or of another version.
    """
    folder = run_path(path)
    content = of_one_manifest(folder, lambda digests: read_verified(folder, locate(digests, CONFIG), digests))
    try:
        with documented(folder / CONFIG):
            config = json.loads(content) if len(content) <= LARGEST_CONFIG else {}
        complete = config["format_version"] == FORMAT_VERSION
        complete = complete and all(isinstance(config[part], dict) for part in ("model", "guide", "data", "settings"))
    except (KeyError, TypeError, RunError):
        complete = False
    if not complete:
        raise RunError(
            f"{folder / 'config.json'} is not a configuration of version {FORMAT_VERSION}: expected "
            "format_version, model, guide, data and settings. Install the release that wrote it, or train "
            "again."
        )
    check_config(config, str(folder / CONFIG))
    return dict(config)


def load(path: str | Path, *, model: Any = None, guide: Any = None) -> tuple[Any, Any]:
    """Load the pair of a run, with the weights of its best epoch.

    Of an unfinished run it is the best epoch so far, with an :class:`bayes_vae.errors.UnfinishedRunWarning`.

    Args:
        path: the run directory.
        model: a model to fill, for programs that are not of this library: a module, or a bound method such as
            ``vae.model``, built as for training. Left out, it is built from config.json.
        guide: likewise.

    Returns:
        model and guide, on the CPU if they were built here, in evaluation mode.

    Raises:
        RunError: a run directory that cannot be trusted, a pair that must be passed, or one that does not
            fit.
    """
    directory = RunDirectory(path)
    if directory.unfinished:
        warnings.warn(unfinished_note(directory), UnfinishedRunWarning, stacklevel=2)
    return directory.pair(model=model, guide=guide)


def unfinished_note(directory: RunDirectory) -> str:
    """What to know of an unfinished run before it is used."""
    history, epochs = directory.history, directory.settings.get("training", {}).get("epochs", "?")
    best = max(history, key=lambda row: row.get("validation_elbo", -math.inf), default=None)
    weights = f"the best weights so far, of epoch {best.get('epoch', '?')}" if best else "the weights of its start"
    return (
        f"the run {directory.path} is unfinished ({len(history)} of {epochs} epochs are done): these are {weights}. "
        f"Finish it with: bayes-vae train --resume {directory.path}"
    )
