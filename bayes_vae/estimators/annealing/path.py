"""The geometric path from a start distribution to the joint density, and Hamiltonian moves along it."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import pyro
import torch
from torch import Tensor

from bayes_vae.estimators.latent_space import LatentSpace
from bayes_vae.terms.containers import JointTerms
from bayes_vae.terms.gradients import gradients_at
from bayes_vae.terms.stream import BoundBatch

__all__ = [
    "COARSEST",
    "GuidePath",
    "Path",
    "PriorPath",
    "State",
    "float_resolution",
    "hamiltonian_move",
    "log_joint_gradient",
]

WIDENING = 1.2
"""A start with the guide's own scales has them times this, so that its tails cover the posterior's."""

NEIGHBOURS = (-2, -1, 1, 2)
"""Floats, counted from where a chain ends, at which log p(x, z) is compared."""

COARSEST = 0.3
"""Nats by which log p(x, z) may change from one float to the next."""


class State(NamedTuple):
    """A position v of shape (K, N, D), and there: log start density, log weight direction, and their gradients."""

    position: Tensor
    log_start: Tensor
    delta: Tensor
    start_gradient: Tensor
    delta_gradient: Tensor

    def log_density(self, temperature: Tensor) -> Tensor:
        """log f_β = log start + β delta, shape (K, N)."""
        return self.log_start + temperature * self.delta

    def gradient(self, temperature: Tensor) -> Tensor:
        """Gradient of log f_β, shape (K, N, D)."""
        return self.start_gradient + temperature.unsqueeze(-1) * self.delta_gradient


class Path(Protocol):
    """log f_β(v) = log start(v) + β delta(v): a normalized start at β = 0, log p(x, z) + log|dz/dv| at β = 1.

    Attributes:
        space: the coordinates v.
    """

    space: LatentSpace

    def state(self, position: Tensor) -> State:
        """Densities and gradients at a position."""


class Excess(Protocol):
    """How far a start lies above the component that a chain belongs to."""

    def excess(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Of the log densities, shape (K, N), and its gradient, (K, N, D)."""


def log_joint_gradient(batch: BoundBatch, space: LatentSpace, position: Tensor) -> tuple[Tensor, Tensor]:
    """log p(x, z) + log |dz/dv| at positions v of shape (K, N, D), and its gradient; shapes (K, N) and (K, N, D)."""
    with torch.enable_grad():
        v = position.detach().requires_grad_()
        terms, log_det = _terms(batch, space, v)
        target = terms.log_prior + terms.log_likelihood + log_det
        (gradient,) = torch.autograd.grad(target.sum(), v)
    return target.detach(), gradient


def _terms(batch: BoundBatch, space: LatentSpace, v: Tensor) -> tuple[JointTerms, Tensor]:
    """The model's terms at coordinates v, and log |dz/dv|, each (K, N).

    A trajectory that overflows asks for densities with parameters that are NaN. The move is then rejected; a program's
    own validation would end the run instead, so it is off here.
    """
    latents, log_det = space.latents(v)
    with pyro.validation_enabled(False):
        return batch.log_joint(latents), log_det


def float_resolution(batch: BoundBatch, space: LatentSpace, position: Tensor) -> Tensor:
    """Largest change of log p(x, z) from positions v, (K, N, D), to neighbouring floats, shape (N,), nats.

    A density that is narrower than the spacing of floats is known at a few points only, whatever is computed from
    them. All coordinates are moved at once, up and down, by so many spacings as :data:`NEIGHBOURS` says.
    """
    plain = space.unwhitened()
    here = plain.coordinates(space.latents(position)[0])
    spacing = torch.nextafter(here.abs(), torch.full_like(here, torch.inf)) - here.abs()
    value = _joint(batch, plain, here)
    changes = [(_joint(batch, plain, here + move * spacing) - value).abs() for move in NEIGHBOURS]
    return torch.stack(changes).nan_to_num(nan=torch.inf).amax((0, 1)).double()


def _joint(batch: BoundBatch, space: LatentSpace, position: Tensor) -> Tensor:
    terms, log_det = _terms(batch, space, position)
    return terms.log_prior + terms.log_likelihood + log_det


class GuidePath:
    """From the widened standard normal of a space: in z, a normal near the guide.

    Args:
        batch: the pair, bound to observations.
        space: coordinates whitened by draws of the guide, or refitted; with a mixture, those of each chain's component.
        mixture: what the start is made of where it has several modes.
    """

    def __init__(self, batch: BoundBatch, space: LatentSpace, mixture: Excess | None = None) -> None:
        self.batch, self.space, self.mixture = batch, space, mixture
        self.widening = WIDENING if space.mixing is None else 1.0
        self._log_constant = (space.dimensions * math.log(self.widening * math.sqrt(2 * math.pi))).to(space.loc)

    def start(self, noise: Tensor) -> Tensor:
        """Draws of the start, from standard normal noise of shape (K, N, D)."""
        return self.widening * self.space.moving(noise)

    def state(self, position: Tensor) -> State:
        """Densities and gradients; one pass forward and backward through the model."""
        target, gradient = log_joint_gradient(self.batch, self.space, position)
        start_gradient = -position / self.widening**2
        log_start = 0.5 * (position * start_gradient).sum(-1) - self._log_constant
        delta, delta_gradient = target - log_start, gradient - start_gradient
        if self.mixture is not None:
            excess, slope = self.mixture.excess(position)
            delta, delta_gradient = delta - excess, delta_gradient - slope
        return State(position, log_start, delta, start_gradient, delta_gradient)


class PriorPath:
    """From the prior; the weight direction is the log likelihood.

    Args:
        batch: the pair, bound to observations.
        space: coordinates whitened by draws of the prior.
    """

    def __init__(self, batch: BoundBatch, space: LatentSpace) -> None:
        self.batch, self.space = batch, space

    def state(self, position: Tensor) -> State:
        """Densities and gradients."""
        with torch.enable_grad():
            v = position.detach().requires_grad_()
            terms, log_det = _terms(self.batch, self.space, v)
            log_start = terms.log_prior + log_det
            (start_gradient,) = gradients_at(log_start, v, retain_graph=True)
            (gradient,) = gradients_at(terms.log_likelihood, v)
        return State(position, log_start.detach(), terms.log_likelihood.detach(), start_gradient, gradient)


def hamiltonian_move(
    path: Path, state: State, temperature: Tensor, step: Tensor, num_leapfrog: int, noise: Tensor
) -> tuple[State, Tensor]:
    r"""One Hamiltonian move that leaves f_β unchanged, for every particle of every observation.

    Args:
        path: gives densities and gradients.
        state: where the particles are.
        temperature: β, broadcast to (K, N).
        step: leapfrog step of each observation, shape (N,), in units of the whitened coordinates.
        num_leapfrog: leapfrog steps.
        noise: standard normal, shape (K, N, D + 1): momenta, and one number for the decision.

    Returns:
        the new state, and the acceptance probability (K, N).

    Reference: Neal (2011), "MCMC using Hamiltonian dynamics", section 3.
    """
    momentum, decision = path.space.moving(noise[..., :-1]), torch.special.ndtr(noise[..., -1])
    length = step.unsqueeze(-1)
    moving, p = state, momentum + 0.5 * length * state.gradient(temperature)
    for leap in range(num_leapfrog):
        moving = path.state(moving.position + length * p)
        kick = length if leap < num_leapfrog - 1 else 0.5 * length
        p = p + kick * moving.gradient(temperature)
    energy = moving.log_density(temperature) - 0.5 * p.square().sum(-1)
    energy = energy - state.log_density(temperature) + 0.5 * momentum.square().sum(-1)
    acceptance = energy.nan_to_num(nan=-torch.inf).clamp(max=0).exp()
    accepted = decision < acceptance
    return State(*(_choose(accepted, new, old) for new, old in zip(moving, state, strict=True))), acceptance


def _choose(accepted: Tensor, new: Tensor, old: Tensor) -> Tensor:
    mask = accepted.unsqueeze(-1) if new.dim() > accepted.dim() else accepted
    return torch.where(mask, new, old)
