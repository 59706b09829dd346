"""The machine: device and precision, checked before the first step, and said."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext, suppress

import torch
from torch import Tensor, nn

from bayes_vae.errors import SettingsError
from bayes_vae.settings import Precision, TrainingSettings

__all__ = [
    "autocast",
    "check_precision",
    "describe_machine",
    "keep_outputs_in_float32",
    "resolve_device",
    "set_precision",
]

_PRODUCTS = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd)


def resolve_device(name: str) -> torch.device:
    """The device of a name, for training, the estimators and the command line alike.

    Args:
        name: cpu, cuda, cuda:1 and so on, mps, or auto: cuda where torch sees one, else cpu.

    Raises:
        SettingsError: an unknown device, one that is not here, or one without float64, in which log densities are
            summed; today that is every Apple GPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = None
    with suppress(RuntimeError):  # of a name that torch does not know
        device = torch.device(name)
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise SettingsError(f"unknown device {name!r}: use cpu, cuda, cuda:1 and so on, mps, or auto.")
    if device.type == "cpu":
        return torch.device("cpu")  # there is one, whatever its number
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(
            f"device {name!r} is not here: torch sees {torch.cuda.device_count()} CUDA devices. Use device auto or cpu."
        )
    if device.type == "mps":
        _check_mps(device)
    return device


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


def check_precision(precision: Precision, device: torch.device) -> None:
    """Refuse a precision that the device lacks.

    Raises:
        SettingsError: bf16-mixed on a CUDA device without bfloat16.
    """
    if precision == "bf16-mixed" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise SettingsError(f"the device {device} cannot train with precision {precision}: use precision 32.")


def describe_machine(settings: TrainingSettings, device: torch.device) -> str:
    """Device, precision and threads, in words."""
    threads = torch.get_num_threads()
    if device.type == "cuda":
        where = f"{device} ({torch.cuda.get_device_name(device)})"
    else:
        where = f"{device} ({threads} thread{'s' * (threads != 1)})"
    return f"on {where}, precision {settings.precision}"


def set_precision(modules: Iterable[nn.Module], precision: Precision) -> torch.dtype:
    """Bring modules to the precision of training; the type that observations then have."""
    if precision != "64":
        return torch.float32
    for module in modules:
        module.double()
    return torch.float64


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Matrix products in bfloat16 inside the block, if that is the precision, whatever the caller's own autocast is."""
    mixed = precision == "bf16-mixed"
    if not mixed and not torch.is_autocast_enabled(device.type):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, enabled=mixed, cache_enabled=True)


def keep_outputs_in_float32(modules: Iterable[nn.Module]) -> list[torch.utils.hooks.RemovableHandle]:
    """Let linear and convolutional layers hand on float32, so that log densities are never summed in bfloat16.

    Returns:
        handles, to remove at the end of training.
    """
    layers = {part for module in modules for part in module.modules() if isinstance(part, _PRODUCTS)}
    return [layer.register_forward_hook(_as_float32) for layer in layers]


def _as_float32(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output.float() if output.dtype == torch.bfloat16 else output
