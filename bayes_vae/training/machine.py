"""The machine: device and precision, checked before the first step, and said."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from bayes_vae.errors import SettingsError
from bayes_vae.settings import Precision, TrainingSettings
from bayes_vae.terms.devices import resolve_device

__all__ = [
    "autocast",
    "check_precision",
    "describe_machine",
    "keep_outputs_in_float32",
    "resolve_device",
    "set_precision",
]

_PRODUCTS = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd)


def check_precision(precision: Precision, device: torch.device) -> None:
    """Refuse a precision that the device lacks.

    Raises:
        SettingsError: bf16-mixed on a CUDA device without bfloat16.
    """
    if precision == "bf16-mixed" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise SettingsError(f"the device {device} cannot train with precision {precision}: use precision 32.")


def describe_machine(settings: TrainingSettings, device: torch.device, processes: int = 1) -> str:
    """Device, precision, threads and processes, in words."""
    threads = torch.get_num_threads()
    if device.type == "cuda":
        where = f"{device} ({torch.cuda.get_device_name(device)})"
    else:
        where = f"{device} ({threads} thread{'s' * (threads != 1)})"
    together = f" in {processes} processes" if processes > 1 else ""
    return f"on {where}{together}, precision {settings.precision}"


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
