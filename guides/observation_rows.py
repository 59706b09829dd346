"""Observations as an encoder reads them: a row of numbers each, zeros where a number is missing."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bayes_vae.distributions import missing_in
from bayes_vae.errors import MissingValuesWarning, ShapeError

if TYPE_CHECKING:
    from bayes_vae.guides.guide import Guide

__all__ = ["observation_rows", "seen", "zeros_where_missing"]


def observation_rows(guide: Guide, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Rows of shape (N, P), or a sentence about the shape that was expected.

    Args:
        guide: has the ``data_shape`` of an observation; one with ``mask_input`` gets rows of shape (N, 2 P), the
            numbers and then 1 where they were observed, 0 where they are missing.
        x: observations, shape (N, *data_shape), NaN where a number is missing.
        dtype: of the encoder.

    Raises:
        ShapeError: x is not of shape (N, *data_shape).

    Warns:
        MissingValuesWarning: as :func:`zeros_where_missing`.
    """
    if x.shape[1:] != guide.data_shape:
        name, shape = type(guide).__name__, ", ".join(map(str, guide.data_shape))
        raise ShapeError(
            f"{name} takes observations of shape (N, {shape}), got {tuple(x.shape)}. Reshape x, or build the guide "
            f"with data_shape={tuple(x.shape[1:])}."
        )
    numbers, missing = zeros_where_missing(guide, x)
    rows = numbers.flatten(1) if x.dim() > 1 else numbers.unsqueeze(1)  # an observation may be a single number
    if guide.mask_input:
        rows = torch.cat([rows, seen(missing, x).reshape(rows.shape).to(rows.dtype)], 1)
    return rows.to(dtype)


def seen(missing: Tensor | None, x: Tensor) -> Tensor:
    """Which numbers of x were observed, bool, shaped as x."""
    return torch.ones_like(x, dtype=torch.bool) if missing is None else ~missing


def zeros_where_missing(guide: Guide, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """The observations with 0 in place of NaN, and which of their numbers are missing; None where none is.

    Warns:
        MissingValuesWarning: once a guide, where numbers are missing and its encoder is not told which.
    """
    missing = missing_in(x)
    if missing is None:
        return x, None
    if not guide.mask_input and not guide.missing_noted:
        guide.missing_noted = True
        warnings.warn(
            f"x has missing values, and the encoder of {type(guide).__name__} is not told which: it reads zeros there, "
            "like zeros that were observed. The bounds stay right and become looser. Build the guide with "
            "mask_input=True, which gives the encoder the mask too, and train it on data with missing values.",
            MissingValuesWarning,
            stacklevel=2,
        )
    return torch.where(missing, torch.zeros_like(x), x), missing
