"""A start for latents of many dimensions: means and deviations alone, from gradients at random corners."""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_vae.estimators.annealing.path import log_joint_gradient
from bayes_vae.estimators.latent_space import LatentSpace
from bayes_vae.terms.opened import Batch
from bayes_vae.terms.randomness import KeyedNoise, derived_seed

__all__ = ["fit_diagonal"]

CORNERS, ROUNDS = 16, 24
"""Pairs of opposite corners, and the most rounds."""

NARROWER, WIDER = 30.0, 3.0
"""No deviation is divided, or multiplied, by more than this in one round: a curvature near zero is mostly noise."""

SETTLED, SHORTER = 0.1, 0.4
"""A fit is done where deviations change by no more than this share on the mean; what a step that failed is cut to."""


def fit_diagonal(batch: Batch, space: LatentSpace) -> LatentSpace:
    r"""The space in which a standard normal with independent dimensions is close to the posterior.

    .. math:: h_i = \tfrac12 E_c\big[c_i \, (g_i(-c) - g_i(c))\big], \quad s_i \leftarrow s_i h_i^{-1/2}, \qquad
        m \leftarrow m + \gamma \, s \, h^{-1} E_c[g(c)]

    g is the gradient of log p(x, z) in coordinates v, and c are random corners v_i = ±1, which lie at the distance √D
    at which a standard normal has its mass. E[h] is the diagonal of minus the second derivatives where these are
    constant; what other dimensions add averages out over corners. A round stands where it raises the mean of log p
    over the corners, which but for a constant is the ELBO. What is drawn here is used for nothing else.

    Args:
        batch: the pair, bound to observations.
        space: coordinates whitened by draws of the guide, without an A.

    Reference: Hutchinson (1990), "A stochastic estimator of the trace of the influence matrix"; Bekas, Kokiopoulou,
    Saad (2007), "An estimator for the diagonal of a matrix".
    """
    noise = KeyedNoise(derived_seed(batch.seed, "corners"))
    corner = noise.normal("corners", batch.index, range(CORNERS), (space.size,), space.loc).sign()
    corners = space.moving(torch.cat([corner, -corner]))

    def looked_at(space: LatentSpace) -> tuple[Tensor, Tensor]:
        value, gradient = log_joint_gradient(batch.bound, space, corners)
        return value.mean(0).nan_to_num(nan=-torch.inf), gradient

    height, gradient = looked_at(space)
    length = torch.ones_like(height)
    for _ in range(ROUNDS):
        curvature = -(corners * gradient).mean(0).nan_to_num(nan=0.0)
        factors = curvature.clamp(WIDER**-2, NARROWER**2).rsqrt()
        power = length.unsqueeze(-1).to(factors)
        step = power * factors.square() * gradient.mean(0).nan_to_num(nan=0.0)
        moved = space.rescaled(step, factors**power)
        higher, slope = looked_at(moved)
        better = higher > height
        space = space.with_scales(better, moved)
        gradient, height = torch.where(better.unsqueeze(-1), slope, gradient), torch.where(better, higher, height)
        length = torch.where(better, (length / SHORTER).clamp(max=1.0), SHORTER * length)
        change = (factors.log() * power).abs().mean(-1) + (step / factors).abs().mean(-1)
        if bool((change < SETTLED).all()):
            break
    return space
