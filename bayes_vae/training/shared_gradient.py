"""The gradient of a whole batch, of which each of several processes has some rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bayes_vae.errors import ProcessesError, SettingsError
from bayes_vae.terms.world import World

__all__ = ["add_up_gradients", "refuse_idle_processes", "require_same_weights", "spread_weights"]


def refuse_idle_processes(world: World, batch_size: int) -> None:
    """Refuse more processes than a batch has rows, some of which would never have one.

    Raises:
        SettingsError: says how many processes there may be.
    """
    if world.size > batch_size:
        raise SettingsError(
            f"{world.size} processes share batches of {batch_size} row{'s' * (batch_size != 1)}, so that some would "
            f"never have one: start at most {batch_size}, or raise batch_size."
        )


def add_up_gradients(world: World, parameters: Sequence[Tensor]) -> None:
    """Give each parameter the sum of its gradients over all processes; the same bits in each of them.

    A parameter without a gradient in any of them stays without.

    Args:
        world: the processes.
        parameters: in the same order in each.
    """
    dtype = max((parameter.dtype for parameter in parameters), key=lambda dtype: torch.finfo(dtype).bits)
    there = torch.tensor([parameter.grad is not None for parameter in parameters], device=parameters[0].device)
    flat = [
        (torch.zeros_like(parameter) if parameter.grad is None else parameter.grad).flatten().to(dtype)
        for parameter in parameters
    ]
    total = world.add_up(torch.cat([*flat, there.to(dtype)]))
    *sums, found = total.split([parameter.numel() for parameter in parameters] + [len(parameters)])
    for parameter, value, count in zip(parameters, sums, found.tolist(), strict=True):
        parameter.grad = value.view_as(parameter).to(parameter.dtype) if count else None


def spread_weights(world: World, weights: Sequence[Tensor]) -> None:
    """Give each process the weights that rank 0 has, in place.

    Raises:
        ProcessesError: the processes built other networks.
    """
    if world.alone:
        return
    shapes = [f"{tuple(value.shape)} {value.dtype}" for value in weights]
    world.require_same("networks", " ".join(shapes))
    with torch.no_grad():
        for value in weights:
            world.spread(value)


def require_same_weights(world: World, weights: Sequence[Tensor]) -> None:
    """Refuse to go on where the processes have come to have other weights, which would be a fault of this library.

    Raises:
        ProcessesError: they differ.
    """
    if world.alone:
        return
    own = torch.stack([value.detach().double().abs().sum() for value in weights]).sum().to(world.device)
    if world.any(bool(own != world.spread(own.clone()))):
        raise ProcessesError("the processes have come to have different weights. Please report this.")
