"""Where a quadrature looks: nodes and weights in the free coordinates of a :class:`LatentSpace`."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bayes_vae.estimators.free_coordinates import FreeCoordinates
from bayes_vae.estimators.latent_space import LatentSpace

__all__ = ["GaussHermite", "Rule", "TrapezoidGrid", "product_indices"]

GUIDE_REACH, PRIOR_REACH = 6.0, 5.0
"""The first grid reaches so many deviations to each side of the guide's mean, and of the prior's."""

WIDENING = 1.25
"""By how much a grid's box grows at each refinement."""


class Rule(Protocol):
    r"""A product rule for \int f(v) dv, for each of N observations at once.

    Attributes:
        space: the coordinates v, shape (K, N, D).
    """

    space: FreeCoordinates

    def nodes(self, which: Tensor, points: int, level: int) -> tuple[Tensor, Tensor]:
        """Some nodes, shape (K, N, D), and their log weights, broadcast to (K, N).

        Args:
            which: their numbers along each dimension, shape (K, D), from :func:`product_indices`.
            points: how many there are along each dimension.
            level: 0 for the first, and one more at each refinement.
        """

    def resolves(self, points: int, level: int) -> Tensor:
        """Whether the nodes lie densely enough for their agreement to mean something, shape (N,), bool."""


def product_indices(numbers: range, points: int, dimensions: int, device: torch.device) -> Tensor:
    """Numbers of product nodes along each dimension, the last one running fastest; shape (K, D).

    >>> product_indices(range(1, 4), 2, 2, torch.device("cpu")).tolist()
    [[0, 1], [1, 0], [1, 1]]
    """
    flat = torch.arange(numbers.start, numbers.stop, device=device)
    return torch.stack(torch.unravel_index(flat, (points,) * dimensions), dim=-1)


def _over_dimensions(log_weights: Tensor, space: FreeCoordinates, points: int) -> Tensor:
    """Product weights (K, N) from those along each dimension, (K, N, D); an idle dimension takes the mean."""
    return log_weights.masked_fill(space.idle, -math.log(points)).sum(-1)


class GaussHermite:
    r"""Gauss–Hermite nodes, which the space centres on the guide's mean and scales by the guide's scales.

    .. math:: \int f(v) \, dv \approx \sum_i w_i e^{t_i^2 / 2} f(t_i)

    Exact where f is a standard normal density times a polynomial of degree below 2n; blind to what lies farther than
    the last node, near 2√n of the guide's scales.

    Args:
        space: coordinates whitened by the guide.

    Reference: Liu, Pierce (1994), "A note on Gauss–Hermite quadrature", eqs. 2–4.
    """

    def __init__(self, space: LatentSpace) -> None:
        self.space = FreeCoordinates(space)

    def nodes(self, which: Tensor, points: int, level: int) -> tuple[Tensor, Tensor]:
        """Nodes (K, N, D), the same for each observation, and log weights (K, N)."""
        positions, weights = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(points))
        log_weights = (weights.log() + 0.5 * positions.square()).to(which.device)
        t, along = (values.to(which.device)[which].unsqueeze(1) for values in (positions, log_weights))
        shape = -1, len(self.space.loc), -1
        return t.expand(shape), _over_dimensions(along.expand(shape), self.space, points)

    def resolves(self, points: int, level: int) -> Tensor:
        """Always: the nodes are the guide's own."""
        return torch.ones(len(self.space.loc), dtype=torch.bool, device=self.space.loc.device)


class TrapezoidGrid:
    r"""An even grid over a box that holds what the guide believes and what the prior believes.

    .. math:: \int f(v) \, dv \approx \prod_d h_d \sum_i c_i f(v_i)

    c_i is 1, halved for each dimension at whose end the node lies. For a smooth f that vanishes at the box's sides the
    error falls exponentially in 1/h.

    Args:
        space: coordinates whitened by the guide.
        prior: coordinates whitened by the prior, for the same observations.
        coarsest: the largest spacing that resolves the density, in the guide's scales.

    Reference: Trefethen, Weideman (2014), "The exponentially convergent trapezoidal rule", theorem 5.1.
    """

    def __init__(self, space: LatentSpace, prior: LatentSpace, coarsest: float = 1.0) -> None:
        self._coarsest = coarsest
        self.space, of_prior = FreeCoordinates(space), FreeCoordinates(prior)
        middle = ((of_prior.loc - self.space.loc) / self.space.scale).double()
        reach = PRIOR_REACH * (of_prior.scale / self.space.scale).double()
        low = (middle - reach).clamp(max=-GUIDE_REACH)
        high = (middle + reach).clamp(min=GUIDE_REACH)
        self._middle, self._reach = (low + high) / 2, (high - low) / 2

    def _box(self, points: int, level: int) -> tuple[Tensor, Tensor]:
        """Lower corner and spacing, each (N, D)."""
        reach = self._reach * WIDENING**level
        return self._middle - reach, 2 * reach / (points - 1)

    def nodes(self, which: Tensor, points: int, level: int) -> tuple[Tensor, Tensor]:
        """Nodes (K, N, D), each observation's own, and log weights (K, N)."""
        corner, spacing = self._box(points, level)
        ends = ((which == 0) | (which == points - 1)).unsqueeze(1)
        log_weights = spacing.log() + ends * math.log(0.5)
        return corner + spacing * which.unsqueeze(1), _over_dimensions(log_weights, self.space, points)

    def resolves(self, points: int, level: int) -> Tensor:
        """Whether the spacing is fine enough in every dimension."""
        return ((self._box(points, level)[1] <= self._coarsest) | self.space.idle).all(-1)
