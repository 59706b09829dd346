"""The configuration of a run: what it was made of, with which settings, by which versions."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from bayes_vae.errors import RunError
from bayes_vae.pairs import describe_program
from bayes_vae.runs.manifest import FORMAT_VERSION
from bayes_vae.runs.pairs import check_attached
from bayes_vae.runs.run import Run
from bayes_vae.runs.weights import alias_of

__all__ = ["config_of", "extension_note", "json_bytes", "machine", "versions"]

_DISTRIBUTIONS = {
    "bayes_vae": "bayes_vae",
    "numpy": "numpy",
    "pyro": "pyro-ppl",
    "torch": "torch",
    "torchvision": "torchvision",
}


def config_of(run: Run) -> dict[str, Any]:
    """The configuration of a run, in JSON types.

    Raises:
        RunError: a prior that is made of another guide than the run's.
    """
    check_attached(run.model, run.guide)
    return {
        "format_version": FORMAT_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": run.command,
        "versions": versions(),
        "machine": machine(),
        "model": describe_program("model", run.model),
        "guide": describe_program("guide", run.guide),
        "data": run.data,
        "settings": run.settings,
        "extended_at": list(run.extended_at),
        "outcome": {
            "epochs": len(run.history),
            "best_epoch": run.best_epoch,
            "ending": run.ending,
            "interrupted": run.interrupted,
        },
        "parameters": {"count": _count(run), "names": list(run.parameter_names)},
    }


def extension_note(config: Mapping[str, Any]) -> str | None:
    """Why a run is not repeated exactly in one go, or None.

    Of the schedules only the cosine depends on the number of epochs in all, so only there extending matters.

    Args:
        config: of the run.
    """
    training, done = config["settings"].get("training", {}), config.get("extended_at", [])
    if not done or training.get("schedule") != "cosine":
        return None
    return (
        f"the run was trained to {', then to '.join(map(str, done))} epochs, then extended to {training['epochs']}: "
        "under the cosine schedule a repetition, which trains all epochs in one go, will differ"
    )


def versions() -> dict[str, str]:
    """Of Python and of the packages that figures depend on."""
    return {
        "python": platform.python_version(),
        **{name: _version(distribution) for name, distribution in _DISTRIBUTIONS.items()},
    }


def machine() -> dict[str, Any]:
    """What the last digits of figures depend on beside the versions."""
    return {
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:  # a bare checkout
        return "unknown"


def _count(run: Run) -> int:
    """How many numbers were trained; of weights under several keys, one counts."""
    names, aliases = set(run.parameter_names), alias_of(run.best_state)
    trained = {key: value for key, value in run.best_state.items() if key.removeprefix("param.") in names}
    return sum(value.numel() for key, value in trained.items() if aliases.get(key) not in trained)


def json_bytes(content: dict[str, Any], what: str) -> bytes:
    """Strict JSON.

    Raises:
        RunError: a value that JSON lacks.
    """
    try:
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise RunError(
            f"{what} cannot be stored as JSON ({error}). Use only numbers (no NaN or infinity), strings, "
            "lists and dictionaries."
        ) from error
