"""Running sums over importance weights, so that memory does not grow with the number of particles."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bayes_vae.errors import NumericalError
from bayes_vae.estimators.importance.reliability import pareto_k

__all__ = ["WeightAccumulator"]

KEPT_FOR_PARETO_K = 2**17
"""The k̂ is fitted to at most so many weights, the first ones: they are draws like any others."""


class WeightAccumulator:
    """Log-sum-exp of the weights, of their squares and of each half of the draws.

    Args:
        num_particles: K, how many weights will come; the first ⌊K/2⌋ are the first half.
    """

    def __init__(self, num_particles: int) -> None:
        self._half = num_particles // 2
        self._count = 0
        self._sums: dict[str, Tensor] = {}
        self._kept: list[Tensor] = []
        self._largest: Tensor | None = None

    def update(self, log_weights: Tensor) -> None:
        """Add weights of shape (K, N), float64."""
        kept = sum(len(part) for part in self._kept)
        if kept < KEPT_FOR_PARETO_K:
            self._kept.append(log_weights[: KEPT_FOR_PARETO_K - kept])
        split = min(max(self._half - self._count, 0), len(log_weights))
        self._add("first", log_weights[:split])
        self._add("second", log_weights[split:])
        self._add("squares", 2 * log_weights)
        here = log_weights.amax(0)
        self._largest = here if self._largest is None else torch.maximum(self._largest, here)
        self._count += len(log_weights)

    def _add(self, name: str, values: Tensor) -> None:
        if len(values):
            total = torch.logsumexp(values, 0)
            self._sums[name] = torch.logaddexp(self._sums[name], total) if name in self._sums else total

    @property
    def num_particles(self) -> int:
        """The number of weights that came: the K whose logarithm is subtracted."""
        return self._count

    def _total(self) -> Tensor:
        if "first" not in self._sums:
            return self._sums["second"]
        return torch.logaddexp(self._sums["first"], self._sums["second"])

    def bound(self) -> Tensor:
        """L_K, shape (N,)."""
        total = self._total()
        if (total == -torch.inf).any():
            raise NumericalError(
                "every importance weight of an observation is zero: the guide never proposes a z that the model "
                "allows for it. Check the support of prior, likelihood and guide."
            )
        return total - math.log(self._count)

    def effective_sample_size(self) -> Tensor:
        """(Σw)² / Σw², shape (N,)."""
        return (2 * self._total() - self._sums["squares"]).exp()

    def largest(self) -> Tensor:
        """The largest log weight of each observation, shape (N,)."""
        assert self._largest is not None, "K is at least 1"
        return self._largest

    def doubling_step(self) -> Tensor:
        """L_K minus the mean of the bounds of its two halves, shape (N,), never negative; NaN for K = 1."""
        if self._half == 0:
            return torch.full_like(self.bound(), math.nan)
        first, second = self._half, self._count - self._half
        halves = first * (self._sums["first"] - math.log(first))
        halves = halves + second * (self._sums["second"] - math.log(second))
        return self.bound() - halves / self._count

    def pareto_k(self) -> Tensor:
        """k̂ of each observation, shape (N,)."""
        return pareto_k(torch.cat(self._kept))
