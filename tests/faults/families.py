"""Data and networks of many kinds, each a family: what is measured on one must hold on those it was not chosen on."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from torch import Size, Tensor, nn

from bayes_vae.data import Data, load_data
from bayes_vae.guides.network_guide import NetworkGuide
from bayes_vae.terms.randomness import derived_seed, isolated_rng
from faults.losses import ADAM, Optimizer
from faults.pairs import Likelihood, PlainModel, SharedScale, bernoulli_pixels

__all__ = ["FAMILIES", "Family", "Pair"]

Pair = tuple[PlainModel, NetworkGuide]


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

    @property
    def present(self) -> bool:
        """Whether its data are there."""
        return not self.needs or bool(os.environ.get(self.needs))

    def fresh(self, seed: int) -> tuple[Pair, Data]:
        """A pair before training, and its data."""
        data = self.data(seed)
        shape = data.data_shape
        with isolated_rng(derived_seed(seed, "weights of a family")):
            decoder, encoder = self.decoder(self.latent_dim, shape), self.encoder(shape, 2 * self.latent_dim)
        model = PlainModel(decoder, self.likelihood(shape), self.latent_dim, shape)
        guide = NetworkGuide(encoder, self.latent_dim, shape, "loc-and-log-variance", split=True)
        return (model, guide), data


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


def table(seed: int) -> Data:
    """scikit-learn's table of breast cancers: 569 rows, 30 columns, standardized."""
    from sklearn.datasets import load_breast_cancer

    values = load_breast_cancer().data
    return load_data(((values - values.mean(0)) / values.std(0)).astype("float32"), kind="real", policy="none")


def factors(seed: int) -> Data:
    """1,500 rows of 12 numbers that are bent functions of three hidden ones, standardized."""
    generator = np.random.default_rng(seed)
    hidden = generator.normal(size=(1500, 3))
    values = np.tanh(hidden @ generator.normal(size=(3, 12))) + 0.3 * hidden @ generator.normal(size=(3, 12))
    values = values + 0.15 * generator.normal(size=values.shape)
    return load_data(((values - values.mean(0)) / values.std(0)).astype("float32"), kind="real", policy="none")


def words(seed: int) -> Data:
    """1,500 documents of counts of 40 words, from four topics."""
    generator = np.random.default_rng(seed)
    topics = generator.dirichlet(np.full(40, 0.2), 4)
    shares = generator.dirichlet(np.full(4, 0.4), 1500)
    return load_data(generator.poisson(60 * shares @ topics).astype("int32"), kind="counts", policy="none")


def discs(seed: int) -> Data:
    """1,200 colour images, 3 × 12 × 12: a disc of one colour on another, with noise."""
    generator = torch.Generator().manual_seed(seed)
    across = torch.linspace(-1, 1, 12)
    centre = torch.rand(1200, 2, 1, 1, generator=generator) - 0.5
    inside = ((across.view(1, 1, -1) - centre[:, 0]) ** 2 + (across.view(1, -1, 1) - centre[:, 1]) ** 2 < 0.2).float()
    front, back = torch.rand(2, 1200, 3, 1, 1, generator=generator)
    image = inside[:, None] * front + (1 - inside[:, None]) * 0.4 * back
    image = (image + 0.04 * torch.randn(image.shape, generator=generator)).clamp(0, 1)
    return load_data((255 * image).round().byte(), kind="gray", policy="none")


def waves(seed: int) -> Data:
    """1,500 sequences of 24 zeros and ones: whether a wave of random phase and length is up, with some flips."""
    generator = np.random.default_rng(seed)
    phase, length = 2 * math.pi * generator.random((1500, 1)), generator.uniform(6, 20, (1500, 1))
    up = np.sin(2 * math.pi * np.arange(24) / length + phase) > 0
    return load_data((up ^ (generator.random(up.shape) < 0.03)).astype("uint8"), kind="binary", policy="none")


def mnist(count: int) -> Callable[[int], Data]:
    """The first training images of MNIST, thresholded."""

    def load(seed: int) -> Data:
        found = load_data("mnist", policy="threshold")
        train = found.train
        few = replace(train, values=train.values[:count], labels=None, index=train.index[:count])
        return replace(found, train=few)

    return load


def digits(policy: Any, kind: Any = None) -> Callable[[int], Data]:
    """scikit-learn's digits."""
    return lambda seed: load_data("digits", policy=policy, kind=kind)


PIXELS: Callable[[Sequence[int]], Likelihood] = bernoulli_pixels

FAMILIES: dict[str, Family] = {
    "digits-mlp": Family(
        digits("threshold"), **mlp(96, nn.Tanh), likelihood=PIXELS, latent_dim=6, epochs=60, words="binary digits, tanh"
    ),
    "digits-residual": Family(
        digits("stochastic"),
        **residual(64),
        likelihood=PIXELS,
        latent_dim=8,
        epochs=60,
        rate=1e-3,
        optimizer=torch.optim.RMSprop,
        words="digits binarized at each use, residual networks with layer norm, RMSprop",
    ),
    "digits-conv": Family(
        digits("static"), **conv(12), likelihood=PIXELS, words="binary digits, convolutions", epochs=50
    ),
    "counts-mlp": Family(
        digits("none", "counts"),
        **mlp(96),
        likelihood=poisson,
        epochs=60,
        rate=1e-3,
        batch=32,
        words="digits as counts",
    ),
    "table-mlp": Family(
        table,
        **mlp(64, nn.Tanh),
        likelihood=shared_normal(0.5),
        epochs=300,
        batch=128,
        words="a table of 30 columns, one learned deviation",
    ),
    "factors-deep": Family(
        factors,
        **mlp(64, nn.SiLU, 2),
        likelihood=shared_normal(0.5),
        epochs=80,
        optimizer=partial(torch.optim.AdamW, weight_decay=1e-4),
        words="12 bent columns, two hidden layers, AdamW",
    ),
    "words-mlp": Family(
        words, **mlp(64), likelihood=poisson, epochs=200, rate=2e-3, batch=128, words="word counts of four topics"
    ),
    "discs-conv": Family(
        discs,
        **conv(12, norm=True),
        likelihood=shared_normal(0.2),
        latent_dim=10,
        epochs=40,
        words="colour images, convolutions with frozen batch norm",
    ),
    "waves-lstm": Family(
        waves,
        **recurrent(24),
        likelihood=PIXELS,
        epochs=80,
        rate=5e-3,
        batch=128,
        words="binary sequences, an LSTM reads",
    ),
    "mnist-mlp": Family(
        mnist(5000),
        **mlp(200),
        likelihood=PIXELS,
        latent_dim=10,
        epochs=80,
        rate=1e-3,
        batch=100,
        words="5,000 binary MNIST images",
        needs="BAYES_VAE_DATA",
    ),
}
