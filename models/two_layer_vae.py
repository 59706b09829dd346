"""A VAE with two stochastic layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from bayes_vae.distributions.normal_outputs import normal_of_outputs
from bayes_vae.models.structured import StructuredModel, drawn
from bayes_vae.networks.perceptron import mlp

__all__ = ["TwoLayerVAE"]


class TwoLayerVAE(StructuredModel):
    r"""Two latents one above the other: z2 at the top, z1 nearest to x.

    .. math:: p(x, z_1, z_2) = p(z_2) \, p(z_1 \mid z_2) \, p(x \mid z_1), \quad
        p(z_2) = N(0, I), \quad p(z_1 \mid z_2) = N\big(m(z_2), \operatorname{diag}(s(z_2))^2\big)

    Sites ``"z1"``, ``"z2"`` and ``"x"``. Given z1, x does not depend on z2, so the top layer is a learned prior of z1.

    Args:
        latent_dim: size of z1.
        top_latent_dim: size of z2.
        data_shape: shape of one observation.
        hidden_dims: widths of the hidden layers between x and z1, from the data's side; the decoder mirrors them.
        top_hidden_dims: widths of the hidden layers between z1 and z2, from z1's side.
        activation: name of the activation between layers.
        likelihood: name of p(x given z1), or a mapping of "name" and options; see ``bayes_vae.models.likelihoods``.

    Raises:
        SettingsError: an unknown name, option or activation.

    Reference: Burda, Grosse, Salakhutdinov (2016), "Importance weighted autoencoders", section 5 and appendix C, whose
    sizes are the defaults.

    >>> TwoLayerVAE(4, 2, (8, 8), (16,), (8,)).sample(3, seed=0).shape
    torch.Size([3, 8, 8])
    """

    def __init__(
        self,
        latent_dim: int,
        top_latent_dim: int,
        data_shape: Sequence[int],
        hidden_dims: Sequence[int] = (200, 200),
        top_hidden_dims: Sequence[int] = (100, 100),
        activation: str = "tanh",
        *,
        likelihood: str | Mapping[str, Any] = "bernoulli",
    ) -> None:
        super().__init__(
            latent_dim,
            top_latent_dim,
            latent_dim=latent_dim,
            top_latent_dim=top_latent_dim,
            data_shape=data_shape,
            hidden_dims=hidden_dims,
            top_hidden_dims=top_hidden_dims,
            activation=activation,
            likelihood=likelihood,
        )
        self.latent_dim, self.top_latent_dim = latent_dim, top_latent_dim
        self.top_decoder = mlp([top_latent_dim, *reversed(top_hidden_dims), 2 * latent_dim], activation)

    def layer_prior(self, z2: Tensor) -> dist.TorchDistribution:
        """p(z1 given z2) for z2 of shape (*batch, top_latent_dim); event shape (latent_dim,)."""
        return normal_of_outputs(self.top_decoder(z2))

    def likelihood(self, z1: Tensor) -> dist.TorchDistribution:
        """p(x given z1) for z1 of shape (*batch, latent_dim); event shape ``data_shape``."""
        return self._decoded(z1)

    def forward(self, x: Tensor | None = None) -> Tensor:
        """The Pyro program of p(x, z1, z2), from the top down.

        Args:
            x: observations, shape (N, *data_shape), or None to sample one.

        Returns:
            the observations, given or sampled, shape (N, *data_shape).
        """
        x = None if x is None else self.check_observations(x)
        with pyro.plate("data", 1 if x is None else len(x), dim=-1):
            z2 = pyro.sample("z2", self.prior())
            z1 = pyro.sample("z1", self.layer_prior(z2))
            return self.observe(self.likelihood(z1), x)

    @torch.no_grad()
    def sample(self, num_observations: int, *, seed: int | None = None, mean: bool = False) -> Tensor:
        """Observations drawn from the model, from the top down.

        Args:
            num_observations: how many.
            seed: makes the draw repeatable and leaves the caller's random state as it was; None draws from it.
            mean: return the likelihood's mean in place of a draw, as pictures usually show.

        Returns:
            shape (num_observations, *data_shape).
        """
        with self._own_draws(seed):
            z2 = self.prior().sample((num_observations,))
            return drawn(self.likelihood(self.layer_prior(z2).sample()), mean)
