"""A normal guide with correlations between the latent dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor

from bayes_vae.distributions.normal_outputs import positive_scale
from bayes_vae.guides.amortized import AmortizedGuide

__all__ = ["FullCovarianceGuide"]


class FullCovarianceGuide(AmortizedGuide):
    r"""Normal guide whose covariance has a Cholesky factor from the encoder.

    .. math:: q(z \mid x) = N\big(z; m(x), L(x) L(x)^\top\big)

    L is lower triangular with a positive diagonal; it starts near the identity. The encoder outputs
    2 D + D (D − 1) / 2 numbers.

    Args:
        latent_dim: D, the size of z.
        data_shape: shape of one observation.
        hidden_dims: widths (of ``conv``: channels) of the encoder's hidden layers, from the data's side.
        activation: name of the activation between layers.
        network: "mlp" or "conv".
        mask_input: whether the encoder reads which numbers of x were observed, beside x with 0 where one is missing.

    Reference: Kingma, Welling (2019), "An introduction to variational autoencoders", section 2.5.1.
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
        below = latent_dim * (latent_dim - 1) // 2
        super().__init__(
            latent_dim,
            data_shape,
            hidden_dims,
            activation,
            network,
            num_outputs=2 * latent_dim + below,
            mask_input=mask_input,
        )

    def variational_posterior(self, x: Tensor) -> dist.TorchDistribution:
        """q(z given x), a normal with full covariance.

        Raises:
            ShapeError: x is not of shape (N, *data_shape).
        """
        size = self.latent_dim
        output = self.encode(x)
        loc, raw_scale, below = output.split([size, size, output.shape[-1] - 2 * size], dim=-1)
        factor = positive_scale(raw_scale).diag_embed()
        rows, columns = torch.tril_indices(size, size, -1, device=x.device)
        factor[..., rows, columns] = below
        return dist.MultivariateNormal(loc, scale_tril=factor, validate_args=False)
