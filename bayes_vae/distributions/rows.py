"""Distributions of rows that a network returned: as Pyro's classes, and with several leading dimensions for one."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any, cast

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily

from bayes_vae.errors import NotDefinedError, ShapeError

__all__ = ["as_pyro", "distribution_of_rows", "with_batch_shape"]

ALTERNATIVES = (("logits", "probs"), ("scale_tril", "covariance_matrix", "precision_matrix"))
"""Parameters of which a distribution is given one and computes the others."""


def as_pyro(distribution: Distribution) -> dist.TorchDistribution:
    """The same distribution of Pyro's class of that name, which adds methods alone and no numbers.

    Raises:
        NotDefinedError: Pyro has no such class.
    """
    if isinstance(distribution, dist.TorchDistribution):
        return distribution
    if isinstance(distribution, Independent):
        return dist.Independent(
            as_pyro(distribution.base_dist), distribution.reinterpreted_batch_ndims, validate_args=False
        )
    of_pyro = getattr(dist, type(distribution).__name__, None)
    if not (isinstance(of_pyro, type) and issubclass(of_pyro, type(distribution))):
        raise NotDefinedError(
            f"{type(distribution).__name__} is no distribution that Pyro has. Return one of torch.distributions or of "
            "pyro.distributions, or write the pair as two Pyro programs."
        )
    twin: Any = copy(distribution)
    twin.__class__ = of_pyro
    return cast(dist.TorchDistribution, twin)


def with_batch_shape(distribution: dist.TorchDistribution, shape: Sequence[int]) -> dist.TorchDistribution:
    """The same with a first batch dimension taken apart: batch shape (R, *rest) becomes (*shape, *rest).

    Args:
        distribution: of Pyro.
        shape: R numbers in all.

    Raises:
        NotDefinedError: a class that is not rebuilt from its parameters.
    """
    if isinstance(distribution, Independent):
        base = with_batch_shape(distribution.base_dist, shape)
        return dist.Independent(base, distribution.reinterpreted_batch_ndims, validate_args=False)
    if isinstance(distribution, MixtureSameFamily):
        parts = (distribution.mixture_distribution, distribution.component_distribution)
        mixture: dist.TorchDistribution = dist.MixtureSameFamily(
            *(with_batch_shape(as_pyro(part), shape) for part in parts), validate_args=False
        )
        return mixture
    given: dict[str, Any] = {name: getattr(distribution, name) for name in _parameters(distribution)}
    laid_out = {
        name: value.reshape(*shape, *value.shape[1:]) if isinstance(value, Tensor) and value.dim() else value
        for name, value in given.items()
    }
    try:
        rebuilt: dist.TorchDistribution = cast(Any, type(distribution))(**laid_out, validate_args=False)
        same = rebuilt.batch_shape == torch.Size([*shape, *distribution.batch_shape[1:]])
    except Exception:
        same = False
    if not laid_out or not same:
        raise NotDefinedError(
            f"a {type(distribution).__name__} cannot be rebuilt from its parameters for several draws of z. Return a "
            "distribution that its parameters describe in full, or write the pair as two Pyro programs."
        )
    return rebuilt


def _parameters(distribution: dist.TorchDistribution) -> list[str]:
    """The parameters that it was given; of alternatives one."""
    names = list(getattr(distribution, "arg_constraints", {}))
    for several in ALTERNATIVES:
        there = [name for name in several if name in names]
        kept = next((name for name in there if name in vars(distribution)), there[0]) if there else None
        names = [name for name in names if name not in there or name == kept]
    return names


def distribution_of_rows(role: str, returned: Any, num_rows: int, shape: Sequence[int]) -> dist.TorchDistribution:
    """What a network returned as one distribution for each of its rows, event shape ``shape``.

    Raises:
        ShapeError: no distribution, or one of another shape.
        NotDefinedError: one that Pyro does not have.
    """
    if not isinstance(returned, Distribution):
        raise ShapeError(
            f"{role}_output='distribution' asks for {_article(role)} {role} that returns an object of "
            f"torch.distributions, but it returned a {type(returned).__name__}. Say what its numbers are instead, or "
            f"name the part of it that is the distribution by {role}_fields."
        )
    found = as_pyro(returned)
    whole = tuple(found.batch_shape + found.event_shape)
    if whole != (num_rows, *shape) or len(found.event_shape) > len(shape):
        raise ShapeError(
            f"the {role}'s distribution must have shape {(num_rows, *shape)}, batch and event together, got {whole}. "
            f"Reshape its parameters inside the {role}."
        )
    declared: dist.TorchDistribution = found.to_event(len(shape) - len(found.event_shape))
    return declared


def _article(role: str) -> str:
    return "an" if role == "encoder" else "a"
