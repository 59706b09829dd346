"""Observations as an encoder reads them: a row of numbers each."""

from __future__ import annotations

import torch
from torch import Size, Tensor

from bayes_vae.errors import ShapeError

__all__ = ["observation_rows"]


def observation_rows(x: Tensor, data_shape: Size, guide: str, dtype: torch.dtype) -> Tensor:
    """Rows of shape (N, P), or a sentence about the shape that was expected.

    Args:
        x: observations, shape (N, *data_shape).
        data_shape: shape of one.
        guide: name of the class, for the message.
        dtype: of the encoder.

    Raises:
        ShapeError: x is not of shape (N, *data_shape).
    """
    if x.shape[1:] != data_shape:
        raise ShapeError(
            f"{guide} takes observations of shape (N, {', '.join(map(str, data_shape))}), "
            f"got {tuple(x.shape)}. Reshape x, or build the guide with data_shape={tuple(x.shape[1:])}."
        )
    rows = x.flatten(1) if x.dim() > 1 else x.unsqueeze(1)  # an observation may be a single number
    return rows.to(dtype)
