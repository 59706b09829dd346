"""The one place that asks ArviZ how far Markov chains have converged."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from bayes_vae.errors import ShapeError
from bayes_vae.estimators.arviz_import import import_arviz

__all__ = ["chain_sample_size", "r_hat"]

MINIMUM_DRAWS = 4
"""ArviZ says nothing of fewer draws in a chain."""

TAILS = (0.05, 0.95)
"""Quantiles whose smaller effective sample size is that of the tail; ArviZ 1.x has to be told."""

SizeOf = Literal["bulk", "tail", "mean"]
"""What the effective sample size is for: quantiles near the median, those of 5 and 95 %, or the mean."""


def r_hat(draws: Tensor) -> Tensor:
    r"""Rank-normalized split :math:`\hat R` of each quantity: near 1 where the chains agree.

    Args:
        draws: shape (chains, draws, *rest).

    Returns:
        shape (*rest), float64; NaN where a chain never moved or a draw is not finite.

    Raises:
        ShapeError: fewer than 2 chains or 4 draws.

    Reference: Vehtari, Gelman, Simpson, Carpenter, Bürkner (2021), "Rank-normalization, folding, and localization",
    section 4.
    """
    return _each(draws, lambda functions, one: functions.rhat(one, method="rank"))


def chain_sample_size(draws: Tensor, of: SizeOf) -> Tensor:
    """Effective sample size of each quantity: how many independent draws would know as much.

    Args:
        draws: shape (chains, draws, *rest).
        of: "bulk", "tail" or "mean".

    Returns:
        shape (*rest), float64; NaN where a chain never moved or a draw is not finite.

    Raises:
        ShapeError: fewer than 2 chains or 4 draws.

    Reference: Vehtari et al. (2021), sections 3 and 4.
    """
    tails = TAILS if of == "tail" else None
    return _each(draws, lambda functions, one: functions.ess(one, method=of, prob=tails))


def _each(draws: Tensor, diagnostic: Callable[[Any, np.ndarray], Any]) -> Tensor:
    """A diagnostic of every column of draws."""
    if draws.dim() < 2 or len(draws) < 2 or draws.shape[1] < MINIMUM_DRAWS:
        raise ShapeError(
            "chains are compared with each other: expected draws of shape (chains, draws, *rest), at least 2 chains of "
            f"{MINIMUM_DRAWS} draws, got {tuple(draws.shape)}."
        )
    columns = draws.detach().double().flatten(2) if draws.dim() > 2 else draws.detach().double().unsqueeze(-1)
    arrays = np.ascontiguousarray(columns.permute(2, 0, 1).cpu().numpy())
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        functions = _functions()
        found = [_of_moving_chains(functions, one, diagnostic) for one in arrays]
    return torch.tensor(found, dtype=torch.float64, device=draws.device).reshape(draws.shape[2:])


def _of_moving_chains(functions: Any, draws: np.ndarray, diagnostic: Callable[[Any, np.ndarray], Any]) -> float:
    """ArviZ takes a chain that never moved for one of independent draws: here nothing is known of it."""
    if not np.isfinite(draws).all() or (np.ptp(draws, axis=1) == 0).any():
        return np.nan
    return float(diagnostic(functions, draws))


def _functions() -> Any:
    """What has ``rhat`` and ``ess`` of an array (chains, draws): ArviZ 0.x itself, or a part of 1.x."""
    arviz = import_arviz()
    if hasattr(arviz, "psislw"):
        return arviz
    from arviz_stats.base import array_stats

    return array_stats
