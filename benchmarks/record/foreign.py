"""Pairs written elsewhere: modules with their own networks, whose model and guide are Pyro programs."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

D, PIXELS = 2, 9


def encoder_network() -> nn.Module:
    """Flat pixels in, mean and logarithm of the variance side by side out."""
    return nn.Sequential(nn.Linear(PIXELS, 5), nn.Tanh(), nn.Linear(5, 2 * D))


def decoder_network() -> nn.Module:
    """z in, logits of the pixels out."""
    return nn.Sequential(nn.Linear(D, 5), nn.Tanh(), nn.Linear(5, PIXELS))


def standard_normal(x: Tensor) -> dist.TorchDistribution:
    """The prior for each observation."""
    return dist.Normal(x.new_zeros(len(x), D), 1.0).to_event(1)


class PyroExample(nn.Module):
    """As the VAE class of Pyro's examples: model and guide are bound methods."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder_network(), decoder_network()

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and scale."""
        loc, log_scale = self.encoder(x.reshape(-1, PIXELS)).chunk(2, -1)
        return loc, log_scale.exp()

    def model(self, x: Tensor) -> None:
        """p(x, z)."""
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", x.shape[0]):
            z = pyro.sample("latent", standard_normal(x))
            pyro.sample("obs", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x.reshape(-1, PIXELS))

    def guide(self, x: Tensor) -> None:
        """q(z given x)."""
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", x.shape[0]):
            pyro.sample("latent", dist.Normal(*self.encode(x)).to_event(1))


class GammaPair(PyroExample):
    """Two latents, one of them positive with a log-normal q, and a ``pyro.param`` of the user's own."""

    def model(self, x: Tensor) -> None:
        """p(x, z, s)."""
        rate = pyro.param("rate", lambda: x.new_tensor(1.5), constraint=dist.constraints.positive)
        with pyro.plate("images", len(x), dim=-1):
            z = pyro.sample("z", standard_normal(x))
            strength = pyro.sample("strength", dist.Gamma(x.new_full((len(x),), 2.0), rate))
            logits = self.decoder(z) * strength.unsqueeze(-1)
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x.reshape(-1, PIXELS))

    def guide(self, x: Tensor) -> None:
        """q(s given x) q(z given x, s)."""
        loc, scale = self.encode(x)
        with pyro.plate("images", len(x), dim=-1):
            strength = pyro.sample("strength", dist.LogNormal(loc[..., 0], 0.5))
            pyro.sample("z", dist.Normal(loc - 0.1 * strength.unsqueeze(-1), scale).to_event(1))


class ConvolutionalPair(PyroExample):
    """A decoder that reshapes to images, so that particles cannot be an outer plate."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.conv = nn.Linear(D, 8), nn.ConvTranspose2d(2, 1, (2, 2))

    def model(self, x: Tensor) -> None:
        """p(x, z)."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("latent", standard_normal(x))
            logits = self.conv(self.fc(z).reshape(-1, 2, 2, 2)).squeeze(1)
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(2), obs=x)


class MaskedPair(PyroExample):
    """Missing pixels, given as a covariate."""

    def model(self, x: Tensor, mask: Tensor) -> None:  # type: ignore[override]
        """p(x, z given mask)."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("latent", standard_normal(x))
            likelihood = dist.Bernoulli(logits=self.decoder(z)).mask(mask).to_event(1)
            pyro.sample("x", likelihood, obs=x.reshape(-1, PIXELS))

    def guide(self, x: Tensor, mask: Tensor) -> None:  # type: ignore[override]
        """q(z given x, mask)."""
        with pyro.plate("data", len(x)):
            pyro.sample("latent", dist.Normal(*self.encode(x.reshape(-1, PIXELS) * mask)).to_event(1))


class DiscretePair(PyroExample):
    """A class and binary features."""

    def model(self, x: Tensor) -> None:
        """p(x, label, bits)."""
        with pyro.plate("data", len(x)):
            label = pyro.sample("label", dist.Categorical(logits=x.new_zeros(3)))
            bits = pyro.sample("bits", dist.Bernoulli(x.new_full((D,), 0.3)).to_event(1))
            logits = self.decoder(bits + label.unsqueeze(-1))
            pyro.sample("obs", dist.Bernoulli(logits=logits).to_event(1), obs=x.reshape(-1, PIXELS))

    def guide(self, x: Tensor) -> None:
        """q(label given x) q(bits given x, label)."""
        with pyro.plate("data", len(x)):
            loc, scale = self.encode(x)
            label = pyro.sample("label", dist.Categorical(logits=torch.cat([loc, scale[..., :1]], -1)))
            pyro.sample("bits", dist.Bernoulli(logits=loc + label.unsqueeze(-1)).to_event(1))
