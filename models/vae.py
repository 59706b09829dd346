"""The variational autoencoder's generative half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyro.distributions as dist
from torch import Size, Tensor

from bayes_vae.models.model import PartsModel
from bayes_vae.networks.perceptron import decoder_network, set_output_bias
from bayes_vae.parts.registry import as_setting, build_part

__all__ = ["VAE"]


class VAE(PartsModel):
    r"""A prior over z, and a likelihood whose parameters a decoder outputs.

    .. math:: p(x, z) = p(z) \, p(x \mid f(z))

    Without more, a standard-normal prior and Bernoulli pixels whose logits the decoder f outputs.

    Args:
        latent_dim: D, the size of z.
        data_shape: shape of one observation.
        hidden_dims: widths (of ``conv``: channels) of the hidden layers from the data's side; the decoder mirrors them.
        activation: name of the activation between layers.
        likelihood: name of p(x given z), or a mapping of "name" and options; see ``bayes_vae.models.likelihoods``.
        prior: name of p(z), or a mapping of "name" and options; see ``bayes_vae.models.priors``.
        network: "mlp" or "conv".

    Raises:
        SettingsError: an unknown name, option, activation or network.

    Reference: Kingma, Welling (2014), "Auto-encoding variational Bayes", appendix C.1.

    >>> VAE(latent_dim=2, data_shape=(8, 8)).sample(3, seed=0).shape
    torch.Size([3, 8, 8])
    """

    def __init__(
        self,
        latent_dim: int,
        data_shape: Sequence[int],
        hidden_dims: Sequence[int] = (200, 200),
        activation: str = "tanh",
        *,
        likelihood: str | Mapping[str, Any] = "bernoulli",
        prior: str | Mapping[str, Any] = "standard-normal",
        network: str = "mlp",
    ) -> None:
        super().__init__(
            latent_dim=latent_dim,
            data_shape=tuple(data_shape),
            hidden_dims=tuple(hidden_dims),
            activation=activation,
            likelihood=as_setting(likelihood),
            prior=as_setting(prior),
            network=network,
        )
        self.latent_dim, self.data_shape = latent_dim, Size(data_shape)
        self.likelihood_family = build_part("likelihood", likelihood, data_shape=data_shape)
        per_number = self.likelihood_family.outputs_per_number
        self.decoder = decoder_network(network, latent_dim, data_shape, per_number, hidden_dims, activation)
        self.prior_family = build_part("prior", prior, latent_dim=latent_dim, data_shape=data_shape)

    def likelihood(self, z: Tensor) -> dist.TorchDistribution:
        """p(x given z), its parameters from the decoder."""
        return self.likelihood_family.of_outputs(self.decoder(z))

    def set_output_bias(self, mean: Tensor) -> None:
        """Start the decoder where the mean of p(x given z) is the data's.

        Args:
            mean: mean of the training observations, shape ``data_shape``.
        """
        set_output_bias(self.decoder, self.likelihood_family.initial_outputs(mean))
