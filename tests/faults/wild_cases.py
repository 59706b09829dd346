"""Ways to train a pair, right and wrong, in any family of data and networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bayes_vae.data import Data
from bayes_vae.guides import SingleLatentGuide
from faults.families import Pair
from faults.losses import (
    Loss,
    Optimizer,
    autoencoding,
    averaged,
    deterministic,
    free_bits,
    importance_weighted,
    kl_across_the_batch,
    of_total_correlation,
    one_noise_for_all,
    prior_of_deviation,
    reversed_kl,
    shifted_targets,
    squares_in_kl,
    uniform_noise,
    weighted,
)
from faults.pairs import AlteredGuide

__all__ = ["WILD", "Wild"]


class Wild(NamedTuple):
    """One way to train, in any family.

    Attributes:
        expected: names of which one must stand first or second; empty for a healthy training.
        words: what was done.
        loss: what is minimized.
        change: of the pair before training.
        after: of the pair after training.
        data: of the data that are shown to the diagnosis.
        also: names that are no false alarm; where ``expected`` is empty, right beside nothing.
        epochs, rate, batch: shares of the family's.
        optimizer: another than the family's.
        start: added to the seed of the first weights.
    """

    expected: tuple[str, ...]
    words: str
    loss: Loss = weighted(1.0)
    change: Callable[[Pair], Pair] = lambda pair: pair
    after: Callable[[Pair], Pair] = lambda pair: pair
    data: Callable[[Data], Data] = lambda data: data
    also: tuple[str, ...] = ()
    epochs: float = 1.0
    rate: float = 1.0
    batch: float = 1.0
    optimizer: Optimizer | None = None
    start: int = 0

    @property
    def healthy(self) -> bool:
        """Whether nothing above a note must be found."""
        return not self.expected and not self.also

    @property
    def altered(self) -> bool:
        """Whether the training is the healthy one, and something was changed afterwards."""
        defaults = Wild._field_defaults
        return self.after is not defaults["after"] or self.data is not defaults["data"]


Moments = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def heads(change: Moments) -> Callable[[Pair], Pair]:
    """A change of an encoder's means and log variances, in training too."""

    def of_scale(loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        loc, log_variance = change(loc, 2 * scale.log())
        return loc, (log_variance / 2).exp()

    return read_otherwise(of_scale)


def read_otherwise(change: Moments) -> Callable[[Pair], Pair]:
    """A guide whose means and deviations are changed."""
    return lambda pair: (pair[0], AlteredGuide(pair[1], change))


class _Decoded(nn.Module):
    def __init__(self, decoder: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.decoder, self.change = decoder, change

    def forward(self, z: Tensor) -> Tensor:
        """The decoder's output, changed."""
        found: Tensor = self.change(self.decoder(z))
        return found


def decoded(change: Callable[[Tensor], Tensor]) -> Callable[[Pair], Pair]:
    """A decoder whose output is changed after training."""

    def altered(pair: Pair) -> Pair:
        pair[0].decoder = _Decoded(pair[0].decoder, change)
        return pair

    return altered


class _Seeing(SingleLatentGuide):
    def __init__(self, guide: Any, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.guide, self.change = guide, change

    def variational_posterior(self, x: Tensor) -> Any:
        """q of another x."""
        return self.guide.variational_posterior(self.change(x))


def seeing(change: Callable[[Tensor], Tensor]) -> Callable[[Pair], Pair]:
    """A guide that is handed other inputs."""
    return lambda pair: (pair[0], _Seeing(pair[1], change))


def rows_of_training(data: Data) -> Data:
    """Half of the test rows are training rows."""
    half = len(data.test) // 2
    values = torch.cat([data.train.values[:half], data.test.values[half:]])
    return replace(data, test=replace(data.test, values=values))


WEIGHT, LOST = ("kl-weight", "averaged-loss"), ("posterior-collapse", "averaged-loss")
SHORT = ("amortization-gap", "undertraining")

WILD: dict[str, Wild] = {
    "healthy": Wild((), "the ELBO"),
    "healthy-again": Wild((), "the ELBO, another start", start=1000),
    "healthy-longer": Wild((), "the ELBO, half as long again", epochs=1.5, start=2000),
    "healthy-batches": Wild((), "the ELBO, batches half as large", batch=0.5, rate=0.7, start=3000),
    "healthy-optimizer": Wild(
        (), "the ELBO, AdamW", optimizer=partial(torch.optim.AdamW, weight_decay=1e-3, betas=(0.9, 0.99)), start=4000
    ),
    "kl-weight-4": Wild((*WEIGHT, "posterior-collapse"), "KL weight 4", weighted(4.0)),
    "kl-weight-tenth": Wild(WEIGHT, "KL weight 0.1", weighted(0.1)),
    "kl-weight-tiny": Wild((*WEIGHT, "kl-missing"), "KL weight 0.0003", weighted(3e-4)),
    "kl-missing": Wild(("kl-missing",), "no KL", weighted(0.0)),
    "kl-across-batch": Wild(("kl-across-batch",), "KL of the batch's moments", kl_across_the_batch),
    "averaged": Wild((*WEIGHT, "posterior-collapse"), "means over x and over z", averaged(True, True)),
    "autoencoder": Wild(("kl-missing",), "no KL, means decoded", autoencoding),
    "sampling-off": Wild(("sampling-off",), "means decoded", deterministic),
    "squares-in-kl": Wild(("scale-misread",), "the KL reads a log variance as log deviation", squares_in_kl),
    "other-prior": Wild(("prior-mismatch",), "KL to N(0, 10)", prior_of_deviation(10**0.5)),
    "reversed-kl": Wild(
        ("kl-weight", "amortization-gap"), "KL(p to q)", reversed_kl, also=("prior-mismatch", "guide-too-wide")
    ),
    "importance-weighted": Wild(
        (), "importance weighted, 10 draws", importance_weighted(10), also=("amortization-gap", "guide-too-wide")
    ),
    "free-bits": Wild((), "1 nat free in each dimension", free_bits(1.0), also=("kl-weight", "amortization-gap")),
    "total-correlation": Wild(
        (), "the total correlation weighs 6", of_total_correlation(6.0), also=("kl-weight", *SHORT, "prior-hole")
    ),
    "one-noise": Wild((), "one ε for a batch", one_noise_for_all, also=("undertraining",)),
    "uniform-noise": Wild(
        (), "ε from [0, 1)", uniform_noise, also=("guide-too-wide", "amortization-gap", "mismatched-pair")
    ),
    "shifted-targets": Wild(("posterior-collapse",), "targets shifted by one row", shifted_targets, also=LOST),
    "weight-decay": Wild(
        (), "a weight decay of 0.1 in Adam", optimizer=partial(torch.optim.Adam, weight_decay=0.1), also=(*LOST, *SHORT)
    ),
    "rate-too-high": Wild(
        (), "a rate 30 times as high", rate=30, also=(*LOST, *SHORT, "encoder-confined", "decoder-ignores-latent")
    ),
    "noise-left-on": Wild(
        ("not-repeatable",),
        "dropout that evaluation mode does not end",
        after=seeing(lambda x: nn.functional.dropout(x.float(), 0.3)),
    ),
    "rows-repeated": Wild(("test-rows-in-train",), "half of the test rows are training rows", data=rows_of_training),
    "relu-means": Wild(("encoder-confined",), "a ReLU on the means", change=heads(lambda m, v: (m.relu(), v))),
    "relu-log-variance": Wild(
        ("encoder-confined",), "a ReLU on the log variance", change=heads(lambda m, v: (m, v.relu()))
    ),
    "tanh-means": Wild(("encoder-confined",), "a tanh on the means", change=heads(lambda m, v: (m.tanh(), v))),
    "latents-permuted": Wild(
        ("mismatched-pair",),
        "altered: latents in another order",
        after=read_otherwise(lambda m, s: (m.roll(1, -1), s.roll(1, -1))),
    ),
    "codes-doubled": Wild(
        ("mismatched-pair", "prior-mismatch"),
        "altered: codes twice as large",
        after=read_otherwise(lambda m, s: (2 * m, 2 * s)),
    ),
    "outputs-inverted": Wild(("mismatched-pair",), "altered: outputs negated", after=decoded(lambda output: -output)),
    "inputs-negated": Wild(
        ("mismatched-pair",), "altered: the encoder sees another normalization", after=seeing(lambda x: 2 * x - 1)
    ),
    "inputs-turned": Wild(
        ("mismatched-pair",),
        "altered: the encoder sees its inputs in another order",
        after=seeing(lambda x: x.flip(-1)),
    ),
    "undertrained": Wild(("undertraining",), "a thirtieth of the epochs", epochs=1 / 30),
    "two-epochs": Wild(("undertraining",), "two epochs", epochs=0.0),
}
