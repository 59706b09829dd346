"""Memory that would be needed against memory that is there: said before the work, not found out by a full machine."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch

from bayes_vae.errors import SettingsError

__all__ = ["available_memory", "check_memory"]

BYTES = 8
"""Of a number: terms are held in float64."""


def available_memory(device: torch.device) -> int | None:
    """Bytes that are free on a device, within the limit of a container; None where the system does not say."""
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return free
    known: list[int] = []
    with suppress(OSError, ValueError, IndexError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        known.append(1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")))
    with suppress(OSError, ValueError):  # of a container; "max" where there is no limit
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        known.append(max(limit - used, 0))
    return min(known, default=None)


def check_memory(numbers: int, what: str, device: torch.device) -> None:
    """Refuse work whose result alone would not fit.

    Args:
        numbers: how many float64 numbers are held at once.
        what: what asks for them, for the message.
        device: where.

    Raises:
        SettingsError: says how much would be needed, and how much is there.
    """
    needed = BYTES * numbers
    if needed < 2**28:  # reading the system's files costs more than it could save
        return
    free = available_memory(device)
    if free is not None and needed > free:
        raise SettingsError(
            f"{what} would need {needed / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are free: ask for fewer, or "
            "pass fewer observations at once."
        )
