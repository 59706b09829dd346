"""Results that hold something for each observation, of which each of several processes has some."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from bayes_vae.terms.world import World

__all__ = ["Share"]

Result = TypeVar("Result")


@dataclass(frozen=True)
class Share:
    """Which of N observations are this process's.

    Attributes:
        world: the processes.
        own: the places of its observations.
        count: N.
    """

    world: World
    own: slice
    count: int

    @classmethod
    def of(cls, world: World, count: int) -> Share:
        """Of so many observations, about as many in each process."""
        return cls(world, world.share(count), count)

    def gathered(self, result: Result, by_particle: Collection[str] = ()) -> Result:
        """The result of all observations, from those of each process; the same in all of them.

        Args:
            result: a tensor, or a dataclass of tensors, of this process's observations. Tensors in its dictionaries and
                in results that it holds are put together too; everything else is the same in all processes.
            by_particle: names of its fields whose tensors have the observations in their second dimension; in all
                others they are the first.
        """
        if self.world.alone:
            return result
        found: Result = _mapped(result, self._whole, by_particle, second=False)
        return found

    def _whole(self, values: Tensor, second: bool) -> Tensor:
        """Each process adds its rows to zeros, so that no row is rounded."""
        rows = values.transpose(0, 1) if second else values
        dtype = torch.uint8 if values.dtype == torch.bool else values.dtype
        whole = torch.zeros((self.count, *rows.shape[1:]), dtype=dtype, device=self.world.device)
        whole[self.own] = rows.to(self.world.device, dtype)
        found = self.world.add_up(whole).to(values.device, values.dtype)
        return found.transpose(0, 1).contiguous() if second else found


def _mapped(part: Any, whole: Callable[[Tensor, bool], Tensor], by_particle: Collection[str], *, second: bool) -> Any:
    if isinstance(part, Tensor):
        return whole(part, second)
    if isinstance(part, dict):
        return {name: _mapped(value, whole, by_particle, second=second) for name, value in part.items()}
    if is_dataclass(part) and not isinstance(part, type):
        changed = {
            each.name: _mapped(getattr(part, each.name), whole, by_particle, second=each.name in by_particle)
            for each in fields(part)
        }
        return replace(part, **changed)
    return part
