"""The likelihood of a decoder that returns a distribution itself."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
from torch import Size, nn

from bayes_vae.distributions import distribution_of_rows, is_discrete, with_batch_shape

__all__ = ["DecodersOwnLikelihood"]


class DecodersOwnLikelihood(nn.Module):
    """p(x given z) as the decoder returns it: no part of the table, and no numbers of its own.

    Args:
        data_shape: shape of one observation.
    """

    name = "the decoder's own"
    outputs_per_number = 1
    is_discrete = False
    """Whether x is discrete; known from the first distribution on."""

    def __init__(self, data_shape: Size) -> None:
        super().__init__()
        self.data_shape, self.options = data_shape, dict[str, Any]()

    def forward(self, returned: Any, batch_shape: Size) -> dist.TorchDistribution:
        """The decoder's distribution of its rows, with the batch shape of the latents.

        Args:
            returned: by the decoder, for as many rows as ``batch_shape`` has numbers.
            batch_shape: of the latents.

        Raises:
            ShapeError: no distribution, or one of another shape.
            NotDefinedError: one that Pyro does not have, or that its parameters do not describe.
        """
        rows = distribution_of_rows("decoder", returned, batch_shape.numel(), self.data_shape)
        self.is_discrete = is_discrete(rows)
        return with_batch_shape(rows, batch_shape)
