"""Climbing the ladder: what its rungs share, and each row of the table of parts asked for its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bayes_vae.errors import SettingsError
from bayes_vae.estimators.importance.bound import grouped_bound
from bayes_vae.estimators.importance.estimate import LogEvidenceEstimate
from bayes_vae.estimators.importance.log_evidence import WeightsAtDraws
from bayes_vae.estimators.importance.proposals import Proposal
from bayes_vae.estimators.rungs.rung import Rung
from bayes_vae.parts.registry import rows
from bayes_vae.terms.containers import Draw
from bayes_vae.terms.opened import Accumulator, Batch, OpenPair, collect

__all__ = ["Climb", "climb"]


@dataclass(frozen=True, eq=False)
class Climb:
    """What the rungs of one ladder have in common; a row of the table is a function of it that returns its rungs.

    Attributes:
        opened: the pair and its observations.
        sizes: particles of each nested bound, rising; the last is K.
        num_temperatures: of the annealed rungs; 0 leaves them out.
        tolerance: of the converged rung, nats; None leaves it out.
        proposal: of the refined rung; "guide" leaves it out.
        estimate: L_K with its reliability.
        groups: mean and standard error of each nested bound below L_K, both (N,), in the order of ``sizes``.
        num_dimensions: numbers in z.
        seconds: time of the draws that the bounds share.
        left_out: name of a rung → why it is not there, where that must be said; its own function writes it.
    """

    opened: OpenPair
    sizes: Sequence[int]
    num_temperatures: int
    tolerance: float | None
    proposal: Proposal
    estimate: LogEvidenceEstimate
    groups: Sequence[tuple[Tensor, Tensor]]
    num_dimensions: int
    seconds: float
    left_out: dict[str, str] = field(default_factory=dict)

    def rungs(self) -> tuple[Rung, ...]:
        """Every rung, from the ELBO up, in the order of the table."""
        return tuple(rung for part in rows("rung") for rung in part.cls(self))


def climb(
    opened: OpenPair,
    sizes: Sequence[int],
    *accumulators: Accumulator,
    num_temperatures: int,
    tolerance: float | None,
    proposal: Proposal,
) -> Climb:
    """Draw what the nested bounds share; other accumulators see the same draws."""
    if tolerance is not None and num_temperatures == 0:
        raise SettingsError("tolerance is of the annealed rungs, and num_temperatures=0 leaves them out: give some.")
    began = time.perf_counter()
    bounds, weights = _BoundsAtDraws(sizes[:-1]), WeightsAtDraws(sizes[-1])
    collect(opened, sizes[-1], bounds, weights, *accumulators)
    seconds = time.perf_counter() - began
    asked = (sizes, num_temperatures, tolerance, proposal)
    return Climb(opened, *asked, weights.result(opened), bounds.groups(), bounds.num_dimensions, seconds)


class _BoundsAtDraws:
    """Bounds from nested groups of one set of draws."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = sizes
        self._weights: list[Tensor] = []
        self._bounds: list[list[tuple[Tensor, Tensor]]] = []
        self.num_dimensions = 0

    def begin(self, batch: Batch) -> None:
        """A batch starts."""
        self._weights = []

    def update(self, draw: Draw) -> None:
        """Some particles of it."""
        self.num_dimensions = sum(value[0, 0].numel() for value in draw.latents.values())
        if self._sizes:
            self._weights.append(draw.log_importance_weights)

    def end(self) -> None:
        """All its particles have come."""
        if self._sizes:
            log_weights = torch.cat(self._weights)
            self._bounds.append([_mean_over_groups(grouped_bound(log_weights, size)) for size in self._sizes])

    def groups(self) -> list[tuple[Tensor, Tensor]]:
        """Mean and error of each size, over all observations."""
        return [
            (torch.cat([mean for mean, _ in batches]), torch.cat([error for _, error in batches]))
            for batches in zip(*self._bounds, strict=True)
        ]


def _mean_over_groups(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard error over groups, each (N,)."""
    return groups.mean(0), groups.std(0) / len(groups) ** 0.5
