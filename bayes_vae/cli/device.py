"""The device that a command runs on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bayes_vae.errors import SettingsError

__all__ = ["on_threads", "resolve_device"]


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


@contextmanager
def on_threads(count: int | None) -> Iterator[None]:
    """Run on so many threads; None leaves their number as it is. One is enough for small networks on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(count or threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
