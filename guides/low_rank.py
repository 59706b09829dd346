"""A normal guide with a few directions of correlation."""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
from torch import Tensor

from bayes_vae.distributions.normal_outputs import positive_scale
from bayes_vae.errors import SettingsError
from bayes_vae.guides.amortized import AmortizedGuide

__all__ = ["LowRankGuide"]


class LowRankGuide(AmortizedGuide):
    r"""Normal guide whose covariance is diagonal plus a matrix of low rank, both from the encoder.

    .. math:: q(z \mid x) = N\big(z; m(x), W(x) W(x)^\top + \operatorname{diag}(s(x))^2\big), \quad W: D \times R

    The encoder outputs (2 + R) D numbers, fewer than a full covariance where R is small beside D.

    Args:
        latent_dim: D, the size of z.
        data_shape: shape of one observation.
        hidden_dims: widths (of ``conv``: channels) of the encoder's hidden layers, from the data's side.
        activation: name of the activation between layers.
        network: "mlp" or "conv".
        rank: R, at most D.
        mask_input: whether the encoder reads which numbers of x were observed, beside x with 0 where one is missing.

    Raises:
        SettingsError: a rank below 1 or above D.

    Reference: Rezende, Mohamed, Wierstra (2014), "Stochastic backpropagation", section 4.3, for rank 1.
    """

    def __init__(
        self,
        latent_dim: int,
        data_shape: Sequence[int],
        hidden_dims: Sequence[int] = (200, 200),
        activation: str = "tanh",
        network: str = "mlp",
        rank: int = 2,
        mask_input: bool = False,
    ) -> None:
        if not 1 <= rank <= latent_dim:
            raise SettingsError(f"rank must be at least 1 and at most latent_dim = {latent_dim}, got {rank}.")
        outputs = (2 + rank) * latent_dim
        super().__init__(
            latent_dim,
            data_shape,
            hidden_dims,
            activation,
            network,
            num_outputs=outputs,
            rank=rank,
            mask_input=mask_input,
        )
        self.rank = rank

    def variational_posterior(self, x: Tensor) -> dist.TorchDistribution:
        """q(z given x), a normal with low-rank covariance.

        Raises:
            ShapeError: x is not of shape (N, *data_shape).
        """
        size = self.latent_dim
        loc, raw_scale, factor = self.encode(x).split([size, size, self.rank * size], dim=-1)
        return dist.LowRankMultivariateNormal(
            loc,
            cov_factor=factor.reshape(*factor.shape[:-1], size, self.rank),
            cov_diag=positive_scale(raw_scale).square(),
            validate_args=False,
        )
