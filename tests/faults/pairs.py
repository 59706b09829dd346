"""Small pairs for the fault suite: this library's own, plain torch networks, and either of them altered."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Size, Tensor, nn

from bayes_vae.distributions import diagonal_normal, normal_parts
from bayes_vae.guides import AmortizedNormalGuide, SingleLatentGuide
from bayes_vae.guides.network_guide import NetworkGuide
from bayes_vae.models import VAE, SingleLatentModel
from bayes_vae.pairs.from_networks import pair_from_networks

__all__ = [
    "AlteredGuide",
    "AlteredModel",
    "PlainModel",
    "SharedScale",
    "bernoulli_pixels",
    "normal_pixels",
    "own_pair",
    "plain_pair",
]

HIDDEN = 96
"""Width of the one hidden layer of each network."""

Likelihood = Callable[[Tensor], Any]


class PlainModel(SingleLatentModel):
    """A plain torch decoder with a distribution that its output stands for, none of this library's.

    Args:
        decoder: from (*batch, D) to (*batch, outputs).
        distribution: from the decoder's output to p(x given z).
        latent_dim: D.
        data_shape: shape of one observation.
    """

    def __init__(self, decoder: nn.Module, distribution: Likelihood, latent_dim: int, data_shape: Size) -> None:
        super().__init__()
        self.decoder, self.distribution = decoder, distribution
        self.latent_dim, self.data_shape = latent_dim, data_shape

    def prior(self) -> dist.TorchDistribution:
        """p(z): standard normal."""
        zeros = next(self.parameters()).new_zeros(self.latent_dim)
        return diagonal_normal(zeros, torch.ones_like(zeros))

    def likelihood(self, z: Tensor) -> dist.TorchDistribution:
        """p(x given z)."""
        found: dist.TorchDistribution = self.distribution(self.decoder(z))
        return found


class AlteredGuide(SingleLatentGuide):
    """Another guide whose means and deviations are changed.

    Args:
        guide: whose q is changed.
        change: from means and deviations, each (N, D), to others.
    """

    def __init__(self, guide: SingleLatentGuide, change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.guide, self.change = guide, change

    def variational_posterior(self, x: Tensor) -> dist.TorchDistribution:
        """q(z given x), changed."""
        parts = normal_parts(self.guide.variational_posterior(x))
        assert parts is not None, "the guides of the suite are factorized normals"
        return diagonal_normal(*self.change(*parts))


class AlteredModel(SingleLatentModel):
    """Another model whose prior has another place and width, or whose likelihood is another.

    Args:
        model: what is changed.
        loc, scale: of the prior, the same in each dimension; None for the model's own prior.
        likelihood: from z to p(x given z); None for the model's own.
    """

    def __init__(
        self,
        model: SingleLatentModel,
        prior: tuple[float, float] | None = None,
        likelihood: Likelihood | None = None,
    ) -> None:
        super().__init__()
        self.model, self.moments, self.changed = model, prior, likelihood
        self.latent_dim, self.data_shape = model.latent_dim, model.data_shape

    def prior(self) -> dist.TorchDistribution:
        """p(z), changed."""
        if self.moments is None:
            return self.model.prior()
        like = next(self.parameters()).new_ones(self.latent_dim)
        return diagonal_normal(self.moments[0] * like, self.moments[1] * like)

    def likelihood(self, z: Tensor) -> dist.TorchDistribution:
        """p(x given z), changed."""
        return self.model.likelihood(z) if self.changed is None else self.changed(z)


class SharedScale(nn.Module):
    """Normal pixels with one deviation for all, which is learned.

    Args:
        data_shape: shape of one observation.
        scale: at the start.
    """

    def __init__(self, data_shape: Sequence[int], scale: float) -> None:
        super().__init__()
        self.data_shape, self.log_scale = Size(data_shape), nn.Parameter(torch.tensor(math.log(scale)))

    def forward(self, output: Tensor) -> dist.TorchDistribution:
        """p(x given z)."""
        loc = output.reshape(*output.shape[:-1], *self.data_shape)
        return _joined(dist.Normal(loc, self.log_scale.exp(), validate_args=False), self.data_shape)


def _joined(pixels: Any, shape: Size) -> dist.TorchDistribution:
    """Pixels as one event."""
    found: dist.TorchDistribution = pixels.to_event(len(shape))
    return found


def plain_pair(
    latent_dim: int, data_shape: Sequence[int], likelihood: Likelihood | None = None, outputs: int = 1
) -> tuple[SingleLatentModel, NetworkGuide]:
    """Plain torch networks with ReLU, one hidden layer each, brought in by ``pair_from_networks``.

    Args:
        latent_dim, data_shape: sizes.
        likelihood: from the decoder's output to p(x given z), where it is none of this library's.
        outputs: of the decoder for each pixel.
    """
    size = math.prod(data_shape)
    decoder = nn.Sequential(nn.Linear(latent_dim, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs * size))
    encoder = nn.Sequential(nn.Linear(size, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * latent_dim))
    said: dict[str, Any] = {
        "latent_dim": latent_dim,
        "data_shape": data_shape,
        "encoder_output": "loc-and-log-variance",
        "split": True,
        "input_shape": (size,),
    }
    if likelihood is None:
        return pair_from_networks(encoder, decoder, decoder_output="logits", **said)
    return PlainModel(decoder, likelihood, latent_dim, Size(data_shape)), NetworkGuide(encoder, **said)


def own_pair(latent_dim: int, data_shape: Sequence[int]) -> tuple[VAE, AmortizedNormalGuide]:
    """This library's VAE with tanh, one hidden layer in each network."""
    networks: dict[str, Any] = {"latent_dim": latent_dim, "data_shape": tuple(data_shape), "hidden_dims": (HIDDEN,)}
    return VAE(**networks), AmortizedNormalGuide(**networks)


def bernoulli_pixels(data_shape: Sequence[int]) -> Likelihood:
    """Zeros and ones, from logits."""
    shape = Size(data_shape)

    def of_logits(output: Tensor) -> dist.TorchDistribution:
        return _joined(dist.Bernoulli(logits=output.reshape(*output.shape[:-1], *shape), validate_args=False), shape)

    return of_logits


def normal_pixels(data_shape: Sequence[int], scale: float | None) -> Likelihood:
    """Normal pixels of a fixed deviation, or, with None, of one that the decoder outputs as its logarithm."""
    shape = Size(data_shape)

    def of_outputs(output: Tensor) -> dist.TorchDistribution:
        if scale:
            loc, deviation = output, torch.full_like(output, scale)
        else:
            loc, deviation = output[..., : shape.numel()], output[..., shape.numel() :].exp()
        loc, deviation = (part.reshape(*output.shape[:-1], *shape) for part in (loc, deviation))
        return _joined(dist.Normal(loc, deviation, validate_args=False), shape)

    return of_outputs
