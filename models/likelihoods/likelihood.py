"""What every likelihood is: from the decoder's outputs to p(x given z)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
from torch import Size, Tensor, nn

from bayes_vae.parts.part import Part
from bayes_vae.parts.registry import part_of

__all__ = ["Likelihood"]


class Likelihood(nn.Module, ABC):
    r"""A family of distributions p(x \mid z) over observations; the decoder outputs its parameters.

    The decoder is only the network f; the likelihood says what its numbers mean:

    .. math:: p(x \mid z) = \prod_i p(x_i \mid f_i(z))

    Args:
        data_shape: shape of one observation, P numbers in all.
        **options: of the subclass, from which it is built again.
    """

    outputs_per_number: int = 1
    """Parameters that the decoder outputs for each of the P numbers."""

    def __init__(self, data_shape: Sequence[int], **options: Any) -> None:
        super().__init__()
        self.data_shape, self.options = Size(data_shape), options

    @property
    def part(self) -> Part:
        """Its row in the table of parts."""
        return part_of(type(self))

    @property
    def name(self) -> str:
        """As settings files name it."""
        return self.part.name

    @property
    def is_discrete(self) -> bool:
        """Whether x is discrete, so that −log2 p(x) are bits."""
        return "discrete x" in self.part.offers

    @abstractmethod
    def forward(self, parameters: Tensor) -> dist.TorchDistribution:
        """p(x given z).

        Args:
            parameters: what the decoder outputs, shape (*batch, outputs_per_number, *data_shape).

        Returns:
            batch shape (*batch), event shape ``data_shape``; its log_prob sums over the event, in nats.
        """

    @abstractmethod
    def initial_outputs(self, mean: Tensor) -> Tensor:
        """The decoder's outputs for which the mean of p(x given z) is the data's.

        Args:
            mean: of the training observations, shape ``data_shape``.

        Returns:
            shape (outputs_per_number, *data_shape).
        """

    def of_outputs(self, outputs: Tensor) -> dist.TorchDistribution:
        """p(x given z) for a decoder's flat outputs, shape (*batch, outputs_per_number · P)."""
        family: dist.TorchDistribution = self(
            outputs.reshape(*outputs.shape[:-1], self.outputs_per_number, *self.data_shape)
        )
        return family

    def _only(self, parameters: Tensor) -> Tensor:
        """The one parameter of each number, shape (*batch, *data_shape)."""
        return parameters.squeeze(parameters.dim() - len(self.data_shape) - 1)

    @property
    def num_outputs(self) -> int:
        """Numbers that the decoder outputs for an observation."""
        return self.outputs_per_number * math.prod(self.data_shape)
