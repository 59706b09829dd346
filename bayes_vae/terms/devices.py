"""Devices by name."""

from __future__ import annotations

from contextlib import suppress

import torch

from bayes_vae.errors import SettingsError
from bayes_vae.process import local_rank_and_size

__all__ = ["resolve_device"]


def resolve_device(name: str) -> torch.device:
    """The device of a name, for training, the estimators and the command line alike.

    Args:
        name: cpu, cuda, cuda:1 and so on, mps, or auto: cuda where torch sees one, else cpu. Of several processes on
            this machine each has the CUDA device of its own number.

    Raises:
        SettingsError: an unknown device, one that is not here, one that several processes would share, or one without
            float64, in which log densities are summed; today that is every Apple GPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = None
    with suppress(RuntimeError):  # of a name that torch does not know
        device = torch.device(name) if isinstance(name, str) else None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise SettingsError(f"unknown device {name!r}: use cpu, cuda, cuda:1 and so on, mps, or auto.")
    if device.type == "cpu":
        return torch.device("cpu")  # there is one, whatever its number
    if device.type == "cuda":
        device = _own_of_several(device)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(
            f"device {name!r} is not here: torch sees {torch.cuda.device_count()} CUDA devices. Use device auto or cpu."
        )
    if device.type == "mps":
        _check_mps(device)
    return device


def _own_of_several(device: torch.device) -> torch.device:
    """The CUDA device of this process, where several work on this machine."""
    rank, size = local_rank_and_size()
    if size == 1:
        return device
    if ":" in str(device):
        raise SettingsError(
            f"device '{device}' is one device, and {size} processes work on this machine, each with a device of its "
            "own. Use device cuda, or cpu."
        )
    count = torch.cuda.device_count()
    if size > count:
        raise SettingsError(
            f"{size} processes work on this machine, and torch sees {count} CUDA device{'s' * (count != 1)}: start at "
            f"most {count}, or use device cpu."
        )
    return torch.device("cuda", rank)


def _check_mps(device: torch.device) -> None:
    """Refuse an Apple GPU that is not here, or that lacks float64."""
    if not torch.backends.mps.is_available():
        raise SettingsError(f"device '{device}' is not here: torch sees no Apple GPU. Use device auto or cpu.")
    try:
        torch.ones(1, dtype=torch.float64, device=device)
    except (RuntimeError, TypeError):
        raise SettingsError(
            f"device '{device}' cannot be used: log densities are summed in float64, which it lacks. Use device cpu."
        ) from None
