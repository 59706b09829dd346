"""A guide around an encoder of a pair with covariates."""

from __future__ import annotations

from typing import Any

import pyro
from torch import Tensor

from bayes_vae.guides.network_guide import NetworkGuide

__all__ = ["ConditionalNetworkGuide"]


class ConditionalNetworkGuide(NetworkGuide):
    r"""q(z given x, y) as an encoder written elsewhere returns it, y what stands beside x.

    .. math:: q(z \mid x, y) = N\big(z; m(x, y), \operatorname{diag}(s(x, y))^2\big)

    Arguments as of :class:`NetworkGuide`.

    Args:
        encoder_takes: whether the encoder is called with the covariates, or with x alone.
        needs_labels: whether the first covariate is the label of a data set.
    """

    def __init__(self, *arguments: Any, encoder_takes: bool = True, needs_labels: bool = False, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.encoder_takes, self.needs_labels = encoder_takes, needs_labels

    def given(self, x: Tensor, *covariates: Tensor) -> Any:
        """q(z given x, y)."""
        return self.variational_posterior(x, *(covariates if self.encoder_takes else ()))

    def forward(self, x: Tensor, *covariates: Tensor) -> Tensor:  # type: ignore[override]
        """The Pyro program of q(z given x, y).

        Args:
            x: observations, shape (N, *data_shape).
            covariates: what stands beside x, each with N rows.

        Returns:
            one draw of z for each observation, shape (N, D).
        """
        with pyro.plate("data", len(x), dim=-1):
            return pyro.sample("z", self.given(x, *covariates))
