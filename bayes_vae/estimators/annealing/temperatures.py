"""Inverse temperatures of annealing: spaced alike for every observation, or fitted to each in a pilot."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Schedule", "equal_lengths", "interpolate", "inverse_temperatures", "smooth"]

Schedule = Literal["linear", "sigmoid", "adaptive"]
"""How the inverse temperatures are spaced."""

SIGMOID_WIDTH = 4.0
"""Half the range of the sigmoid schedule (Wu et al. 2017)."""

PRIOR_POWER = 3
"""A pilot from the prior runs along β = (t/T)³: at the prior log p(x | z) varies most, and falls like 1/β."""

FLOOR = 0.25
"""Share of the temperatures spaced whatever the pilot saw, half of them as in the pilot and half evenly."""


def inverse_temperatures(num_temperatures: int, schedule: str) -> Tensor:
    """Inverse temperatures 0 = β_0 < β_1 < … < β_T = 1, shape (T + 1,), float64.

    Args:
        num_temperatures: T.
        schedule: "linear", "sigmoid", or "cubic", (t/T)³.
    """
    grid = torch.linspace(0, 1, num_temperatures + 1, dtype=torch.float64, device="cpu")
    if schedule == "cubic":
        return grid**PRIOR_POWER
    if schedule == "sigmoid":
        bent = torch.sigmoid(SIGMOID_WIDTH * (2 * grid - 1))
        return (bent - bent[0]) / (bent[-1] - bent[0])
    return grid


def equal_lengths(betas: Tensor, deviations: Tensor, num_temperatures: int) -> Tensor:
    r"""Inverse temperatures between which each path has about the same thermodynamic length.

    .. math:: \ell(\beta) = \int_0^\beta \operatorname{sd}_{b}[\delta] \, db, \qquad
        \delta = \log p(x, z) - \log s(z)

    Where the chains keep up with f_β, log w falls short by Σ (Δβ)² Var_β[δ] / 2, which is least, T being given, when
    every step has the same length. A share :data:`FLOOR` of the temperatures does not depend on what the pilot saw.

    Args:
        betas: of the pilot, β_0 … β_P, shape (P + 1,).
        deviations: of δ over the pilot's chains at β_0 … β_{P−1}, shape (P, N), smoothed along β.
        num_temperatures: T.

    Returns:
        shape (T + 1, N), float64, strictly from 0 to 1 for each observation.

    Reference: Gelman, Meng (1998), "Simulating normalizing constants: from importance sampling to bridge sampling to
    path sampling", section 4; Grosse, Maddison, Salakhutdinov (2013), "Annealing between distributions by averaging
    moments", section 4.
    """
    heights = deviations.double()
    middles = (heights + torch.cat([heights[1:], heights[-1:]])) / 2
    pieces = middles * betas.diff().unsqueeze(-1)
    lengths = torch.cat([torch.zeros_like(pieces[:1]), pieces.cumsum(0)])
    counts = torch.linspace(0, 1, len(betas), dtype=torch.float64, device=betas.device).unsqueeze(-1)
    total = lengths[-1:]
    share = torch.where(total > 0, lengths / total.clamp(min=torch.finfo(torch.float64).tiny), counts)
    share = (1 - FLOOR) * share + FLOOR * (counts + betas.unsqueeze(-1)) / 2
    wanted = torch.linspace(0, 1, num_temperatures + 1, dtype=torch.float64, device=betas.device).unsqueeze(-1)
    found = interpolate(share, betas.unsqueeze(-1).expand_as(share), wanted.expand(-1, heights.shape[1]))
    found[0], found[-1] = 0, 1
    return found


def interpolate(nodes: Tensor, values: Tensor, points: Tensor) -> Tensor:
    """Values at some points, linear between nodes and constant beyond them, column by column.

    Args:
        nodes: shape (P, N), rising down each column.
        values: shape (P, N).
        points: shape (T, N).

    Returns:
        shape (T, N).
    """
    if len(nodes) == 1:
        return values.expand(len(points), -1).clone()
    upper = torch.searchsorted(nodes.T.contiguous(), points.T.contiguous()).T.clamp(1, len(nodes) - 1)
    low, high = nodes.gather(0, upper - 1), nodes.gather(0, upper)
    part = ((points - low) / (high - low)).clamp(0, 1).to(values.dtype)
    return torch.lerp(values.gather(0, upper - 1), values.gather(0, upper), part)


def smooth(values: Tensor, reach: int) -> Tensor:
    """Means over neighbours down each column, weighted less the further away, up to ``reach`` rows; shape (P, N)."""
    rows = torch.arange(len(values), device=values.device)
    weights = (reach + 1 - (rows - rows.unsqueeze(-1)).abs()).clamp(min=0).to(values.dtype)
    return (weights / weights.sum(1, keepdim=True)) @ values
