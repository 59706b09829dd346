"""One part of a data set: training, validation or test rows, and how to get observations from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Size, Tensor

from bayes_vae.data.policies import binarize_anew, binarize_by_index, binarize_once, threshold
from bayes_vae.settings import Policy

__all__ = ["Rows", "Split"]

Rows = slice | Sequence[int] | Tensor


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of a data set, with the policy that turns them into observations.

    Attributes:
        values: shape (N, *event); uint8 pixels; or under the policy ``none`` int32 counts or float32 numbers too.
        labels: shape (N,), or None.
        index: each row's number in the original data set, shape (N,), int64; no two splits share one.
        policy: stochastic, static, threshold or none.
        visible: which labels a model that infers them sees in training, shape (N,), bool; None for all there are.
    """

    values: Tensor
    labels: Tensor | None
    index: Tensor
    policy: Policy
    visible: Tensor | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def data_shape(self) -> Size:
        """Shape of one observation."""
        return self.values.shape[1:]

    @cached_property
    def _fixed(self) -> Tensor:
        """The zeros and ones of the policies that draw nothing at use, uint8; made once."""
        binary = binarize_once(self.values, self.index) if self.policy == "static" else threshold(self.values)
        return binary.to(torch.uint8)

    def observations(self, rows: Rows | None = None, *, seed: int = 0, device: torch.device | str = "cpu") -> Tensor:
        """Observations for evaluation: the same row gives the same x whatever the batch and the order.

        Args:
            rows: which rows of this split; all when None.
            seed: of the policy ``stochastic``, whose noise is keyed by (seed, index); the others ignore it.
            device: where the result goes.

        Returns:
            shape (N, *event), float32: zeros and ones, or values in their own range under ``none``.
        """
        rows = slice(None) if rows is None else rows
        rows = rows if isinstance(rows, slice) else torch.as_tensor(rows, dtype=torch.int64)
        if self.policy == "stochastic":
            x = binarize_by_index(self.values[rows], self.index[rows], seed)
        else:
            x = self._unbinarized(rows) if self.policy == "none" else self._fixed[rows]
        return x.to(device=device, dtype=torch.float32)

    def training_batch(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Observations for a training step: under ``stochastic`` binarized anew at each call.

        Args:
            rows: which rows of this split, shape (B,), int64.
            generator: source of the noise, on the device of ``values``.

        Returns:
            shape (B, *event), float32, on the device of ``values``.
        """
        if self.policy == "stochastic":
            return binarize_anew(self.values[rows], generator).to(torch.float32)
        return self._unbinarized(rows) if self.policy == "none" else self._fixed[rows].to(torch.float32)

    def _unbinarized(self, rows: slice | Tensor) -> Tensor:
        values = self.values[rows]
        return values / 255 if values.dtype == torch.uint8 else values.to(torch.float32)

    def mean(self) -> Tensor:
        """Mean of the observations, over the policy's noise too; shape ``data_shape``, float32."""
        if self.values.dtype != torch.uint8:
            return self.values.mean(0, dtype=torch.float64).float()
        drawn = self.policy in ("stochastic", "none")
        total, one = (self.values, 255) if drawn else (self._fixed, 1)
        return (total.sum(0, dtype=torch.int64) / (len(self) * one)).float()

    def to(self, device: torch.device | str) -> Split:
        """The same split with its values on another device, where :meth:`training_batch` then works."""
        return replace(self, values=self.values.to(device))
