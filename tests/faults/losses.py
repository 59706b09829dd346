"""The losses that people write, right and wrong, and the plain loop that trains on them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from bayes_vae.data import Data, Split
from bayes_vae.distributions import normal_parts
from bayes_vae.terms.randomness import derived_seed

__all__ = [
    "ADAM",
    "Loss",
    "Optimizer",
    "autoencoding",
    "averaged",
    "deterministic",
    "free_bits",
    "importance_weighted",
    "kl_across_the_batch",
    "log_variance_as_scale",
    "of_total_correlation",
    "one_noise_for_all",
    "prior_of_deviation",
    "reversed_kl",
    "shifted_targets",
    "squares_drawn",
    "squares_in_kl",
    "train",
    "uniform_noise",
    "weighted",
    "without_gradient",
]

Loss = Callable[[Any, Any, Tensor], Tensor]
"""From model, guide and a batch to what is minimized."""

Optimizer = Callable[..., torch.optim.Optimizer]
"""From parameters and the rate ``lr`` to an optimizer."""

ADAM: Optimizer = partial(torch.optim.Adam, fused=True)
"""The usual one."""


def _pieces(model: Any, guide: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means and deviations of q, each (B, D), and log p(x given z) at one draw, (B,)."""
    loc, scale = _moments(guide, x)
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
    loc, scale = _moments(guide, x)
    z = loc + scale * torch.randn_like(loc)
    value: Tensor = _kl(z.mean(0), z.std(0)).sum() - model.likelihood(z).log_prob(x).mean()
    return value


def deterministic(model: Any, guide: Any, x: Tensor) -> Tensor:
    """The mean of q decoded, never a draw; the KL as it should be."""
    parts = _moments(guide, x)
    value: Tensor = (_kl(*parts).sum(-1) - model.likelihood(parts[0]).log_prob(x)).mean()
    return value


def autoencoding(model: Any, guide: Any, x: Tensor) -> Tensor:
    """The mean of q decoded, and no KL: an autoencoder, whose deviations are never trained."""
    parts = _moments(guide, x)
    value: Tensor = -model.likelihood(parts[0]).log_prob(x).mean()
    return value


def without_gradient(model: Any, guide: Any, x: Tensor) -> Tensor:
    """Draws without a gradient, as of ``sample`` in place of ``rsample``: the KL alone trains the encoder."""
    parts = _moments(guide, x)
    z = (parts[0] + parts[1] * torch.randn_like(parts[0])).detach()
    value: Tensor = (_kl(*parts).sum(-1) - model.likelihood(z).log_prob(x)).mean()
    return value


def squares_drawn(model: Any, guide: Any, x: Tensor) -> Tensor:
    """Draws with exp(v) for a deviation where v is the log variance, as the KL knows."""
    parts = _moments(guide, x)
    z = parts[0] + parts[1].square() * torch.randn_like(parts[0])
    value: Tensor = (_kl(*parts).sum(-1) - model.likelihood(z).log_prob(x)).mean()
    return value


def squares_in_kl(model: Any, guide: Any, x: Tensor) -> Tensor:
    """A KL with exp(v) for a deviation where v is the log variance, as the draws know."""
    loc, scale, log_likelihood = _pieces(model, guide, x)
    value: Tensor = (_kl(loc, scale.square()).sum(-1) - log_likelihood).mean()
    return value


def prior_of_deviation(deviation: float) -> Loss:
    """The KL to N(0, deviation²), where the model's prior is the standard normal."""

    def loss(model: Any, guide: Any, x: Tensor) -> Tensor:
        loc, scale, log_likelihood = _pieces(model, guide, x)
        value: Tensor = (_kl(loc / deviation, scale / deviation).sum(-1) - log_likelihood).mean()
        return value

    return loss


def one_noise_for_all(model: Any, guide: Any, x: Tensor) -> Tensor:
    """One ε for the whole batch: right on average, with more noise in its gradient."""
    loc, scale = _moments(guide, x)
    z = loc + scale * torch.randn_like(loc[:1])
    value: Tensor = (_kl(loc, scale).sum(-1) - model.likelihood(z).log_prob(x)).mean()
    return value


def uniform_noise(model: Any, guide: Any, x: Tensor) -> Tensor:
    """ε drawn from [0, 1), as of ``rand`` in place of ``randn``."""
    loc, scale = _moments(guide, x)
    value: Tensor = (_kl(loc, scale).sum(-1) - model.likelihood(loc + scale * torch.rand_like(loc)).log_prob(x)).mean()
    return value


def shifted_targets(model: Any, guide: Any, x: Tensor) -> Tensor:
    """Each observation is to be reconstructed as the next one of its batch."""
    loc, scale = _moments(guide, x)
    z = loc + scale * torch.randn_like(loc)
    value: Tensor = (_kl(loc, scale).sum(-1) - model.likelihood(z).log_prob(x.roll(1, 0))).mean()
    return value


def reversed_kl(model: Any, guide: Any, x: Tensor) -> Tensor:
    """KL(p(z) to q(z given x)) in place of KL(q to p)."""
    loc, scale, log_likelihood = _pieces(model, guide, x)
    kl = (loc.square() + 1) / (2 * scale.square()) - 0.5 + scale.log()
    value: Tensor = (kl.sum(-1) - log_likelihood).mean()
    return value


def importance_weighted(draws: int) -> Loss:
    """The importance-weighted objective of some draws."""

    def loss(model: Any, guide: Any, x: Tensor) -> Tensor:
        loc, scale = _moments(guide, x)
        noise = torch.randn(draws, *loc.shape)
        z = loc + scale * noise
        log_q = (-0.5 * noise.square() - scale.log()).sum(-1)
        weights = model.likelihood(z).log_prob(x) - 0.5 * z.square().sum(-1) - log_q
        value: Tensor = -weights.logsumexp(0).mean()
        return value

    return loss


def of_total_correlation(weight: float) -> Loss:
    """The total correlation of a batch's codes times a weight, in place of once: β-TC-VAE, by minibatch weighting."""

    def loss(model: Any, guide: Any, x: Tensor) -> Tensor:
        loc, scale = _moments(guide, x)
        z = loc + scale * torch.randn_like(loc)
        between = -0.5 * ((z.unsqueeze(1) - loc) / scale).square() - scale.log()  # (B, B, D), log q(z_i given x_j)
        together = between.sum(-1).logsumexp(1) - between.logsumexp(1).sum(-1)
        total_correlation = together + (loc.shape[1] - 1) * math.log(len(x))
        value: Tensor = (_kl(loc, scale).sum(-1) - model.likelihood(z).log_prob(x)).mean()
        return value + (weight - 1) * total_correlation.mean()

    return loss


def free_bits(nats: float) -> Loss:
    """The KL of each dimension counts only above some nats, on average over the batch."""

    def loss(model: Any, guide: Any, x: Tensor) -> Tensor:
        loc, scale, log_likelihood = _pieces(model, guide, x)
        value: Tensor = _kl(loc, scale).mean(0).clamp(min=nats).sum() - log_likelihood.mean()
        return value

    return loss


def _moments(guide: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Means and deviations of q, each (B, D)."""
    parts = normal_parts(guide.variational_posterior(x))
    assert parts is not None, "the guides of the suite are factorized normals"
    return parts


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
    batch: int = 100,
    optimizer: Optimizer = ADAM,
) -> None:
    """A plain torch loop: the rate falls to a hundredth along a cosine.

    Args:
        model, guide: trained in place.
        data: whose training rows are used, or a split.
        loss: what is minimized.
        epochs: passes over the rows.
        seed: of the batches and of the pixels' noise.
        rate: at the start.
        falling: whether the rate falls.
        batch: rows of a batch.
        optimizer: from parameters and rate.
    """
    split = data.train if isinstance(data, Data) else data
    generator = torch.Generator().manual_seed(derived_seed(seed, "batches of the fault suite"))
    parameters = [parameter for parameter in chain(model.parameters(), guide.parameters()) if parameter.requires_grad]
    steps = optimizer(parameters, lr=rate)
    for epoch in range(epochs):
        along = epoch / epochs if falling else 0.0
        steps.param_groups[0]["lr"] = rate * (0.01 + 0.99 * (1 + math.cos(math.pi * along)) / 2)
        for rows in torch.randperm(len(split), generator=generator).split(batch):
            steps.zero_grad()
            loss(model, guide, split.training_batch(rows, generator)).backward()
            steps.step()
    model.eval()
    guide.eval()
