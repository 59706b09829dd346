"""The usual guide of a VAE: a normal with independent dimensions, its parameters from an encoder."""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
from torch import Tensor

from bayes_vae.distributions.normal_outputs import normal_of_outputs
from bayes_vae.guides.amortized import AmortizedGuide

__all__ = ["AmortizedNormalGuide"]


class AmortizedNormalGuide(AmortizedGuide):
    r"""Factorized normal guide; "amortized" because one encoder serves all observations.

    .. math:: q(z \mid x) = N\big(z; m(x), \operatorname{diag}(s(x))^2\big)

    The scale s(x) is a softplus of the encoder's output, one at the start and never below 1e-5.

    Args:
        latent_dim: D, the size of z.
        data_shape: shape of one observation.
        hidden_dims: widths (of ``conv``: channels) of the encoder's hidden layers, from the data's side.
        activation: name of the activation between layers.
        network: "mlp" or "conv".
        mask_input: whether the encoder reads which numbers of x were observed, beside x with 0 where one is missing.

    Reference: Kingma, Welling (2014), "Auto-encoding variational Bayes", eq. 9.
    """

    def __init__(
        self,
        latent_dim: int,
        data_shape: Sequence[int],
        hidden_dims: Sequence[int] = (200, 200),
        activation: str = "tanh",
        network: str = "mlp",
        mask_input: bool = False,
    ) -> None:
        super().__init__(
            latent_dim, data_shape, hidden_dims, activation, network, num_outputs=2 * latent_dim, mask_input=mask_input
        )

    def variational_posterior(self, x: Tensor) -> dist.TorchDistribution:
        """q(z given x).

        Raises:
            ShapeError: x is not of shape (N, *data_shape).
        """
        return normal_of_outputs(self.encode(x))
