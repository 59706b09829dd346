"""Results that hold something for each observation, of which each of several processes has some."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from bayes_vae.terms.world import World

__all__ = ["gathered"]

Result = TypeVar("Result")


def gathered(world: World, result: Result, own: slice, count: int) -> Result:
    """The result of all observations, from those of each process; the same in all of them.

    Every tensor in it whose first dimension is that of the observations is put together, the tensors in its
    dictionaries and in results that it holds too; everything else is the same in all processes.

    Args:
        world: the processes.
        result: a dataclass of tensors of shape (n, ...), of this process's observations.
        own: which ones they are.
        count: N.
    """
    if world.alone:
        return result
    found: Result = _mapped(result, lambda values: _whole(world, values, own, count))
    return found


def _mapped(part: Any, whole: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(part, Tensor):
        return whole(part)
    if isinstance(part, dict):
        return {name: _mapped(value, whole) for name, value in part.items()}
    if isinstance(part, tuple) and not hasattr(part, "_fields"):
        return tuple(_mapped(value, whole) for value in part)
    if is_dataclass(part) and not isinstance(part, type):
        return replace(part, **{field.name: _mapped(getattr(part, field.name), whole) for field in fields(part)})
    return part


def _whole(world: World, values: Tensor, own: slice, count: int) -> Tensor:
    """Each process adds its rows to zeros: no row is rounded."""
    dtype = torch.uint8 if values.dtype == torch.bool else values.dtype
    rows = torch.zeros((count, *values.shape[1:]), dtype=dtype, device=world.device)
    rows[own] = values.to(world.device, dtype)
    return world.add_up(rows).to(values.device, values.dtype)
