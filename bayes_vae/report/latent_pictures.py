"""What the decoder shows of the latent space: reconstructions, draws from the prior, traversals; and q's means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bayes_vae.distributions import normal_parts
from bayes_vae.errors import NotDefinedError
from bayes_vae.plots.images import is_picture
from bayes_vae.terms.exposed import exposes_distributions
from bayes_vae.terms.program import Observations, Program, index_arguments
from bayes_vae.terms.randomness import isolated_rng
from bayes_vae.terms.traits import traits_of

__all__ = ["LatentMeans", "Missing", "Pictures", "Traversals", "latent_means", "pictures"]

RECONSTRUCTIONS, SAMPLES, TRAVERSED = 16, 64, 8
"""Pictures at most: observations, draws from the prior, latent dimensions."""

STEPS, GRID = 9, 15
"""Quantiles along one dimension, and along each of two."""


@dataclass(frozen=True)
class Missing:
    """What a report leaves out, and why.

    Attributes:
        reason: one sentence, starting small.
    """

    reason: str


NO_SINGLE_CODE = Missing("this model does not come from one z alone, so there is no single code to vary.")


@dataclass(frozen=True, eq=False)
class Traversals:
    """Means of p(x given z) where some dimensions run over quantiles of their prior and the others stay.

    Attributes:
        dimensions: which run, the largest mean KL first.
        along: one at a time, shape (T, S, *event).
        along_quantiles: S of them.
        over: the first two together, shape (G, G, *event), the first index the first dimension's; None where z has one.
        over_quantiles: G of them.
        held: the code that the others stay at, shape (D,): the mean of q for the first observation.
    """

    dimensions: tuple[int, ...]
    along: Tensor
    along_quantiles: tuple[float, ...]
    over: Tensor | None
    over_quantiles: tuple[float, ...]
    held: Tensor


@dataclass(frozen=True, eq=False)
class Pictures:
    """What the decoder shows.

    Attributes:
        reconstructions: mean of p(x given z) for one z drawn from q, for every observation, shape (N, *event).
        prior_samples: means of p(x given z) for z drawn from the prior, shape (S, *event).
        traversals: along the latent dimensions, or why there are none.
    """

    reconstructions: Tensor
    prior_samples: Tensor
    traversals: Traversals | Missing


@dataclass(frozen=True, eq=False)
class LatentMeans:
    """Where q puts the observations.

    Attributes:
        means: of q(z given x), shape (N, D).
        labels: shape (N,), or None.
    """

    means: Tensor
    labels: Tensor | None


@torch.no_grad()
def latent_means(
    model: Program, guide: Program, x: Tensor, index: Tensor, labels: Tensor | None
) -> LatentMeans | Missing:
    """The means of q(z given x).

    Args:
        x: shape (N, *event).
        index: shape (N,).
        labels: shape (N,), or None.
    """
    _require_exposed(model, guide)
    q = _posterior(guide, x, index)
    if len(q.event_shape) != 1:
        return Missing(f"z has event shape {tuple(q.event_shape)}, and only a vector can be drawn as a point.")
    try:
        return LatentMeans(q.mean.cpu(), labels)
    except NotImplementedError:
        return Missing(f"the mean of q(z|x), a {type(q).__name__}, is not known.")


@torch.no_grad()
def pictures(model: Any, guide: Any, inputs: Observations, index: Tensor, kl: Tensor | None, seed: int) -> Pictures:
    """Decode draws from q and from the prior, and run along the latent dimensions.

    Args:
        inputs: what the programs take: observations, shape (N, *event), and labels where they take them.
        index: shape (N,).
        kl: mean KL of each latent dimension, shape (D,), which orders them; None leaves them in their order.
        seed: of the draws; the caller's random state is left as it was.

    Raises:
        NotDefinedError: the pair does not expose its distributions, the data are no pictures, or the likelihood has no
            mean; the message says which.
    """
    exposed = exposes_distributions(model, guide)
    traits = traits_of(model)
    if not exposed and (traits.reconstruct is None or traits.sample is None):
        _require_exposed(model, guide)
    x = inputs[0]
    if not is_picture(tuple(x.shape[1:])):
        raise NotDefinedError(
            f"an observation has shape {tuple(x.shape[1:])}, which is not that of a picture: expected (H, W), or one "
            "or three colours first or last."
        )
    try:
        if not exposed:
            reconstructions = model.reconstruct(inputs, guide, seed=seed, index=index)
            return Pictures(reconstructions.cpu(), model.sample(SAMPLES, seed=seed, mean=True).cpu(), NO_SINGLE_CODE)
        with isolated_rng(seed, x.device):
            reconstructions = model.likelihood(_posterior(guide, x, index).sample()).mean
            samples = model.likelihood(model.prior().sample((SAMPLES,))).mean
    except NotImplementedError as error:
        raise NotDefinedError("the mean of p(x|z), which pictures show, is not known for this likelihood.") from error
    return Pictures(reconstructions.cpu(), samples.cpu(), _traversals(model, guide, x, index, kl))


def _traversals(model: Any, guide: Any, x: Tensor, index: Tensor, kl: Tensor | None) -> Traversals | Missing:
    prior = model.prior()
    parts = normal_parts(prior)
    if parts is None or len(prior.event_shape) != 1:
        return Missing("the prior is not a normal with independent dimensions, so its quantiles are not available.")
    held = _posterior(guide, x[:1], index[:1])
    try:
        code = held.mean[0]
    except NotImplementedError:
        return Missing("the mean of q(z|x), at which the other dimensions would stay, is not known.")
    order = torch.arange(len(code)) if kl is None else kl.argsort(descending=True, stable=True).cpu()
    chosen = order[:TRAVERSED].tolist()
    prior_normal = torch.distributions.Normal(parts[0], parts[1], validate_args=False)
    steps, grid = (_quantiles(count) for count in (STEPS, GRID))
    values = torch.stack([prior_normal.icdf(code.new_tensor(q)) for q in steps])
    codes = code.repeat(len(chosen), len(steps), 1)
    for row, dimension in enumerate(chosen):
        codes[row, :, dimension] = values[:, dimension]
    along = model.likelihood(codes).mean.cpu()
    over = None
    if len(code) > 1:
        first, second = chosen[:2]
        ends = torch.stack([prior_normal.icdf(code.new_tensor(q)) for q in grid])
        plane = code.repeat(len(grid), len(grid), 1)
        plane[:, :, first], plane[:, :, second] = ends[:, None, first], ends[None, :, second]
        over = model.likelihood(plane).mean.cpu()
    return Traversals(tuple(chosen), along, steps, over, grid, code.cpu())


def _quantiles(count: int) -> tuple[float, ...]:
    """Evenly spaced, from 2 % to 98 %.

    >>> _quantiles(3)
    (0.02, 0.5, 0.98)
    """
    return tuple(round(0.02 + 0.96 * step / (count - 1), 6) for step in range(count))


def _require_exposed(model: Program, guide: Program) -> None:
    if not exposes_distributions(model, guide):
        raise NotDefinedError(
            "the pair does not expose prior(), likelihood(z) and variational_posterior(x), so nothing can be decoded "
            "or encoded by itself."
        )


def _posterior(guide: Any, x: Tensor, index: Tensor) -> Any:
    """q(z given x)."""
    return guide.variational_posterior(x, **index_arguments(guide, index))
