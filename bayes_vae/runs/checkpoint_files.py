"""A checkpoint as files: safetensors for tensors, JSON for the position, CSV for the figures of each epoch."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from bayes_vae.errors import RunError
from bayes_vae.runs.checkpoint import Checkpoint
from bayes_vae.runs.config import json_bytes
from bayes_vae.runs.manifest import FORMAT_VERSION
from bayes_vae.runs.metrics import metrics_bytes, read_metrics
from bayes_vae.runs.weights import pack_weights, unpack_weights
from bayes_vae.settings.setting_types import LARGEST

__all__ = ["BEST", "LAST", "METRICS", "POSITION", "STATE", "checkpoint_files", "read_checkpoint", "read_position"]

BEST, LAST, STATE = "best.safetensors", "last.safetensors", "training.safetensors"
POSITION, METRICS = "training.json", "metrics.csv"

_PARTS = ("optimizer", "random", "epoch")
_NUMBERS = {"epochs_done": int, "steps_done": int, "best_epoch": int, "seconds": float}


def checkpoint_files(checkpoint: Checkpoint) -> dict[str, bytes]:
    """File name → content, but for the best weights, which change less often."""
    parts = {f"{part}.{name}": value for part in _PARTS for name, value in getattr(checkpoint, part).items()}
    position = {name: getattr(checkpoint, name) for name in _NUMBERS}
    return {
        LAST: pack_weights(checkpoint.weights),
        STATE: pack_weights(parts),
        POSITION: json_bytes({"format_version": FORMAT_VERSION, **position}, "the position in training"),
        METRICS: metrics_bytes(checkpoint.history),
    }


def read_checkpoint(read: Callable[[str], bytes], where: str) -> Checkpoint:
    """Put a checkpoint together again.

    Args:
        read: file name → content, already compared with its digest.
        where: the run directory, for messages.

    Raises:
        RunError: contents that are not those of a checkpoint.
    """
    parts: dict[str, Any] = {part: {} for part in _PARTS}
    for key, value in unpack_weights(read(STATE), f"{where}: {STATE}").items():
        part, _, name = key.partition(".")
        parts.get(part, {})[name] = value
    return Checkpoint(
        **read_position(read(POSITION), f"{where}: {POSITION}"),
        weights=unpack_weights(read(LAST), f"{where}: {LAST}"),
        best_weights=unpack_weights(read(BEST), f"{where}: {BEST}"),
        history=read_metrics(read(METRICS), f"{where}: {METRICS}"),
        **parts,
    )


def read_position(content: bytes, name: str) -> dict[str, Any]:
    """Where a training stands, as :func:`checkpoint_files` stored it.

    Raises:
        RunError: not a position in training.
    """
    try:
        stored: Mapping[str, Any] = json.loads(content)
        if stored["format_version"] != FORMAT_VERSION:
            raise ValueError(f"its version is {stored['format_version']!r}")
        for key, kind in _NUMBERS.items():
            if type(stored[key]) not in (kind, int) or not 0 <= stored[key] <= LARGEST:
                raise ValueError(f"{key} is {reprlib.repr(stored[key])}")
        return {key: kind(stored[key]) for key, kind in _NUMBERS.items()}
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise RunError(
            f"{name} is not the position of a training ({error!r}): expected version {FORMAT_VERSION} with "
            f"{', '.join(_NUMBERS)}. Restore it from a copy of the run directory, or train again."
        ) from error
