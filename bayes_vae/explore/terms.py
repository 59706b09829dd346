"""The terms of Bayes' rule of a few observations in float64, by sums over nodes: what the page shows beside its own."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bayes_vae.explore.densities import Normals

__all__ = ["Plane", "PlaneTerms", "expected_terms", "first_grid", "plane_of", "plane_terms"]

REACH = 5.0
"""The plane reaches so many deviations to each side of the prior and of every q, as in ``bayes_rule_on_grid``."""

NODES_AT_ONCE = 128
"""Nodes that are decoded together."""

FIRST_POINTS = 31
"""Nodes along each dimension of the grid that the page shows first, before it has run the decoder."""

HERMITE_POINTS = 24
"""Nodes along each dimension of an expectation under q."""

PILOT_DRAWS = 4096
"""Draws of a prior that say how wide it is."""


class Plane(NamedTuple):
    """The rectangle of z that the page shows.

    Attributes:
        low, high: its corners, shape (2,) each.
    """

    low: Tensor
    high: Tensor

    def axes(self, num_points: int) -> tuple[Tensor, Tensor]:
        """Evenly spaced values of the first and the second latent number, shape (G,) each."""
        steps = torch.arange(num_points, dtype=torch.float64, device=self.low.device) / (num_points - 1)
        first, second = (self.low[i] + (self.high[i] - self.low[i]) * steps for i in range(2))
        return first, second


class PlaneTerms(NamedTuple):
    """Each of shape (N,), nats.

    Attributes:
        log_evidence: log of the joint density's sum over the nodes.
        refinement_error: its change when every second node is left out.
    """

    log_evidence: Tensor
    refinement_error: Tensor


def plane_of(prior: Any, q: Normals) -> Plane:
    """The rectangle that holds five deviations of the prior, and of every q."""
    draws = prior.sample((PILOT_DRAWS,))
    spread = q.scale_tril.square().sum(-1).sqrt()
    parts = ((draws.mean(0, keepdim=True), draws.std(0, keepdim=True)), (q.loc, spread))
    low = torch.cat([middle - REACH * each for middle, each in parts]).amin(0)
    high = torch.cat([middle + REACH * each for middle, each in parts]).amax(0)
    return Plane(low.double(), high.double())


def plane_terms(model: Any, x: Tensor, plane: Plane, num_points: int) -> PlaneTerms:
    r"""log p(x) as the sum of ``bayes_rule_on_grid``, each node decoded once for all observations.

    .. math:: \log p(x) = \log \sum_{ij} p(z_{ij}) \, p(x \mid z_{ij}) \, h_1 h_2

    Args:
        model: in float64.
        x: observations, shape (N, *event), float64.
        plane: where the nodes are.
        num_points: G, nodes along each dimension.
    """
    axes = plane.axes(num_points)
    nodes = torch.cartesian_prod(*axes)
    log_joint = torch.cat([_log_joint(model, x, z) for z in nodes.split(NODES_AT_ONCE)]).T
    log_joint = log_joint.reshape(len(x), num_points, num_points)
    log_cell = math.log(float(axes[0][1] - axes[0][0]) * float(axes[1][1] - axes[1][0]))
    fine = log_joint.flatten(1).logsumexp(1) + log_cell
    coarse = log_joint[:, ::2, ::2].flatten(1).logsumexp(1) + log_cell + 2 * math.log(2)
    return PlaneTerms(fine, (fine - coarse).abs())


def _log_joint(model: Any, x: Tensor, z: Tensor) -> Tensor:
    """log p(x, z), shape (nodes, N)."""
    log_prior: Tensor = model.prior().log_prob(z)
    return _log_likelihood(model, x, z) + log_prior.unsqueeze(1)


def _log_likelihood(model: Any, x: Tensor, z: Tensor) -> Tensor:
    """log p(x given z), shape (nodes, N)."""
    found: Tensor = model.likelihood(z.unsqueeze(1)).log_prob(x)
    return found


def first_grid(model: Any, x: Tensor, plane: Plane) -> Tensor:
    """log p(x given z) on few nodes of the plane, for a first picture: shape (N, FIRST_POINTS ** 2), float32, nats."""
    nodes = torch.cartesian_prod(*plane.axes(FIRST_POINTS))
    return torch.cat([_log_likelihood(model, x, z) for z in nodes.split(NODES_AT_ONCE)]).T.float()


def expected_terms(model: Any, x: Tensor, q: Normals) -> tuple[Tensor, Tensor]:
    r"""E_q log p(x given z) and KL(q to p(z)) of normals over the plane, by Gauss–Hermite nodes.

    Args:
        model: in float64, of two latent dimensions.
        x: observations, shape (N, *event), float64.
        q: of these observations.

    Returns:
        two of shape (N,), nats; the ELBO is the first minus the second.
    """
    points, weights = (
        torch.from_numpy(part).to(x.device) for part in np.polynomial.hermite_e.hermegauss(HERMITE_POINTS)
    )
    noise = torch.cartesian_prod(points, points)
    shares = torch.cartesian_prod(weights, weights).prod(1) / (2 * math.pi)
    likelihood, kl = [], []
    for row in range(len(x)):
        z = q.loc[row] + noise @ q.scale_tril[row].T
        log_q = -noise.square().sum(1) / 2 - math.log(2 * math.pi) - q.scale_tril[row].diagonal().log().sum()
        likelihood.append(shares @ model.likelihood(z).log_prob(x[row]))
        kl.append(shares @ (log_q - model.prior().log_prob(z)))
    return torch.stack(likelihood), torch.stack(kl)
