"""The device that a command runs on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from bayes_vae.errors import SettingsError

__all__ = ["on_threads", "one_thread", "resolve_device"]


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


def one_thread() -> AbstractContextManager[None]:
    """Run on one thread, which for small networks is as fast, and far faster where the cores are busy."""
    return on_threads(1)


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Run on so many threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
