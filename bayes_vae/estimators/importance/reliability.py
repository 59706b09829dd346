"""The one place that asks ArviZ for Pareto-smoothed importance sampling, and what its k̂ means here."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bayes_vae.errors import NumericalError, ShapeError
from bayes_vae.estimators.arviz_import import import_arviz

__all__ = ["MINIMUM_PARTICLES", "pareto_k", "pareto_k_threshold"]

MINIMUM_PARTICLES = 30
"""Fewer weights than this have no tail to speak of; ArviZ 1.x fits none to fewer."""

ROUNDING = 3e-6
"""Weights are equal where their logarithms differ by less than this part of their size: float32 sums do no better."""


def pareto_k(log_importance_weights: Tensor) -> Tensor:
    r"""Shape k̂ of the generalized Pareto distribution fitted to the largest weights, for each observation.

    A weight distribution with tail index k has finite moments up to order 1/k: below 0.5 the variance is finite,
    and above about 0.7 no practical number of particles makes the mean of the weights reliable.

    Args:
        log_importance_weights: shape (K, N), nats; one set of weights for each observation.

    Returns:
        shape (N,), float64. −inf where all weights are equal but for rounding (a perfect guide: nothing to
        estimate); +inf where the largest weights are tied, so that no Pareto distribution fits them; NaN where there
        are fewer than 30 weights.

    Raises:
        ShapeError: not of shape (K, N).
        NumericalError: NaN, +inf, or an observation whose weights are all zero.

    Reference: Vehtari, Simpson, Gelman, Yao, Gabry (2024), "Pareto smoothed importance sampling", section 3.
    """
    if log_importance_weights.dim() != 2:
        raise ShapeError(
            f"pareto_k takes log weights of shape (K, N), particles first, got {tuple(log_importance_weights.shape)}."
        )
    weights = np.ascontiguousarray(log_importance_weights.detach().T.cpu().numpy(), dtype=np.float64)
    if np.isnan(weights).any() or (weights == np.inf).any():
        raise NumericalError("pareto_k: the log weights hold NaN or +infinity: look for them in the log terms.")
    if (weights == -np.inf).all(axis=1).any():
        raise NumericalError("pareto_k: every weight of an observation is zero, so there is no tail to fit.")
    return torch.tensor([_one(row) for row in weights], dtype=torch.float64, device="cpu")


def _one(log_weights: np.ndarray) -> float:
    if len(log_weights) < MINIMUM_PARTICLES:
        return math.nan
    largest = log_weights.max()
    shifted = log_weights - largest
    if shifted.min() >= -(ROUNDING * max(1.0, abs(largest))):
        return -math.inf
    return _of_tail(np.sort(np.maximum(shifted, -700.0)))


def _of_tail(ordered: np.ndarray) -> float:
    """k̂ of the weights above the cutoff; +inf where fewer than 6 are, or the lowest quarter of them are equal.

    ArviZ 0.x fits what lies above the cutoff; 1.x also fits what equals it, and stops at a tied tail. So both are
    handed the same tail, after as many weights at the cutoff as make it the tail of the whole.
    """
    cutoff = ordered[-math.ceil(min(len(ordered) / 5, 3 * math.sqrt(len(ordered)))) - 1]
    tail = ordered[ordered > cutoff]
    if len(tail) < 6 or np.exp(tail[int(len(tail) / 4 + 0.5) - 1]) <= np.exp(tail[0]):
        return math.inf
    whole = max(5 * len(tail), math.ceil(len(tail) ** 2 / 9))
    return _arviz_pareto_k(np.concatenate([np.full(whole - len(tail), cutoff), tail]))


def _arviz_pareto_k(log_weights: np.ndarray) -> float:
    """ArviZ 0.x takes log weights; 1.x takes log likelihoods and negates them inside."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        psislw, sign = _arviz_psislw()
        return float(psislw(sign * log_weights)[1])


def _arviz_psislw() -> tuple[Any, float]:
    arviz = import_arviz()
    if hasattr(arviz, "psislw"):
        return arviz.psislw, 1.0
    from arviz_stats.base import array_stats

    return array_stats.psislw, -1.0


def pareto_k_threshold(num_particles: int) -> float:
    """Largest k̂ at which K weights give a reliable mean: min(1 − 1/log10 K, 0.7).

    Reference: Vehtari et al. (2024), section 3.2.4.

    >>> pareto_k_threshold(100), pareto_k_threshold(5000)
    (0.5, 0.7)
    """
    if num_particles < MINIMUM_PARTICLES:
        return -math.inf
    return min(1 - 1 / math.log10(num_particles), 0.7)
