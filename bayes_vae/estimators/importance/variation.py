"""Whether z varied at all: equal weights mean a perfect guide only then."""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_vae.errors import NotDefinedError, ProgramError
from bayes_vae.estimators.annealing.path import float_resolution, log_joint_gradient
from bayes_vae.estimators.latent_space import LatentSpace, whitened_space
from bayes_vae.terms.containers import Draw
from bayes_vae.terms.opened import ROWS_AT_ONCE, Batch

__all__ = ["LOOKED_AT", "resolution_of", "trusted_pareto_k"]

LOOKED_AT = 64
"""Draws that are looked at, the first ones."""

SPACINGS = 64.0
"""Spacings of floats: a guide whose draws all lie within so many cannot say where it draws."""

LEAST_INFORMATION = 0.1
"""Var u · Var g of the exact posterior is at least 1; of so many draws no less than this."""


def trusted_pareto_k(pareto_k: Tensor, batch: Batch, draw: Draw) -> Tensor:
    r"""k̂, and +∞ where it comes from a guide that is a point rather than a distribution.

    .. math:: \operatorname{Var}_q[u_i] \, \operatorname{Var}_q[\partial_i \log p(x, u)] \ge 1
        \quad \text{where } q = p(u \mid x)

    A guide narrower than the spacing of floats draws the same z every time; one so narrow that log p(x, z) does not
    change over it has equal weights as well, if its own density is flat. Neither has seen the posterior. The inequality
    is Cramér and Rao's for a shift of u, the latents in unconstrained coordinates, and needs one gradient of a few
    draws, only where all weights are equal.

    Args:
        pareto_k: shape (N,).
        batch: observations bound to a pair.
        draw: the first draws of the guide.
    """
    equal = pareto_k == -torch.inf
    if len(draw.log_prior) < 2 or not bool((equal | _still(_flat(draw))).any()):
        return pareto_k
    try:
        space = whitened_space(batch.bound, draw.latents).unwhitened()
    except (NotDefinedError, ProgramError):  # discrete, of a support that moves, or a program that refuses its prior
        return pareto_k
    u = space.coordinates(draw.latents)
    point = _still(u)
    if bool(equal.any()):
        point = point | (equal & (_information(batch, space, u) < LEAST_INFORMATION))
    return pareto_k.masked_fill(point.to(pareto_k.device), torch.inf)


def resolution_of(batch: Batch, draw: Draw) -> Tensor:
    """How much log p(x, z) changes from one float to the next where the largest weight is, shape (N,), nats.

    NaN for latents that have no neighbouring floats, or whose support moves.
    """
    unknown = torch.full_like(draw.log_prior[0], torch.nan, dtype=torch.float64)
    if len(draw.log_prior) < 2:
        return unknown
    try:
        space = whitened_space(batch.bound, draw.latents).unwhitened()
    except (NotDefinedError, ProgramError):
        return unknown
    largest = draw.log_importance_weights.argmax(0)
    u = space.coordinates(draw.latents)[largest, torch.arange(len(largest), device=largest.device)]
    return float_resolution(batch.bound, space, u.unsqueeze(0))


def _flat(draw: Draw) -> Tensor:
    return torch.cat([value.detach().reshape(*value.shape[:2], -1) for value in draw.latents.values()], -1)


def _still(values: Tensor) -> Tensor:
    """Whether any coordinate of values (K, N, D) stays within a few spacings of floats, shape (N,), bool."""
    if not values.is_floating_point():
        return torch.zeros(values.shape[1], dtype=torch.bool, device=values.device)
    largest = values.abs().amax(0)
    spacing = torch.nextafter(largest, torch.full_like(largest, torch.inf)) - largest
    return (values.amax(0) - values.amin(0) <= SPACINGS * spacing).any(-1)


def _information(batch: Batch, space: LatentSpace, u: Tensor) -> Tensor:
    """Least Var u_i · Var ∂_i log p(x, u) over the coordinates, shape (N,)."""
    pieces = u.split(max(1, ROWS_AT_ONCE // u.shape[1]))
    gradient = torch.cat([log_joint_gradient(batch.bound, space, piece)[1] for piece in pieces])
    return (u.double().var(0) * gradient.double().var(0)).amin(-1)
