"""What is called after each epoch: any function of an :class:`EpochState`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from bayes_vae.terms.program import Program

__all__ = ["Callback", "EpochState"]


@dataclass(frozen=True, eq=False)
class EpochState:
    """Where training stands after an epoch.

    Attributes:
        epoch: its number, from 1.
        step: gradient steps since the start.
        row: the figures of the epoch, as in the history.
        model: the Pyro program of p(x, z), with the present weights, in evaluation mode.
        guide: the Pyro program of q(z given x), likewise.
    """

    epoch: int
    step: int
    row: dict[str, float]
    model: Program = field(repr=False)
    guide: Program = field(repr=False)


Callback: TypeAlias = Callable[[EpochState], object]
"""Called after each epoch and its checkpoint; one that returns ``True`` ends training."""
