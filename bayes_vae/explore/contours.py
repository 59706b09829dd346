"""Contours of a q over the plane that is no normal: lines around the same shares of it as the ellipses of a normal."""

from __future__ import annotations

import math
from typing import Any

import contourpy
import torch
from torch import Tensor

from bayes_vae.explore.densities import Normals

__all__ = ["SHARES", "contours_of"]

SHARES = (1 - math.exp(-0.5), 1 - math.exp(-2.0))
"""Mass within one and two deviations of a normal over the plane: 39 % and 86 %."""

REACH, NODES = 5.0, 101
"""The grid reaches so many deviations from the mean of q, with so many nodes along each dimension."""

Line = list[list[float]]


def contours_of(q: Any, moments: Normals) -> list[list[list[Line]]]:
    """Highest-density contours of each q: of each observation, for each of ``SHARES``, lines of points (z_1, z_2).

    Args:
        q: a batch of N distributions over two latent numbers.
        moments: their means and covariances, which place the grid of each.
    """
    steps = torch.linspace(-REACH, REACH, NODES, dtype=moments.loc.dtype, device=moments.loc.device)
    units = torch.cartesian_prod(steps, steps)
    spread = moments.scale_tril.square().sum(-1).sqrt()
    log_density = q.log_prob(moments.loc + units.unsqueeze(1) * spread).detach()  # (nodes, N)
    axes = moments.loc + steps[:, None, None] * spread  # (NODES, N, 2)
    return [_lines(log_density[:, n].cpu(), axes[:, n].cpu()) for n in range(len(moments.loc))]


def _lines(log_density: Tensor, axes: Tensor) -> list[list[Line]]:
    """Contours of one density on the grid of ``axes``, shape (NODES, 2)."""
    ordered = log_density.sort(descending=True).values
    mass = ordered.softmax(0).cumsum(0)
    found: Any = contourpy.contour_generator(
        axes[:, 0].numpy(), axes[:, 1].numpy(), log_density.reshape(NODES, NODES).T.numpy()
    )
    return [
        [[[float(f"{value:.4g}") for value in point] for point in line] for line in found.lines(level)]
        for level in (float(ordered[int((mass < share).sum())]) for share in SHARES)
    ]
