"""A pilot whose weights are thrown away chooses how many particles each observation needs."""

from __future__ import annotations

import torch
from torch import Tensor

from bayes_vae.estimators.importance.reliability import pareto_k, pareto_k_threshold
from bayes_vae.terms.whole_numbers import real_number

__all__ = ["FEWEST_PARTICLES", "PILOT_PARTICLES", "check_tolerance", "particles_needed"]

PILOT_PARTICLES = 256
"""Draws of the pilot for each observation; never among those that are averaged."""

FEWEST_PARTICLES = 128
"""No observation gets fewer, unless fewer are allowed: k̂ of the averaged weights must still mean something."""

LARGEST = 1e300
"""Tolerance: finite, also as its square root."""

FINITE_VARIANCE = 0.5
"""Below this tail index the weights have a variance, and the error falls with the root of K."""


def check_tolerance(tolerance: float | None) -> float | None:
    """A tolerance as Python's ``float``; None stays None.

    Raises:
        SettingsError: one that no number of particles can meet.
    """
    if tolerance is None:
        return None
    return real_number("tolerance", tolerance, "positive, in nats", below=LARGEST)


def particles_needed(log_weights: Tensor, tolerance: float, most: int, *, discrete: bool = False) -> Tensor:
    r"""Particles at which the standard error of log p(x) should fall to a tolerance, from the weights of a pilot.

    .. math:: K_n = M \Big( \frac{1}{\tau} \sqrt{\frac{r_n}{M}} \Big)^{1 / (1 - \kappa_n)}, \qquad
        r_n = \frac{\operatorname{Var} w_n}{\bar w_n^2}, \quad \kappa_n = \max(\hat k_n, \tfrac12)

    M is the pilot's number of draws. Where the weights have a variance this is r_n / τ²; where they have none, the
    error falls more slowly, as K^{κ−1}. It is rounded up to a power of two, so that observations with the same K run
    together. Where k̂ lies above what M draws can vouch for, the pilot knows too little and the most are taken.

    Args:
        log_weights: of the pilot, shape (M, N), nats.
        tolerance: τ, nats.
        most: the largest K.
        discrete: whether a latent is discrete: then k̂ is not defined, and the variance alone decides.

    Returns:
        K of each observation, shape (N,), int64, between 128 and ``most``.
    """
    count = len(log_weights)
    missed = (log_weights == -torch.inf).all(0)
    weights = log_weights.masked_fill(missed, 0.0)
    scaled = (weights - weights.amax(0)).exp()
    variance = scaled.var(0) / scaled.mean(0).square()
    shape = torch.full_like(variance, -torch.inf) if discrete else pareto_k(weights).to(variance)
    slow = torch.where(shape > FINITE_VARIANCE, shape, FINITE_VARIANCE).clamp(max=0.9)
    at_pilot = (variance / count).sqrt() / tolerance
    needed = torch.maximum(count * at_pilot ** (1 / (1 - slow)), count * at_pilot.square())
    rounded = 2 ** needed.clamp(1, most).log2().ceil()
    unknown = missed | ~(shape <= pareto_k_threshold(count)) | ~variance.isfinite()
    chosen = torch.where(unknown, most, rounded.clamp(min=FEWEST_PARTICLES)).clamp(max=most)
    return chosen.long()
