"""The gradient of a whole batch, of which each of several processes has some rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bayes_vae.errors import LostProcessError, ProcessesError, SettingsError
from bayes_vae.terms.world import ANOTHER_FAILED, World

__all__ = ["exchange", "refuse_idle_processes", "require_same_weights", "spread_weights"]


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


def exchange(
    world: World, parameters: Sequence[Tensor], part: Callable[[], list[Tensor]], asked_to_stop: Callable[[], bool]
) -> tuple[Tensor, bool]:
    """Compute this process's part of a step, and add up the parts of all.

    Args:
        world: the processes.
        parameters: what is trained, in the same order in each; they get the sums of their gradients.
        part: runs backward for the own rows, and returns sums over them.
        asked_to_stop: whether this process was, asked once its part is done.

    Returns:
        the sums over all rows, float64, and whether any process was asked to stop.

    Raises:
        LostProcessError: another process failed in its part.
        Exception: as this one's part.
    """
    failure: Exception | None = None
    try:
        sums = torch.stack(part()).cpu().double().tolist()
        own = torch.tensor([*sums, float(asked_to_stop()), 0.0], dtype=torch.float64)
    except Exception as error:
        failure, own = error, torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    totals = own.to(world.device)
    totals_are_there = world.start_adding_up(totals)
    _add_up_gradients(world, parameters)
    totals_are_there()
    if failure:
        raise failure
    if totals[-1] > 0:
        raise LostProcessError(ANOTHER_FAILED)
    return totals[:-2], bool(totals[-2] > 0)


def _add_up_gradients(world: World, parameters: Sequence[Tensor]) -> None:
    """Give each parameter the sum of its gradients over all processes; the same bits in each of them.

    A parameter without a gradient in any of them stays without.
    """
    dtype = max((parameter.dtype for parameter in parameters), key=lambda dtype: torch.finfo(dtype).bits)
    sizes = [parameter.numel() for parameter in parameters]
    total = torch.zeros(sum(sizes) + len(sizes), dtype=dtype, device=parameters[0].device)
    *gradients, there = total.split([*sizes, len(sizes)])
    for number, (parameter, place) in enumerate(zip(parameters, gradients, strict=True)):
        if parameter.grad is not None:
            place.copy_(parameter.grad.flatten())
            there[number] = 1
    world.add_up(total)
    for parameter, place, count in zip(parameters, gradients, there.tolist(), strict=True):
        parameter.grad = place.view_as(parameter).to(parameter.dtype) if count else None


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
