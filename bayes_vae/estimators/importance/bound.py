"""The importance-weighted bound, a pure function of the log weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bayes_vae.errors import NumericalError, ShapeError

__all__ = ["effective_sample_size", "grouped_bound", "importance_weighted_bound"]


def importance_weighted_bound(log_importance_weights: Tensor) -> Tensor:
    r"""Importance-weighted bound on the log evidence.

    .. math:: L_K = \log \frac{1}{K} \sum_k p(x, z_k) / q(z_k | x), \quad z_k \sim q(z | x)

    Args:
        log_importance_weights: shape (K, N), nats. K is the number of rows, however many were asked for.

    Returns:
        shape (N,), nats; a lower bound on log p(x) in expectation, tighter as K grows. K = 1 is the ELBO.

    Raises:
        ShapeError: not of shape (K, N) with K of at least 1.
        NumericalError: an observation whose weights are all zero, or NaN.

    Reference: Burda, Grosse, Salakhutdinov (2016), "Importance weighted autoencoders", eq. 8.

    >>> importance_weighted_bound(torch.tensor([[0.0], [0.0]]))
    tensor([0.])
    """
    _check(log_importance_weights)
    return torch.logsumexp(log_importance_weights, 0) - math.log(len(log_importance_weights))


def grouped_bound(log_importance_weights: Tensor, group_size: int) -> Tensor:
    """The bound with ``group_size`` particles, for each of the K / group_size groups of consecutive draws.

    Args:
        log_importance_weights: shape (K, N), nats.
        group_size: k; divides K.

    Returns:
        shape (K / k, N), nats. Its mean over groups estimates L_k, and never falls as k grows to a multiple of k.

    Raises:
        ShapeError: k does not divide K.
    """
    _check(log_importance_weights)
    num_particles = len(log_importance_weights)
    if group_size < 1 or num_particles % group_size:
        raise ShapeError(f"groups of {group_size} do not divide the {num_particles} particles: choose a divisor of K.")
    groups = log_importance_weights.reshape(num_particles // group_size, group_size, -1)
    return torch.logsumexp(groups, 1) - math.log(group_size)


def effective_sample_size(log_importance_weights: Tensor) -> Tensor:
    r"""How many equal weights would be as good as these.

    .. math:: \mathrm{ESS} = \frac{(\sum_k w_k)^2}{\sum_k w_k^2}

    Args:
        log_importance_weights: shape (K, N).

    Returns:
        shape (N,), between 1 and K. It sees only the weights that were drawn: a guide that misses most of the
        posterior can have a high value, which is why the k̂ and the doubling step stand beside it.

    Reference: Kong (1992); Owen (2013), "Monte Carlo theory, methods and examples", eq. 9.13.
    """
    _check(log_importance_weights)
    doubled = torch.logsumexp(2 * log_importance_weights, 0)
    return (2 * torch.logsumexp(log_importance_weights, 0) - doubled).exp()


def _check(log_weights: Tensor) -> None:
    if not isinstance(log_weights, Tensor) or log_weights.dim() != 2 or 0 in log_weights.shape:
        found = tuple(log_weights.shape) if isinstance(log_weights, Tensor) else type(log_weights).__name__
        raise ShapeError(f"log_importance_weights must be a tensor of shape (K, N), particles first, got {found}.")
    if log_weights.isnan().any() or (log_weights == torch.inf).any():
        raise NumericalError("log_importance_weights hold NaN or +infinity: look for them in the log terms.")
    zero = (log_weights == -torch.inf).all(0)
    if zero.any():
        raise NumericalError(
            f"every weight of observation {int(zero.nonzero()[0])} is zero: the guide never proposes a z that the "
            "model allows for it. Check the support of prior, likelihood and guide."
        )
