"""The best factorized normal for each observation by itself: what an encoder would give if it cost nothing to have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from bayes_vae.distributions import analytic_kl, diagonal_normal
from bayes_vae.terms.factorized import FactorizedBatch, variational_normal
from bayes_vae.terms.opened import ROWS_AT_ONCE
from bayes_vae.terms.randomness import KeyedNoise

__all__ = ["WINDOW", "BestNormal", "Plan", "best_normal", "log_weights"]

WINDOW = 50
"""Steps whose mean ELBO is compared with that of the window before."""

PAIRS = 8
"""Antithetic pairs of draws in one step."""

FIRST_RATE, RATE_DECAY, STALLS = 0.05, 0.25, 3
"""Adam's first rate, in deviations of the amortized q; its factor at each stall; the stall that ends it."""

DECAYS = (0.9, 0.999)
"""Adam's two decay rates."""

WHITENED_RATIO = 4
"""Draws for each dimension from which all second moments are set, not the variances alone."""

SELECTION_DRAWS, SELECTION_MARGIN = 1024, 2.0
"""Draws that decide between the optimised q and its start, and serve nothing else; standard errors it must gain."""


class BestNormal(NamedTuple):
    """Means and deviations, each (N, D), whether each observation's optimisation converged, and its steps, (N,)."""

    loc: Tensor
    scale: Tensor
    converged: Tensor
    num_steps: Tensor


@dataclass(frozen=True)
class Plan:
    """When an observation's optimisation ends."""

    tolerance: float
    max_steps: int


def log_weights(batch: FactorizedBatch, loc: Tensor, scale: Tensor, noise: Tensor) -> Tensor:
    """log p(x, z) − log q(z) at z = loc + scale ε, shape (K, N), float64; its mean is the ELBO of that q."""
    z = loc + scale * noise
    log_prior, log_likelihood = batch.log_joint({"z": z})
    log_q: Tensor = diagonal_normal(torch.zeros_like(noise), torch.ones_like(noise)).log_prob(noise)
    log_q = log_q - scale.log().sum(-1)
    return log_prior.double() + log_likelihood.double() - log_q.double()


def best_normal(
    batch: FactorizedBatch, noise: KeyedNoise, plan: Plan, tick: Callable[[int], object] | None = None
) -> BestNormal:
    r"""Climb the ELBO over m and s of each observation, from the amortized q.

    .. math:: \max_{m, s} \; E_{\epsilon} \log p(x \mid m + s \epsilon) - \mathrm{KL}(N(m, s^2) \,\|\, p(z))

    Adam on m and log s, in units of the amortized deviations, 16 antithetic draws a step. Step t of every window of 50
    takes the same noise, so that two windows differ by the parameters alone, and the 800 draws of a window have mean
    zero and covariance one exactly: where log p(x, z) is quadratic in z their ELBO is the exact one, and its maximum
    the exact maximum. Without that the noise would cost about D / 800 nats. An observation stalls where its mean ELBO
    over a window improves by less than the tolerance: its rate then falls to a quarter, and the third stall ends it.
    The result is the mean of the parameters over its last window; the start, unless that is better on fresh draws by
    two standard errors.

    Args:
        batch: of a factorized pair.
        noise: keyed noise; the sites "climb" and "selection" are used.
        plan: tolerance in nats, and the most steps.
        tick: called with the steps that were made since, after each.
    """
    start_loc, start_scale = (part.detach() for part in variational_normal(batch))
    draws = _with_unit_moments(
        noise.normal("climb", batch.index, range(WINDOW * PAIRS), start_loc.shape[1:], start_loc)
    )
    climb = _Climb(batch, start_loc, start_scale)
    while bool(climb.running.any()) and climb.steps_done < plan.max_steps:
        climb.window(draws, plan.tolerance, tick or (lambda steps: None))
    loc, scale = climb.at(climb.centre)
    better = _gains(batch, noise, (loc, scale), (start_loc, start_scale)).unsqueeze(-1)
    return BestNormal(
        torch.where(better, loc, start_loc),
        torch.where(better, scale, start_scale),
        ~climb.running,
        climb.num_steps,
    )


def _with_unit_moments(noise: Tensor) -> Tensor:
    """Draws (K, N, D) whose second moments are exactly those of the standard normal, for each observation.

    All of them where K is several times D, else those of each dimension by itself; antithetic pairs then have mean
    zero too.
    """
    count, _, size = noise.shape
    if size * WHITENED_RATIO > count:
        return noise / noise.square().mean(0).sqrt()
    columns = noise.permute(1, 2, 0)
    factor = torch.linalg.cholesky(columns @ columns.mT / count)
    whitened: Tensor = torch.linalg.solve_triangular(factor, columns, upper=False)
    return whitened.permute(2, 0, 1)


def _gains(batch: FactorizedBatch, noise: KeyedNoise, new: tuple[Tensor, Tensor], old: tuple[Tensor, Tensor]) -> Tensor:
    """Whether the ELBO of one q is above that of another beyond its error, shape (N,), bool."""
    step = max(1, ROWS_AT_ONCE // len(batch.index))
    rows = []
    for first in range(0, SELECTION_DRAWS, step):
        particles = range(first, min(first + step, SELECTION_DRAWS))
        fresh = noise.normal("selection", batch.index, particles, old[0].shape[1:], old[0])
        rows.append(log_weights(batch, *new, fresh) - log_weights(batch, *old, fresh))
    gain = torch.cat(rows)
    return gain.mean(0) > SELECTION_MARGIN * (gain.var(0) / SELECTION_DRAWS).sqrt()


class _Climb:
    """Adam with a rate, a stopping rule and a state of its own for each observation."""

    def __init__(self, batch: FactorizedBatch, loc: Tensor, scale: Tensor) -> None:
        self.batch, self.loc, self.scale = batch, loc, scale
        self.position = torch.zeros(2, *loc.shape, dtype=loc.dtype, device=loc.device)
        self.centre = self.position
        self.first, self.second = torch.zeros_like(self.position), torch.zeros_like(self.position)
        self.rate = torch.full_like(loc[:, 0], FIRST_RATE)
        self.before = torch.full_like(self.rate, -torch.inf, dtype=torch.float64)
        self.stalls = torch.zeros_like(self.rate, dtype=torch.long)
        self.num_steps = torch.zeros_like(self.stalls)
        self.running = torch.ones_like(self.rate, dtype=torch.bool)
        self.steps_done = 0

    def at(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Means and deviations at a position of shape (2, N, D)."""
        return self.loc + self.scale * position[0], self.scale * position[1].exp()

    def window(self, draws: Tensor, tolerance: float, tick: Callable[[int], object]) -> None:
        """One window of steps, then the stopping rule; the centre of observations that have ended stays."""
        total, centre = torch.zeros_like(self.before), torch.zeros_like(self.position)
        for half in draws.split(PAIRS):
            elbo, gradient = self._elbo(torch.cat([half, -half]))
            total = total + elbo
            self._step(gradient)
            tick(1)
            centre = centre + self.position
        self.centre = torch.where(self.running.unsqueeze(-1), centre / WINDOW, self.centre)
        self.num_steps = self.num_steps + WINDOW * self.running
        mean = total / WINDOW
        stalled = self.running & (mean - self.before < tolerance)
        self.before, self.stalls = mean, self.stalls + stalled
        self.rate = torch.where(stalled, self.rate * RATE_DECAY, self.rate)
        self.running = self.running & (self.stalls < STALLS)

    def _elbo(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Reparameterized ELBO with the closed-form KL, shape (N,), and its gradient at the position."""
        with torch.enable_grad():
            position = self.position.detach().requires_grad_()
            loc, scale = self.at(position)
            log_likelihood = self.batch.log_joint({"z": loc + scale * noise}).log_likelihood
            kl = analytic_kl(diagonal_normal(loc, scale), self.batch.prior)
            assert kl is not None, "factorized has looked"
            elbo = log_likelihood.mean(0) - kl
            (gradient,) = torch.autograd.grad(elbo.sum(), position)
        return elbo.detach().double(), gradient

    def _step(self, gradient: Tensor) -> None:
        """One ascent step of Adam (Kingma, Ba 2015, algorithm 1)."""
        self.steps_done += 1
        self.first = DECAYS[0] * self.first + (1 - DECAYS[0]) * gradient
        self.second = DECAYS[1] * self.second + (1 - DECAYS[1]) * gradient.square()
        first = self.first / (1 - DECAYS[0] ** self.steps_done)
        second = self.second / (1 - DECAYS[1] ** self.steps_done)
        move = self.rate.unsqueeze(-1) * first / (second.sqrt() + 1e-8)
        self.position = self.position + move
