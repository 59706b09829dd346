"""The weight of the KL as a function of the steps done: small frozen callables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from bayes_vae.errors import SettingsError

__all__ = ["ConstantWeight", "Cyclical", "KLWeight", "WarmUp"]

KLWeight: TypeAlias = float | Callable[[int], float]
"""A weight, or a function from the number of steps done to the weight of the next."""


@dataclass(frozen=True)
class ConstantWeight:
    """The same weight at every step.

    Args:
        weight: β, at least 0.

    Raises:
        SettingsError: a negative weight.

    >>> ConstantWeight(0.5)(1000)
    0.5

    Reference: Higgins et al. (2017), "beta-VAE: learning basic visual concepts with a constrained variational
    framework".
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        _check(self.weight)

    def __call__(self, step: float) -> float:
        """The weight after so many steps."""
        return self.weight


@dataclass(frozen=True)
class WarmUp:
    """A straight rise from 0 to ``weight``, which then stays.

    Args:
        steps: over which it rises.
        weight: β at the end.

    Raises:
        SettingsError: no step to rise over, or a negative weight.

    >>> [WarmUp(4)(step) for step in (0, 1, 4, 9)]
    [0.0, 0.25, 1.0, 1.0]

    Reference: Bowman et al. (2016), "Generating sentences from a continuous space"; Sønderby et al. (2016), "Ladder
    variational autoencoders".
    """

    steps: float
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check(self.weight)
        if not self.steps > 0:
            raise SettingsError(f"steps must be above 0, got {self.steps}: without a warm-up use ConstantWeight.")

    def __call__(self, step: float) -> float:
        """The weight after so many steps."""
        return self.weight * min(1.0, step / self.steps)


@dataclass(frozen=True)
class Cyclical:
    """A rise from 0 to ``weight``, a rest there, and again from 0: a warm-up in every period.

    Args:
        period: steps from one start to the next.
        rise: steps of it over which the weight rises; fewer than the period.
        weight: β at the end of each rise.

    Raises:
        SettingsError: a rise that does not end within its period, or a negative weight.

    >>> [Cyclical(period=8, rise=4)(step) for step in (0, 2, 4, 7, 8, 10)]
    [0.0, 0.5, 1.0, 1.0, 0.0, 0.5]

    Reference: Fu et al. (2019), "Cyclical annealing schedule: a simple approach to mitigating KL vanishing"; rise /
    period is their R.
    """

    period: float
    rise: float
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check(self.weight)
        if not 0 < self.rise < self.period:
            raise SettingsError(
                f"a cycle needs 0 < rise < period, got rise={self.rise} and period={self.period}: else the weight "
                "never stays at its end."
            )

    def __call__(self, step: float) -> float:
        """The weight after so many steps."""
        return self.weight * min(1.0, step % self.period / self.rise)


def _check(weight: float) -> None:
    if not weight >= 0:
        raise SettingsError(f"kl_weight must be at least 0, got {weight}.")
