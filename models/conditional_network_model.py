"""A model around a decoder that takes covariates beside z."""

from __future__ import annotations

from typing import Any

import pyro
from torch import Tensor

from bayes_vae.errors import ShapeError
from bayes_vae.models.network_model import NetworkModel

__all__ = ["ConditionalNetworkModel"]


class ConditionalNetworkModel(NetworkModel):
    r"""A prior over z, and a likelihood whose parameters a decoder returns for z and what stands beside x.

    .. math:: p(x, z \mid y) = p(z) \, p(x \mid f(z, y))

    Every figure is of log p(x given y). Arguments as of :class:`NetworkModel`.

    Args:
        decoder_takes: whether the decoder is called with the covariates, or with z alone.
        needs_labels: whether the first covariate is the label of a data set.
    """

    sample: Any = None
    """Nothing says how probable the covariates are, so that x alone cannot be drawn."""

    reconstruct: Any = None

    def __init__(self, *arguments: Any, decoder_takes: bool = True, needs_labels: bool = False, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.decoder_takes, self.needs_labels = decoder_takes, needs_labels

    def given(self, z: Tensor, *covariates: Tensor) -> Any:
        """p(x given z, y)."""
        return self.likelihood(z, *(covariates if self.decoder_takes else ()))

    def forward(self, x: Tensor | None = None, *covariates: Tensor) -> Tensor:
        """The Pyro program of p(x, z given y).

        Args:
            x: observations, shape (N, *data_shape), or None to sample one for each row of the covariates.
            covariates: what stands beside x, each with N rows.

        Raises:
            ShapeError: no covariates, or of another number of rows.
        """
        x = None if x is None else self.check_observations(x)
        count = len(x) if x is not None else len(covariates[0]) if covariates else 0
        if not covariates or any(len(part) != count for part in covariates):
            raise ShapeError(
                f"this pair was built with covariates and takes (x, y, ...) with a row of each for each x, got "
                f"{len(covariates)} beside x. Pass a tuple: elbo_terms(model, guide, (x, y)), load_data((x, y))."
            )
        with pyro.plate("data", count, dim=-1):
            z = pyro.sample("z", self.prior())
            return self.observe(self.given(z, *covariates), x)
