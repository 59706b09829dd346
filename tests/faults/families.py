"""Data and networks of many kinds, each a family: what is measured on one must hold on those it was not chosen on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Size, Tensor, nn

from bayes_vae.data import Data
from bayes_vae.guides.network_guide import NetworkGuide
from bayes_vae.terms.randomness import derived_seed, isolated_rng
from faults.kinds_of_data import digits, discs, factors, mnist, patches, table, waves, words
from faults.losses import ADAM, Optimizer
from faults.pairs import Likelihood, PlainModel, SharedScale, bernoulli_pixels, own_pair

__all__ = ["FAMILIES", "Family", "Pair", "Programs"]

Pair = tuple[Any, Any]
"""Model and guide."""


@dataclass(frozen=True)
class Family:
    """One kind of data and of networks.

    Attributes:
        data: from a seed to the data set.
        body: from the sizes of input and output to a network between vectors, with the shape of an observation.
        likelihood: from the shape of an observation to what the decoder's output stands for.
        latent_dim, epochs, rate, batch, optimizer: of the training.
        words: what it is.
        needs: a folder of data without which it is left out.
        own: whether the pair is this library's own, in place of plain networks.
        programs: whether the pair is shown to the diagnosis as two Pyro programs that expose no distributions.
    """

    data: Callable[[int], Data]
    encoder: Callable[[Size, int], nn.Module]
    decoder: Callable[[int, Size], nn.Module]
    likelihood: Callable[[Size], Likelihood]
    words: str
    latent_dim: int = 4
    epochs: int = 40
    rate: float = 3e-3
    batch: int = 64
    optimizer: Optimizer = ADAM
    needs: str = ""
    own: bool = False
    programs: bool = False

    @property
    def present(self) -> bool:
        """Whether its data are there."""
        return not self.needs or bool(os.environ.get(self.needs))

    def fresh(self, seed: int) -> tuple[Pair, Data]:
        """A pair before training, and its data."""
        data = self.data(seed)
        shape = data.data_shape
        with isolated_rng(derived_seed(seed, "weights of a family")):
            if self.own:
                return own_pair(self.latent_dim, shape), data
            decoder, encoder = self.decoder(self.latent_dim, shape), self.encoder(shape, 2 * self.latent_dim)
        model = PlainModel(decoder, self.likelihood(shape), self.latent_dim, shape)
        guide = NetworkGuide(encoder, self.latent_dim, shape, "loc-and-log-variance", split=True)
        return (model, guide), data


class Programs(nn.Module):
    """A pair as two methods with sample statements: all that the diagnosis is told of them is what they trace."""

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.of_model, self.of_guide = pair

    def model(self, x: Tensor) -> None:
        """p(x, z)."""
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", self.of_model.prior().expand((len(x),)))
            pyro.sample("x", self.of_model.likelihood(z), obs=x)

    def guide(self, x: Tensor) -> None:
        """q(z given x)."""
        with pyro.plate("rows", len(x)):
            pyro.sample("z", self.of_guide.variational_posterior(x))


class Dropped(nn.Sequential):
    """A ReLU, then dropout, which is off in evaluation mode."""

    def __init__(self) -> None:
        super().__init__(nn.ReLU(), nn.Dropout(0.05))


class Residual(nn.Module):
    """x + f(x), normalized by itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Of the same shape."""
        found: Tensor = x + self.inner(x)
        return found


class FrozenNorm(nn.Module):
    """Batch norm whose statistics are constants, as of a checkpoint in evaluation mode."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", 0.1 * torch.randn(channels))
        self.register_buffer("variance", 0.5 + torch.rand(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Of the same shape, (N, C, H, W)."""
        found: Tensor = nn.functional.batch_norm(x, self.mean, self.variance, self.weight, self.bias)
        return found


class LastState(nn.Module):
    """An LSTM over (N, T), to its last hidden state."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, width)."""
        found: Tensor = self.lstm(x.unsqueeze(-1))[1][0][0]
        return found


def mlp(hidden: int, activation: type[nn.Module] = nn.ReLU, depth: int = 1) -> dict[str, Any]:
    """Perceptrons for both sides."""

    def between(inputs: int, outputs: int) -> list[nn.Module]:
        layers: list[nn.Module] = [nn.Linear(inputs, hidden), activation()]
        for _ in range(depth - 1):
            layers += [nn.Linear(hidden, hidden), activation()]
        return [*layers, nn.Linear(hidden, outputs)]

    return {
        "encoder": lambda shape, outputs: nn.Sequential(nn.Flatten(), *between(shape.numel(), outputs)),
        "decoder": lambda latent, shape: nn.Sequential(*between(latent, shape.numel())),
    }


def residual(hidden: int) -> dict[str, Any]:
    """Residual networks for both sides."""
    return {
        "encoder": lambda shape, outputs: nn.Sequential(
            nn.Flatten(),
            nn.Linear(shape.numel(), hidden),
            Residual(hidden),
            Residual(hidden),
            nn.Linear(hidden, outputs),
        ),
        "decoder": lambda latent, shape: nn.Sequential(
            nn.Linear(latent, hidden), Residual(hidden), Residual(hidden), nn.Linear(hidden, shape.numel())
        ),
    }


class ConvDecoder(nn.Module):
    """From (*batch, D) to (*batch, C·H·W) by transposed convolutions."""

    def __init__(self, latent: int, shape: Size, width: int, norm: bool) -> None:
        super().__init__()
        channels, height = (shape[0] if len(shape) == 3 else 1), shape[-1]
        middle: list[nn.Module] = [FrozenNorm(width)] if norm else []
        self.layers = nn.Sequential(
            nn.Linear(latent, width * (height // 2) ** 2),
            nn.ReLU(),
            nn.Unflatten(1, (width, height // 2, height // 2)),
            *middle,
            nn.ConvTranspose2d(width, width, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(width, channels, 3, padding=1),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Outputs flat."""
        found: Tensor = self.layers(z.reshape(-1, z.shape[-1]))
        return found.reshape(*z.shape[:-1], -1)


def conv(width: int, norm: bool = False) -> dict[str, Any]:
    """Convolutions for both sides."""

    def encoder(shape: Size, outputs: int) -> nn.Module:
        channels, height = (shape[0] if len(shape) == 3 else 1), shape[-1]
        middle: list[nn.Module] = [FrozenNorm(width)] if norm else []
        return nn.Sequential(
            nn.Unflatten(1, (1, height)) if len(shape) == 2 else nn.Identity(),
            nn.Conv2d(channels, width, 4, 2, 1),
            *middle,
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(width * (height // 2) ** 2, outputs),
        )

    return {"encoder": encoder, "decoder": lambda latent, shape: ConvDecoder(latent, shape, width, norm)}


def recurrent(width: int) -> dict[str, Any]:
    """An LSTM that reads, a perceptron that writes."""
    return {
        "encoder": lambda shape, outputs: nn.Sequential(LastState(width), nn.Linear(width, outputs)),
        "decoder": mlp(64, nn.Tanh)["decoder"],
    }


def poisson(shape: Size) -> Likelihood:
    """Counts, from log rates."""

    def of_log_rates(output: Tensor) -> dist.TorchDistribution:
        rate = output.clamp(-12, 8).reshape(*output.shape[:-1], *shape).exp()
        found: dist.TorchDistribution = dist.Poisson(rate, validate_args=False).to_event(len(shape))
        return found

    return of_log_rates


def shared_normal(scale: float) -> Callable[[Size], Likelihood]:
    """Normal numbers with one learned deviation."""
    return lambda shape: SharedScale(shape, scale)


PIXELS: Callable[[Sequence[int]], Likelihood] = bernoulli_pixels

FAMILIES: dict[str, Family] = {
    "digits-mlp": Family(
        digits("threshold"),
        **mlp(96, nn.Tanh),
        likelihood=PIXELS,
        latent_dim=6,
        epochs=60,
        rate=5e-3,
        batch=100,
        words="binary digits, tanh",
    ),
    "digits-own": Family(
        digits("threshold"),
        **mlp(96),
        likelihood=PIXELS,
        latent_dim=6,
        epochs=60,
        rate=5e-3,
        batch=100,
        own=True,
        words="binary digits, this library's own pair",
    ),
    "digits-residual": Family(
        digits("stochastic"),
        **residual(48),
        likelihood=PIXELS,
        latent_dim=8,
        epochs=60,
        rate=1e-3,
        batch=100,
        optimizer=torch.optim.RMSprop,
        words="digits binarized at each use, residual networks with layer norm, RMSprop",
    ),
    "digits-conv": Family(
        digits("static"),
        **conv(6),
        likelihood=PIXELS,
        epochs=50,
        batch=100,
        rate=5e-3,
        words="binary digits, convolutions",
    ),
    "counts-mlp": Family(
        digits("none", "counts"),
        **mlp(96),
        likelihood=poisson,
        epochs=80,
        batch=100,
        words="digits as counts",
    ),
    "table-mlp": Family(
        table,
        **mlp(64, nn.Tanh),
        likelihood=shared_normal(0.5),
        epochs=250,
        batch=128,
        words="a table of 30 columns, one learned deviation",
    ),
    "factors-deep": Family(
        factors,
        **mlp(48, nn.SiLU, 2),
        likelihood=shared_normal(0.5),
        epochs=80,
        optimizer=partial(torch.optim.AdamW, weight_decay=1e-4),
        words="12 bent columns, two hidden layers, AdamW",
    ),
    "factors-pyro": Family(
        factors,
        **mlp(48, nn.Tanh),
        likelihood=shared_normal(0.5),
        epochs=100,
        batch=100,
        rate=5e-3,
        programs=True,
        words="12 bent columns, Pyro programs that expose nothing",
    ),
    "words-mlp": Family(
        words,
        **mlp(64),
        likelihood=poisson,
        epochs=120,
        rate=4e-3,
        batch=128,
        words="word counts of four topics",
    ),
    "discs-conv": Family(
        discs,
        **conv(4, norm=True),
        likelihood=shared_normal(0.2),
        latent_dim=8,
        epochs=120,
        rate=3e-3,
        batch=50,
        words="colour images, convolutions with frozen batch norm",
    ),
    "patches-dropout": Family(
        patches,
        encoder=mlp(96, Dropped)["encoder"],
        decoder=mlp(96, nn.SiLU)["decoder"],
        likelihood=shared_normal(0.2),
        latent_dim=4,
        epochs=120,
        rate=5e-3,
        batch=100,
        words="patches of colour photographs, dropout in the encoder",
    ),
    "waves-lstm": Family(
        waves,
        **recurrent(16),
        likelihood=PIXELS,
        epochs=80,
        rate=5e-3,
        batch=128,
        words="binary sequences, an LSTM reads",
    ),
    "waves-pyro": Family(
        waves,
        **mlp(48),
        likelihood=PIXELS,
        latent_dim=3,
        epochs=80,
        rate=5e-3,
        batch=100,
        optimizer=torch.optim.NAdam,
        programs=True,
        words="binary sequences, Pyro programs, NAdam",
    ),
    "mnist-mlp": Family(
        mnist(5000),
        **mlp(128),
        likelihood=PIXELS,
        latent_dim=8,
        epochs=25,
        rate=2e-3,
        batch=100,
        words="5,000 binary MNIST images at half their size",
        needs="BAYES_VAE_DATA",
    ),
}
