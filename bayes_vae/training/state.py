"""The state of the optimizer and of the random generators as tensors by name, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["load_optimizer", "load_random", "optimizer_state", "random_state"]


def optimizer_state(optimizer: Any, names: list[str]) -> dict[str, Tensor]:
    """``NAME/KEY`` → a copy of the optimizer's tensor KEY of the parameter NAME, on the CPU.

    Args:
        optimizer: of one parameter group.
        names: of its parameters, in order.
    """
    state: dict[int, dict[str, Tensor]] = optimizer.state_dict()["state"]
    return {
        f"{names[number]}/{key}": torch.as_tensor(value).detach().cpu().clone()
        for number, entries in state.items()
        for key, value in entries.items()
    }


def load_optimizer(optimizer: Any, names: list[str], stored: Mapping[str, Tensor]) -> None:
    """Put back what :func:`optimizer_state` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in stored.items():
        name, _, entry = key.rpartition("/")
        state.setdefault(names.index(name), {})[entry] = value.clone()
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def random_state(batches: torch.Generator, device: torch.device) -> dict[str, Tensor]:
    """The states of the generator of batches and of torch's own, by name."""
    states = {"batches": batches.get_state(), "torch": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def load_random(states: Mapping[str, Tensor], batches: torch.Generator, device: torch.device) -> None:
    """Put back what :func:`random_state` gave, where it is there and has a generator here."""
    if "batches" in states:
        batches.set_state(states["batches"])
    if "torch" in states:
        torch.set_rng_state(states["torch"])
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
