"""Tuning Hamiltonian moves before their draws count: a step for each observation, and scales for its coordinates."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["FIRST_STEP", "StepTuner", "windows"]

FIRST_STEP, TARGET_ACCEPTANCE = 0.3, 0.8
"""The first leapfrog step, in units of the scales, and the mean acceptance that the step is tuned to."""

SHRINKAGE, STEADYING, FORGETTING = 0.05, 10.0, 0.75
"""γ, t₀ and κ of dual averaging, as in Hoffman and Gelman (2014), section 3.2."""

SHARES = (0.3, 0.7)
"""The scales are set anew after these shares of the warm-up."""

SHORTEST_WINDOW = 20
"""Fewer moves than this set no scales."""


class StepTuner:
    r"""Dual averaging of each observation's leapfrog step towards an acceptance.

    .. math:: \log \epsilon_{t+1} = \log(10 \, \epsilon_1) - \frac{\sqrt t}{\gamma} \,
        \frac{1}{t + t_0} \sum_{s \le t} (\delta - \alpha_s)

    Args:
        first: ε_1, shape (N,).

    Reference: Hoffman, Gelman (2014), "The No-U-Turn sampler", eq. 6.
    """

    def __init__(self, first: Tensor) -> None:
        self._centre = first.log() + math.log(10)
        self._log_step, self._log_average = first.log(), first.log()
        self._shortfall = torch.zeros_like(first)
        self._time = 0

    @property
    def step(self) -> Tensor:
        """ε to use in the next move, shape (N,)."""
        return self._log_step.exp()

    @property
    def average(self) -> Tensor:
        """The weighted average of log ε so far, as a step, shape (N,): what is frozen."""
        return self._log_average.exp()

    def update(self, acceptance: Tensor) -> None:
        """Take in the mean acceptance of a move, shape (N,)."""
        self._time += 1
        weight = 1 / (self._time + STEADYING)
        self._shortfall = (1 - weight) * self._shortfall + weight * (TARGET_ACCEPTANCE - acceptance)
        self._log_step = self._centre - math.sqrt(self._time) / SHRINKAGE * self._shortfall
        forget = self._time**-FORGETTING
        self._log_average = forget * self._log_step + (1 - forget) * self._log_average


def windows(num_warmup: int) -> Iterator[tuple[range, bool]]:
    """The moves of the warm-up in windows, and whether the scales are set anew after each.

    >>> list(windows(100))
    [(range(0, 30), True), (range(30, 70), True), (range(70, 100), False)]
    """
    ends = [round(share * num_warmup) for share in SHARES] + [num_warmup]
    for start, end in zip([0, *ends], ends, strict=False):
        if end > start:
            yield range(start, end), end < num_warmup and end - start >= SHORTEST_WINDOW
