"""What the decoder shows of the latent space: reconstructions, draws from the prior, traversals; and q's means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bayes_vae.errors import NotDefinedError
from bayes_vae.plots.images import is_picture
from bayes_vae.report.decoding import Decoding, decoding_of
from bayes_vae.terms.opened import OpenPair
from bayes_vae.terms.randomness import isolated_rng

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
        names: their symbols.
        along: one at a time, shape (T, S, *event).
        along_quantiles: S of them.
        over: the first two together, shape (G, G, *event), the first index the first dimension's; None where z has one.
        over_quantiles: G of them.
        held: the code that the others stay at, shape (D,): the mean of q for the first observation.
    """

    dimensions: tuple[int, ...]
    names: tuple[str, ...]
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
        beside: whether the model was given what stands beside x in the observations, such as labels; all codes of a
            traversal what stands beside the first.
    """

    reconstructions: Tensor
    prior_samples: Tensor
    traversals: Traversals | Missing
    beside: bool = False


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
def latent_means(decoding: Decoding, labels: Tensor | None) -> LatentMeans | Missing:
    """The means of q(z given x).

    Args:
        decoding: the pair with its observations.
        labels: shape (N,), or None.
    """
    q = decoding.posterior(slice(None))
    if len(q.event_shape) != 1:
        return Missing(f"z has event shape {tuple(q.event_shape)}, and only a vector can be drawn as a point.")
    try:
        return LatentMeans(q.mean.cpu(), labels)
    except NotImplementedError:
        return Missing(f"the mean of q(z|x), a {type(q).__name__}, is not known.")


@torch.no_grad()
def pictures(opened: OpenPair, kl: Tensor | None = None) -> Pictures:
    """Decode draws from q and from the prior, and run along the latent dimensions.

    Args:
        opened: the pair with its observations; the draws have its seed.
        kl: mean KL of each latent dimension, shape (D,), which orders them; None leaves them in their order.

    Raises:
        NotDefinedError: codes cannot be decoded, the data are no pictures, or the likelihood has no mean; the message
            says which.
    """
    inputs = opened.rows.read()
    x = inputs[0]
    if not is_picture(tuple(x.shape[1:])):
        raise NotDefinedError(
            f"an observation has shape {tuple(x.shape[1:])}, which is not that of a picture: expected (H, W), or one "
            "or three colours first or last."
        )
    try:
        decoding = _decoding_or_none(opened)
        if decoding is None:
            made: Any = opened.model
            reconstructions = made.reconstruct(inputs, opened.guide, seed=opened.seed, index=opened.index)
            samples = made.sample(SAMPLES, seed=opened.seed, mean=True)
            return Pictures(reconstructions.cpu(), samples.cpu(), NO_SINGLE_CODE)
        places = torch.arange(len(x), device=x.device)
        with isolated_rng(opened.seed, x.device):
            reconstructions = decoding.means(decoding.posterior(places).sample(), places)
            samples = decoding.means(*decoding.prior_codes(SAMPLES))
        traversals = _traversals(decoding, kl)
    except NotImplementedError as error:
        raise NotDefinedError("the mean of p(x|z), which pictures show, is not known for this likelihood.") from error
    return Pictures(reconstructions.cpu(), samples.cpu(), traversals, decoding.beside)


def _decoding_or_none(opened: OpenPair) -> Decoding | None:
    """The codes of the pair; None of a model of several latents that draws and reconstructs by itself."""
    try:
        return decoding_of(opened)
    except NotDefinedError:
        if opened.traits.reconstruct is None or opened.traits.sample is None:
            raise
        return None


def _traversals(decoding: Decoding, kl: Tensor | None) -> Traversals | Missing:
    parts = decoding.prior_normal()
    if parts is None:
        return Missing("the prior is not a normal with independent dimensions, so its quantiles are not available.")
    try:
        code = decoding.posterior(torch.zeros(1, dtype=torch.int64, device=parts[0].device)).mean[0]
    except NotImplementedError:
        return Missing("the mean of q(z|x), at which the other dimensions would stay, is not known.")

    def decoded(codes: Tensor) -> Tensor:
        flat = codes.flatten(0, 1)
        places = torch.zeros(len(flat), dtype=torch.int64, device=flat.device)
        means: Tensor = decoding.means(flat, places).unflatten(0, codes.shape[:2])
        return means.cpu()

    order = torch.arange(len(code)) if kl is None else kl.argsort(descending=True, stable=True).cpu()
    chosen = order[:TRAVERSED].tolist()
    prior_normal = torch.distributions.Normal(parts[0], parts[1], validate_args=False)
    steps, grid = (_quantiles(count) for count in (STEPS, GRID))
    values = torch.stack([prior_normal.icdf(code.new_tensor(q)) for q in steps])
    codes = code.repeat(len(chosen), len(steps), 1)
    for row, dimension in enumerate(chosen):
        codes[row, :, dimension] = values[:, dimension]
    over = None
    if len(code) > 1:
        first, second = chosen[:2]
        ends = torch.stack([prior_normal.icdf(code.new_tensor(q)) for q in grid])
        plane = code.repeat(len(grid), len(grid), 1)
        plane[:, :, first], plane[:, :, second] = ends[:, None, first], ends[None, :, second]
        over = decoded(plane)
    names = tuple(decoding.name(dimension) for dimension in chosen)
    return Traversals(tuple(chosen), names, decoded(codes), steps, over, grid, code.cpu())


def _quantiles(count: int) -> tuple[float, ...]:
    """Evenly spaced, from 2 % to 98 %.

    >>> _quantiles(3)
    (0.02, 0.5, 0.98)
    """
    return tuple(round(0.02 + 0.96 * step / (count - 1), 6) for step in range(count))
