"""The losses that people write, right and wrong, and the plain loop that trains on them."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from bayes_vae.data import Data, Split
from bayes_vae.distributions import normal_parts
from bayes_vae.terms.randomness import derived_seed

__all__ = [
    "Loss",
    "autoencoding",
    "averaged",
    "deterministic",
    "kl_across_the_batch",
    "log_variance_as_scale",
    "squares_drawn",
    "squares_in_kl",
    "train",
    "weighted",
    "without_gradient",
]

Loss = Callable[[Any, Any, Tensor], Tensor]
"""From model, guide and a batch to what is minimized."""


def _pieces(model: Any, guide: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means and deviations of q, each (B, D), and log p(x given z) at one draw, (B,)."""
    parts = normal_parts(guide.variational_posterior(x))
    assert parts is not None, "the guides of the suite are factorized normals"
    loc, scale = parts
    return loc, scale, model.likelihood(loc + scale * torch.randn_like(loc)).log_prob(x)


def _kl(loc: Tensor, scale: Tensor) -> Tensor:
    """KL of N(loc, scale²) to the standard normal, by dimension."""
    return 0.5 * (loc.square() + scale.square() - 1) - scale.log()


def weighted(weight: float) -> Loss:
    """The negative ELBO with a weight on the KL; 1 is right, 0 forgets it, −1 has its sign wrong."""

    def loss(model: Any, guide: Any, x: Tensor) -> Tensor:
        loc, scale, log_likelihood = _pieces(model, guide, x)
        value: Tensor = (weight * _kl(loc, scale).sum(-1) - log_likelihood).mean()
        return value

    return loss


def averaged(pixels: bool, dimensions: bool) -> Loss:
    """Means in place of sums: of the reconstruction over pixels, of the KL over latent dimensions."""

    def loss(model: Any, guide: Any, x: Tensor) -> Tensor:
        loc, scale, log_likelihood = _pieces(model, guide, x)
        kl = _kl(loc, scale)
        reconstruction = -log_likelihood.mean() / (math.prod(x.shape[1:]) if pixels else 1)
        value: Tensor = reconstruction + (kl.mean() if dimensions else kl.sum(-1).mean())
        return value

    return loss


def kl_across_the_batch(model: Any, guide: Any, x: Tensor) -> Tensor:
    """The KL of the batch's mean and deviation of the codes, in place of each observation's own."""
    parts = normal_parts(guide.variational_posterior(x))
    assert parts is not None, "the guides of the suite are factorized normals"
    z = parts[0] + parts[1] * torch.randn_like(parts[0])
    value: Tensor = _kl(z.mean(0), z.std(0)).sum() - model.likelihood(z).log_prob(x).mean()
    return value


def deterministic(model: Any, guide: Any, x: Tensor) -> Tensor:
    """The mean of q decoded, never a draw; the KL as it should be."""
    parts = normal_parts(guide.variational_posterior(x))
    assert parts is not None, "the guides of the suite are factorized normals"
    value: Tensor = (_kl(*parts).sum(-1) - model.likelihood(parts[0]).log_prob(x)).mean()
    return value


def autoencoding(model: Any, guide: Any, x: Tensor) -> Tensor:
    """The mean of q decoded, and no KL: an autoencoder, whose deviations are never trained."""
    parts = normal_parts(guide.variational_posterior(x))
    assert parts is not None, "the guides of the suite are factorized normals"
    value: Tensor = -model.likelihood(parts[0]).log_prob(x).mean()
    return value


def without_gradient(model: Any, guide: Any, x: Tensor) -> Tensor:
    """Draws without a gradient, as of ``sample`` in place of ``rsample``: the KL alone trains the encoder."""
    parts = normal_parts(guide.variational_posterior(x))
    assert parts is not None, "the guides of the suite are factorized normals"
    z = (parts[0] + parts[1] * torch.randn_like(parts[0])).detach()
    value: Tensor = (_kl(*parts).sum(-1) - model.likelihood(z).log_prob(x)).mean()
    return value


def squares_drawn(model: Any, guide: Any, x: Tensor) -> Tensor:
    """Draws with exp(v) for a deviation where v is the log variance, as the KL knows."""
    parts = normal_parts(guide.variational_posterior(x))
    assert parts is not None, "the guides of the suite are factorized normals"
    z = parts[0] + parts[1].square() * torch.randn_like(parts[0])
    value: Tensor = (_kl(*parts).sum(-1) - model.likelihood(z).log_prob(x)).mean()
    return value


def squares_in_kl(model: Any, guide: Any, x: Tensor) -> Tensor:
    """A KL with exp(v) for a deviation where v is the log variance, as the draws know."""
    loc, scale, log_likelihood = _pieces(model, guide, x)
    value: Tensor = (_kl(loc, scale.square()).sum(-1) - log_likelihood).mean()
    return value


def log_variance_as_scale(model: Any, guide: Any, x: Tensor) -> Tensor:
    """One formula reads the encoder's second half as a log variance (the KL), the other as a log deviation (draws)."""
    loc, scale, log_likelihood = _pieces(model, guide, x)
    return (_kl(loc, scale.sqrt()).sum(-1) - log_likelihood).mean()


def train(
    model: nn.Module,
    guide: nn.Module,
    data: Data | Split,
    loss: Loss,
    *,
    epochs: int,
    seed: int,
    rate: float = 5e-3,
    falling: bool = True,
) -> None:
    """A plain torch loop: Adam, batches of 100, the rate falling to a hundredth along a cosine.

    Args:
        model, guide: trained in place.
        data: whose training rows are used, or a split.
        loss: what is minimized.
        epochs: passes over the rows.
        seed: of the batches and of the pixels' noise.
        rate: at the start.
        falling: whether the rate falls.
    """
    split = data.train if isinstance(data, Data) else data
    generator = torch.Generator().manual_seed(derived_seed(seed, "batches of the fault suite"))
    parameters = [parameter for parameter in chain(model.parameters(), guide.parameters()) if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=rate, fused=True)
    for epoch in range(epochs):
        along = epoch / epochs if falling else 0.0
        optimizer.param_groups[0]["lr"] = rate * (0.01 + 0.99 * (1 + math.cos(math.pi * along)) / 2)
        for rows in torch.randperm(len(split), generator=generator).split(100):
            optimizer.zero_grad()
            loss(model, guide, split.training_batch(rows, generator)).backward()
            optimizer.step()
    model.eval()
    guide.eval()
