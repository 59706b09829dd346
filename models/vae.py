"""The variational autoencoder's generative half."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Size, Tensor, nn

from bayes_vae.distributions import BernoulliLogits, diagonal_normal
from bayes_vae.models.base import SingleLatentModel
from bayes_vae.networks import mlp

__all__ = ["VAE"]


class VAE(SingleLatentModel):
    r"""Standard-normal prior, Bernoulli likelihood whose logits a decoder outputs.

    .. math:: p(z) = N(z; 0, I), \qquad p(x \mid z) = \prod_i \operatorname{Bernoulli}(x_i; \sigma(f_i(z)))

    Args:
        latent_dim: D, the size of z.
        data_shape: shape of one observation.
        hidden_dims: widths of the hidden layers from the data's side; the decoder mirrors them.
        activation: name of the activation between layers.

    Reference: Kingma, Welling (2014), "Auto-encoding variational Bayes", appendix C.1.

    >>> VAE(latent_dim=2, data_shape=(8, 8)).sample(3, seed=0).shape
    torch.Size([3, 8, 8])
    """

    prior_loc: Tensor
    prior_scale: Tensor

    def __init__(
        self,
        latent_dim: int,
        data_shape: Sequence[int],
        hidden_dims: Sequence[int] = (200, 200),
        activation: str = "tanh",
    ) -> None:
        super().__init__(
            latent_dim=latent_dim,
            data_shape=tuple(data_shape),
            hidden_dims=tuple(hidden_dims),
            activation=activation,
        )
        self.latent_dim, self.data_shape = latent_dim, Size(data_shape)
        self.decoder = mlp([latent_dim, *reversed(hidden_dims), math.prod(data_shape)], activation)
        self.register_buffer("prior_loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("prior_scale", torch.ones(latent_dim), persistent=False)

    def prior(self) -> dist.TorchDistribution:
        """p(z), the standard normal."""
        return diagonal_normal(self.prior_loc, self.prior_scale)

    def likelihood(self, z: Tensor) -> dist.TorchDistribution:
        """p(x given z): independent Bernoulli pixels."""
        logits = self.decoder(z).reshape(*z.shape[:-1], *self.data_shape)
        return BernoulliLogits(logits, event_dim=len(self.data_shape))

    @torch.no_grad()
    def set_output_bias(self, mean: Tensor) -> None:
        """Start the decoder at the data's mean: output bias = logit of the mean, clipped to [0.01, 0.99].

        Args:
            mean: mean of the training observations, shape ``data_shape``, in [0, 1].
        """
        output = self.decoder[-1]
        assert isinstance(output, nn.Linear)
        bias = output.bias
        bias.copy_(mean.flatten().to(bias).clamp(0.01, 0.99).logit())
