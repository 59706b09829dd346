"""A better normal to start annealing from, fitted to each observation in the pilot."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from bayes_vae.estimators.annealing.path import log_joint_gradient
from bayes_vae.estimators.latent_space import LatentSpace, pilot_draws, whitened_space
from bayes_vae.terms.opened import ROWS_AT_ONCE, Batch, OpenPair
from bayes_vae.terms.randomness import KeyedNoise, derived_seed

__all__ = ["LARGEST_LATENT", "Fitted", "fit_normal", "rows_to_fit"]

LARGEST_LATENT = 512
"""Above so many latent dimensions a full fit, which costs 2 D gradients, gives way to one of the deviations alone."""

SMALL, MATRICES_AT_ONCE = 128, 2**24
"""Up to so many dimensions any batch may be fitted; beyond them, so many numbers in its D × D matrices (128 MiB)."""

REACH = 1.0
"""Curvature is taken over so many of the guide's deviations to each side."""

FLATTEST, STEEPEST = 0.5, 100.0
"""What the curvature along a direction is held between: where the posterior is flattest it bends soonest."""

WIDEST = 5.0
"""No deviation is changed by a larger factor than this."""

WIDEST_AGAIN, FAR, MORE_ROUNDS = 30.0, 2.0, 8
"""The same in later rounds; what is far for the mean, in deviations; and the most rounds after the first."""

MARGIN = 0.5
"""Nats by which another shape must beat the curvature's own, and a later round may fall short: a rough ELBO."""

DRAWS = 4
"""Antithetic pairs of draws, put on the sphere of radius √D for less noise."""

ROUNDS, FIRST_DAMPING, DAMPING = 4, 0.7, 0.4
"""Steps of the mean, how much of the first is taken, and how much less of the next where one failed."""


def fit_normal(batch: Batch, space: LatentSpace) -> Fitted:
    r"""The space in which a standard normal is close to the posterior, from curvature and mean gradient at the guide.

    .. math:: A A^\top = H^{-1}, \quad H = -\nabla^2 \log p(x, z) \text{ by differences}, \qquad
        m \leftarrow m + \gamma \, A A^\top \, E_{v \sim N(m, A A^\top)}[\nabla \log p(x, z)]

    Of H with each deviation rescaled first, H itself, and the guide's own shape, the one with the highest ELBO on
    fixed draws is taken, and a step of the mean stands where it raises that ELBO. Where a round ends at a bound of the
    curvature, or far from where it began, the next begins at its result, in its coordinates: scales that are wrong by
    many orders are found in a few rounds. What is drawn here is used for nothing else, so annealing from the result
    stays unbiased.

    Args:
        batch: the pair, bound to observations.
        space: coordinates whitened by draws of the guide.

    Returns:
        the refitted space, and what is known of the fit.

    Reference: Opper, Archambeau (2009), "The variational Gaussian approximation revisited", eqs. 4 and 5.
    """
    fitted = _refined(batch, space, WIDEST)
    for _ in range(MORE_ROUNDS):
        part, rows = batch.part(fitted.held)
        if not len(rows):
            break
        before = fitted.at(rows)
        again = _refined(part, before.space, WIDEST_AGAIN)
        after = before.where(before.held & (again.elbo > before.elbo - MARGIN), again)
        fitted = fitted.with_rows(rows, after)
    return fitted


def rows_to_fit(opened: OpenPair, num_particles: int) -> int | None:
    """How many observations a batch may have, so that its matrices fit the memory; None where any batch may be fitted.

    Args:
        opened: the pair.
        num_particles: of each observation.
    """
    if not (opened.pair.keyed and opened.pair.splittable):
        return None
    batch = next(opened.quiet().batches(2, "size of a fit", rows=torch.zeros_like(opened.index[:1])))
    size = whitened_space(batch.bound, pilot_draws(batch, 2, "size of a fit")).size
    if size <= SMALL or size > LARGEST_LATENT:
        return None
    return max(1, min(MATRICES_AT_ONCE // size**2, ROWS_AT_ONCE // num_particles))


class Fitted(NamedTuple):
    """A fitted space, its ELBO (N,), and whether its round ended at a bound, so that the next may gain, (N,)."""

    space: LatentSpace
    elbo: Tensor
    held: Tensor

    def at(self, rows: Tensor) -> Fitted:
        """Some observations."""
        return Fitted(self.space.rows(rows), self.elbo[rows], self.held[rows])

    def with_rows(self, rows: Tensor, other: Fitted) -> Fitted:
        """The same with other fits of some observations, in their places."""
        columns = (old.index_copy(0, rows, new) for old, new in zip(self[1:], other[1:], strict=True))
        return Fitted(self.space.with_rows(rows, other.space), *columns)

    def where(self, taken: Tensor, other: Fitted) -> Fitted:
        """The other one, for some observations; those that do not take it are done."""
        elbo = torch.where(taken, other.elbo, self.elbo)
        return Fitted(self.space.where(taken, other.space), elbo, taken & other.held)


def _refined(batch: Batch, space: LatentSpace, widest: float) -> Fitted:
    """One round: the best of several shapes at the origin of a space, then steps of the mean."""
    size = space.size
    noise = KeyedNoise(derived_seed(batch.seed, "start")).normal("draws", batch.index, range(DRAWS), (size,), space.loc)
    noise, radius = space.moving(noise), space.dimensions.sqrt().unsqueeze(-1).to(noise)
    sphere = noise * (radius / noise.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(noise.dtype).tiny))
    draws = torch.cat([sphere, -sphere])

    def fit(means: Tensor, root: Tensor, held: Tensor) -> _Fit:
        trial = space.refitted(means, root)
        value, gradient = log_joint_gradient(batch.bound, trial, draws)
        return _Fit(means, root, value.mean(0).nan_to_num(nan=-torch.inf), gradient.mean(0), held)

    means = torch.zeros_like(space.loc)
    best, *others = (fit(means, *shape) for shape in _roots(_curvature(batch, space), widest))
    for other in others:
        best = best.or_better(other, MARGIN)
    damping = torch.full_like(best.elbo, FIRST_DAMPING)
    for _ in range(ROUNDS):
        steps = damping.unsqueeze(-1) * (best.root @ best.gradient.unsqueeze(-1)).squeeze(-1)
        moved = fit(best.means + steps, best.root, best.held)
        damping = torch.where(moved.elbo > best.elbo, damping, DAMPING * damping)
        best = best.or_better(moved)
    return Fitted(space.refitted(best.means, best.root), best.elbo, best.held | best.far)


class _Fit(NamedTuple):
    """A normal: means (N, D), A (N, D, D), ELBO (N,), its gradient in units of A, and whether a bound was met (N,)."""

    means: Tensor
    root: Tensor
    elbo: Tensor
    gradient: Tensor
    held: Tensor

    @property
    def far(self) -> Tensor:
        """Whether the mean went far, in units of the fit, shape (N,)."""
        distance: Tensor = torch.linalg.solve(self.root, self.means.unsqueeze(-1)).squeeze(-1).norm(dim=-1)
        return distance > FAR * math.sqrt(self.means.shape[-1])

    def or_better(self, other: _Fit, margin: float = 0.0) -> _Fit:
        """The other one, for the observations whose ELBO it raises by more than a margin."""
        rose = other.elbo > self.elbo + margin
        pairs = zip(self, other, strict=True)
        return _Fit(*(torch.where(rose.reshape(-1, *[1] * (old.dim() - 1)), new, old) for old, new in pairs))


def _curvature(batch: Batch, space: LatentSpace) -> Tensor:
    """Minus the second derivatives of log p(x, z) about the guide's mean, by central differences, shape (N, D, D)."""
    count, size = space.loc.shape
    axes = REACH * torch.eye(size, device=space.loc.device).to(space.loc).unsqueeze(1).expand(-1, count, -1)
    pieces = torch.cat([axes, -axes]).split(max(1, ROWS_AT_ONCE // count))
    gradients = torch.cat([log_joint_gradient(batch.bound, space, piece)[1] for piece in pieces])
    curvature = (gradients[size:] - gradients[:size]).transpose(0, 1) / (2 * REACH)
    return space.of_free((curvature + curvature.mT) / 2)


def _roots(curvature: Tensor, widest: float = WIDEST) -> list[tuple[Tensor, Tensor]]:
    """Matrices A to choose from, each (N, D, D): A A^T = H^{-1} within bounds with and without rescaling, and I.

    Beside each, whether a bound was met, shape (N,).
    """
    same = torch.eye(curvature.shape[-1], device=curvature.device).to(curvature).expand_as(curvature)
    finite = curvature.isfinite().all(-1).all(-1)
    curvature = torch.where(finite[:, None, None], curvature, same)
    diagonal = curvature.diagonal(dim1=-2, dim2=-1)
    deviations = diagonal.clamp(widest**-2, widest**2).rsqrt()
    rescaled = deviations.unsqueeze(-1) * curvature * deviations.unsqueeze(-2)
    root, held = _inverse_root(rescaled)
    held = held | ((diagonal < widest**-2) | (diagonal > widest**2)).any(-1)
    return [(deviations.unsqueeze(-1) * root, held), _inverse_root(curvature), (same, torch.zeros_like(finite))]


def _inverse_root(curvature: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetric H^{-1/2} of curvatures held within bounds, shape (N, D, D), and whether one was, (N,)."""
    values, vectors = torch.linalg.eigh(curvature)
    root: Tensor = (vectors / values.clamp(FLATTEST, STEEPEST).sqrt().unsqueeze(-2)) @ vectors.mT
    return root, ((values < FLATTEST) | (values > STEEPEST)).any(-1)
