"""The device that a command runs on."""

from __future__ import annotations

from bayes_vae.errors import SettingsError

__all__ = ["resolve_device"]


def resolve_device(name: str) -> str:
    """Name the device that a setting stands for, ``auto`` resolved.

    Raises:
        SettingsError: a device that does not exist here.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise SettingsError(f"unknown device {name!r}: choose cpu, cuda, cuda:1 and so on, or auto.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(
            f"device {name!r} is not here: torch sees {torch.cuda.device_count()} CUDA devices. Use --device auto."
        )
    return name
