"""Pyro programs of several sites: a layer above, a second modality, labels; trained right, or with a part left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyro
import pyro.distributions as dist
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bayes_vae.data import Data, load_data
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.objectives import Elbo
from bayes_vae.terms.randomness import derived_seed, isolated_rng
from faults.wild_cases import WILD, Wild

__all__ = ["OF_SITES", "SITES", "Sites", "trained_sites"]

EPOCHS, BATCH, RATE = 60, 64, 5e-3


def bent(inputs: int, outputs: int, width: int = 32) -> nn.Module:
    """A perceptron."""
    return nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, outputs))


def normal(parts: Tensor) -> dist.TorchDistribution:
    """Means and log deviations, side by side, as a normal vector."""
    loc, log_scale = parts.chunk(2, -1)
    return dist.Normal(loc, log_scale.exp()).to_event(1)


class Layers(nn.Module):
    """top (1) → low (2) → x (10); q bottom up. A layer that is cut off has no part in the model."""

    def __init__(self, cut: bool = False) -> None:
        super().__init__()
        self.to_low, self.to_x, self.of_x, self.of_low = bent(1, 4), bent(2, 20), bent(10, 4), bent(2, 2)
        self.reach = 0.0 if cut else 1.0

    def model(self, x: Tensor) -> None:
        """p(top) p(low given top) p(x given low)."""
        with pyro.plate("rows", len(x)):
            top = pyro.sample("top", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            low = pyro.sample("low", normal(self.to_low(self.reach * top)))
            pyro.sample("x", normal(self.to_x(low)), obs=x)

    def guide(self, x: Tensor) -> None:
        """q(low given x) q(top given low)."""
        with pyro.plate("rows", len(x)):
            low = pyro.sample("low", normal(self.of_x(x)))
            pyro.sample("top", normal(self.of_low(low)))


class Modalities(nn.Module):
    """z (2) → x (8 numbers) and b (12 zeros and ones); one that is forgotten has no part in the loss."""

    def __init__(self, forgets: bool = False) -> None:
        super().__init__()
        self.to_x, self.to_b, self.of_both = bent(2, 16), bent(2, 12), bent(20, 4)
        self.forgets = forgets

    def model(self, x: Tensor, b: Tensor) -> None:
        """p(z) p(x given z) p(b given z)."""
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", normal(self.to_x(z)), obs=x)
            if not (self.forgets and torch.is_grad_enabled() and self.training):
                pyro.sample("b", dist.Bernoulli(logits=self.to_b(z)).to_event(1), obs=b)

    def guide(self, x: Tensor, b: Tensor) -> None:
        """q(z given x, b)."""
        with pyro.plate("rows", len(x)):
            pyro.sample("z", normal(self.of_both(torch.cat([x, b], -1))))


class Labelled(nn.Module):
    """z (4) and labels y → x (64 pixels)."""

    def __init__(self, labels: int = 10) -> None:
        super().__init__()
        self.to_x, self.of_both = bent(4 + labels, 64, 64), bent(64 + labels, 8, 64)

    def model(self, x: Tensor, y: Tensor) -> None:
        """p(z) p(x given z, y)."""
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(4), 1.0).to_event(1))
            labels = y.expand(*z.shape[:-1], -1)
            pyro.sample("x", dist.Bernoulli(logits=self.to_x(torch.cat([z, labels], -1))).to_event(1), obs=x)

    def guide(self, x: Tensor, y: Tensor) -> None:
        """q(z given x, y)."""
        with pyro.plate("rows", len(x)):
            pyro.sample("z", normal(self.of_both(torch.cat([x, y], -1))))


def _layers(seed: int, leaks: bool) -> Data:
    """Two clusters far apart, and columns that are bent functions of a place in them."""
    random = torch.Generator().manual_seed(seed)
    side = torch.randint(2, (900, 1), generator=random) * 2.0 - 1
    low = torch.cat([3 * side, -2 * side], -1) + 0.6 * torch.randn(900, 2, generator=random)
    x = torch.tanh(low @ torch.randn(2, 10, generator=random) / 2) + 0.2 * torch.randn(900, 10, generator=random)
    return load_data((x - x.mean(0)) / x.std(0), kind="real", test=0.25)


def _modalities(seed: int, leaks: bool) -> Data:
    random = torch.Generator().manual_seed(seed)
    z = torch.randn(900, 2, generator=random)
    x = torch.tanh(z @ torch.randn(2, 8, generator=random)) + 0.2 * torch.randn(900, 8, generator=random)
    b = torch.bernoulli((3 * z @ torch.randn(2, 12, generator=random)).sigmoid(), generator=random)
    return load_data(((x - x.mean(0)) / x.std(0), b), kind="real", test=0.25)


def _labelled(seed: int, leaks: bool) -> Data:
    """Digits with their class; where it leaks, what is handed over as labels has every pixel in it."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = (torch.as_tensor(digits.data) > 7).float()
    y = x if leaks else nn.functional.one_hot(torch.as_tensor(digits.target)).float()
    return load_data((x, y), kind="binary", test=0.25)


class Sites(NamedTuple):
    """A family of programs.

    Attributes:
        words: what it is.
        fault: the name of its fault.
        data: from a seed, and whether labels leak.
        right, wrong: what builds the programs.
    """

    words: str
    fault: str
    data: Callable[[int, bool], Data]
    right: Callable[[], Any]
    wrong: Callable[[], Any]

    @property
    def cases(self) -> tuple[str, ...]:
        """Two healthy trainings and the fault."""
        return "healthy", "healthy-again", self.fault


SITES: dict[str, Sites] = {
    "layers-pyro": Sites("two latent layers, Pyro programs", "layer-cut", _layers, Layers, lambda: Layers(cut=True)),
    "modalities-pyro": Sites(
        "two observed sites, Pyro programs", "modality-forgotten", _modalities, Modalities, lambda: Modalities(True)
    ),
    "labels-pyro": Sites(
        "binary digits given their class, Pyro programs", "labels-leak", _labelled, Labelled, lambda: Labelled(64)
    ),
}

OF_SITES: dict[str, Wild] = {
    "layer-cut": Wild(("layer-dead", "layer-ignored"), "the top layer is multiplied by zero"),
    "modality-forgotten": Wild(("forgotten-modality",), "one modality is not in the loss"),
    "labels-leak": Wild(("posterior-collapse",), "the labels have all pixels in them"),
}


def trained_sites(family: str, case: str, seed: int, weights: Path) -> tuple[Any, Any, Data]:
    """Both programs and their data, trained now or read."""
    kind, start = SITES[family], seed + (WILD[case].start if case in WILD else 0)
    data = kind.data(seed, case == "labels-leak")
    file = weights / f"{family}+{case}+{seed}.safetensors"
    with isolated_rng(derived_seed(start, "weights of a family")):
        pair = (kind.wrong if case in OF_SITES else kind.right)()
        if file.exists():
            pair.load_state_dict(load_file(file))
        else:
            _train(pair, data)
            save_file(pair.state_dict(), file)
    pair.eval()
    return pair.model, pair.guide, data


def _train(pair: Any, data: Data) -> None:
    rows = Subject(pair.model, pair.guide, data).rows(data.train, len(data.train), training=True)
    objective = Elbo()(pair.model, pair.guide)
    optimizer = torch.optim.Adam(pair.parameters(), lr=RATE)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(rows.index)).split(BATCH):
            batch = rows.take(chosen)
            optimizer.zero_grad()
            (objective(*batch.x, index=batch.index) / len(chosen)).backward()
            optimizer.step()
        falling.step()
