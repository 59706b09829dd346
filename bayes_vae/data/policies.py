"""How pixels become zeros and ones. Each policy makes another data set: their figures are not comparable.

Pixels are bytes v in 0…255 and stand for v / 255. A pixel is one where v exceeds an integer drawn uniformly
from 0…254, which has probability exactly v / 255.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from bayes_vae.errors import DataError
from bayes_vae.settings import Policy
from bayes_vae.terms.randomness import KeyedNoise

__all__ = [
    "BINARIZING",
    "LOADER",
    "POLICIES",
    "ObservedAs",
    "binarize_anew",
    "binarize_by_index",
    "binarize_once",
    "check_policy",
    "threshold",
]

POLICIES: tuple[Policy, ...] = get_args(Policy)
"""Drawn anew at each use; drawn once; above one half; as they are."""

LOADER: Literal["as the loader gives"] = "as the loader gives"

ObservedAs: TypeAlias = Policy | Literal["as the loader gives"]
"""A policy, or what a torch data set does whose transforms draw at random: rows are read anew in training."""

BINARIZING: tuple[ObservedAs, ...] = ("stochastic", "static", "threshold")
"""Policies that make zeros and ones of pixels."""

_STATIC_SEED = 20160901
"""Seed of the one static binarization; a constant, so that everyone has the same."""


def check_policy(policy: str) -> None:
    """Refuse a policy that does not exist.

    Raises:
        DataError: lists the policies.
    """
    if policy not in POLICIES:
        raise DataError(f"unknown data policy {policy!r}: choose one of {', '.join(POLICIES)}.")


def binarize_anew(
    values: Tensor, generator: torch.Generator, count: int | None = None, own: slice = slice(None)
) -> Tensor:
    r"""Binarize some rows of a batch with fresh noise, for training: :math:`P(x = 1) = v / 255`.

    Args:
        values: their pixels, shape (n, *event), uint8.
        generator: source of the noise of the whole batch, on the pixels' device.
        count: rows of the batch; those that are given when None.
        own: which of its rows these are.

    Returns:
        shape (n, *event), bool.
    """
    noise = torch.empty(
        (len(values) if count is None else count, *values.shape[1:]), dtype=values.dtype, device=values.device
    )
    return noise.random_(0, 255, generator=generator)[own] < values


def binarize_by_index(values: Tensor, index: Tensor, seed: int) -> Tensor:
    r"""Binarize with noise keyed by (seed, observation index), for evaluation: :math:`P(x = 1) = v / 255`.

    An observation gets the same zeros and ones in every batch and order.

    Args:
        values: pixels, shape (N, *event), uint8.
        index: observation indices, shape (N,).
        seed: any integer.

    Returns:
        shape (N, *event), bool.
    """
    return _binarize(values, index, seed, "data policy stochastic")


def binarize_once(values: Tensor, index: Tensor) -> Tensor:
    """Binarize as the static policy does: as :func:`binarize_by_index`, with a seed of its own."""
    return _binarize(values, index, _STATIC_SEED, "data policy static")


def threshold(values: Tensor) -> Tensor:
    """One where a pixel is strictly above one half; shape (N, *event), bool."""
    return values > 127


def _binarize(values: Tensor, index: Tensor, seed: int, site: str) -> Tensor:
    size = values.shape[1:].numel()
    noise = KeyedNoise(seed).uniform_bytes(site, index, size)
    return noise.reshape(values.shape).to(values.device) < values
