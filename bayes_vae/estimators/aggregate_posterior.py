"""The aggregate posterior q(z) = mean_n q(z given x_n), and what the mean KL to the prior is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple, Unpack, cast

import torch
from torch import Tensor
from torch.distributions import LowRankMultivariateNormal, MultivariateNormal

from bayes_vae.distributions import normal_parts
from bayes_vae.distributions.mixture import (
    DRAWS_AT_ONCE,
    GuideMixture,
    NormalMixture,
    chunk_of_components,
    normal_log_density,
)
from bayes_vae.errors import NotDefinedError, NumericalError
from bayes_vae.estimators.aggregate_terms import ACTIVE_VARIANCE, PARTS, AggregatePosteriorTerms
from bayes_vae.terms.exposed import ExposedPair
from bayes_vae.terms.factorized import FactorizedBatch, FactorizedPair, factorized, variational_normal
from bayes_vae.terms.listed_options import lists_options
from bayes_vae.terms.opened import OpenPair, Options, open_pair
from bayes_vae.terms.program import Program
from bayes_vae.terms.randomness import KeyedNoise
from bayes_vae.terms.rows import X
from bayes_vae.terms.whole_numbers import whole_number

__all__ = ["ACTIVE_VARIANCE", "AggregatePosteriorTerms", "aggregate_posterior_terms"]

SAME_PRIOR = 1e-4
"""Deviations of the prior by which it may differ between observations: a network rounds the same y in other ways."""


@lists_options
def aggregate_posterior_terms(
    model: Program,
    guide: Program,
    x: X,
    num_particles: int = 10,
    **options: Unpack[Options],
) -> AggregatePosteriorTerms:
    r"""Split the mean KL to the prior into mutual information, total correlation and dimensionwise KL.

    .. math:: q(z) = \frac1N \sum_{n=1}^N q(z \mid x_n), \qquad q(z_d) = \frac1N \sum_{n=1}^N q(z_d \mid x_n)

    Both mixtures run over all N observations given, never a minibatch, and are evaluated exactly; only the
    expectation over z is sampled, with K draws for each x_n. The cost is K N² D densities, in bounded memory.

    Args:
        model, guide: a pair that exposes its distributions; for all parts prior and guide must be normals, of which the
            guide may have correlations, the prior none.
        num_particles: K draws for each observation; errors need at least 2.
        Others: as in :func:`bayes_vae.log_terms`; chunk_size is of the components of the mixture.

    Returns:
        :class:`AggregatePosteriorTerms`, shape (N,), nats; the mean of every figure is at least 0, up to its error.

    Raises:
        NotDefinedError: any other pair, or a q whose density is known at its own draws only; the message says why.

    Reference: Hoffman, Johnson (2016), "ELBO surgery", section 2; Chen, Li, Grosse, Duvenaud (2018), "Isolating
    sources of disentanglement in variational autoencoders", eq. 2; active units: Burda, Grosse, Salakhutdinov (2016),
    "Importance weighted autoencoders", section 5.2.
    """
    with open_pair(model, guide, x, **options) as opened:
        return aggregate_of(opened, num_particles)


def aggregate_of(opened: OpenPair, num_particles: int = 10) -> AggregatePosteriorTerms:
    """:func:`aggregate_posterior_terms` of a pair that is open."""
    num_particles = whole_number("num_particles", num_particles)
    opened = opened.with_normals()
    opened.check_support()
    why_undefined = _why_undefined(opened)
    found = _general(opened, num_particles) if why_undefined else _factorized(opened, num_particles)
    means, covariance = (torch.cat(column) for column in zip(*found.rows, strict=True))
    if not bool(torch.isfinite(means).all()):
        raise NumericalError(
            "log q(z given x) is not finite: look for NaN in the data, a scale of the guide that reached zero or "
            "infinity, or weights that diverged."
        )
    return AggregatePosteriorTerms(
        means,
        PARTS if means.shape[1] == len(PARTS) else (PARTS[0], "marginal_kl_to_prior"),
        covariance,
        found.closed_form_kl,
        None if found.means is None else found.means.var(0, correction=0),
        why_undefined,
        num_particles,
        opened.provenance,
    )


def _size(opened: OpenPair, num_particles: int) -> int:
    """Observations drawn for at once."""
    return opened.batch_size or max(1, DRAWS_AT_ONCE // num_particles)


class _Found(NamedTuple):
    """Means and covariances of the shares, batch by batch; the closed-form KL; the means of q."""

    rows: list[tuple[Tensor, Tensor]]
    closed_form_kl: Tensor | None
    means: Tensor | None


def _why_undefined(opened: OpenPair) -> str:
    """What the pair lacks for dimension by dimension figures; empty for factorized normals."""
    exposed = isinstance(opened.pair, ExposedPair)
    try:
        name = "it" if exposed else "aggregate_posterior_terms"
        factorized(opened.pair, opened.rows, name, "needs q(z_d given x) of each dimension by itself")
    except NotDefinedError as error:
        if not exposed:
            raise
        return str(error)
    return ""


def _factorized(opened: OpenPair, num_particles: int) -> _Found:
    """With means and deviations, every dimension by itself."""
    mixture, kl, prior = _encode(opened)
    noise, index, size = KeyedNoise(opened.seed), opened.index, _size(opened, num_particles)
    rows: list[tuple[Tensor, Tensor]] = []
    for start in range(0, len(index), size):
        batch = slice(start, min(start + size, len(index)))
        values = list(_shares(prior, mixture, batch, index[batch], noise, num_particles, opened.chunk_size))
        rows.append(_mean_and_covariance(torch.cat(values)))
        if opened.progress is not None:
            opened.progress(batch.stop, len(index))
    return _Found(rows, kl, mixture.loc)


def _general(opened: OpenPair, num_particles: int) -> _Found:
    """With log q(z given x_n) of any guide."""
    mixture, means = _components(opened)
    size = _size(opened, num_particles)
    cut = replace(opened, batch_size=size, chunk_size=max(1, DRAWS_AT_ONCE // min(size, opened.num_observations)))
    batches = cut.batches(num_particles)
    rows = []
    for batch in batches:
        values = []
        for draw in batch.draws():
            own, prior = draw.log_guide.double(), draw.log_prior.double()
            joint, product = mixture.log_density(draw.latents["z"].flatten(0, 1))
            joint = joint.reshape(own.shape)
            if product is None:
                values.append(torch.stack([own - joint, joint - prior], dim=-1))
            else:
                product = product.reshape(own.shape)
                values.append(torch.stack([own - joint, joint - product, product - prior], dim=-1))
        rows.append(_mean_and_covariance(torch.cat(values)))
    return _Found(rows, None, means)


def _encoded(opened: OpenPair, size: int) -> Iterator[FactorizedBatch]:
    """The pair bound to all observations, batch by batch, for nothing but its q."""
    for start in range(0, opened.num_observations, size):
        part = opened.rows.take(slice(start, start + size))
        yield cast(FactorizedPair, opened.pair).bind(part.read(), part.index)


def _components(opened: OpenPair) -> tuple[GuideMixture, Tensor | None]:
    """Run the encoder on every observation: the mixture, and the means of q where they are known."""
    prior = cast(ExposedPair, opened.pair).model.prior()
    step = opened.chunk_size or chunk_of_components(prior.event_shape.numel())
    components = [bound.variational_posterior for bound in _encoded(opened, step)]
    normals = MultivariateNormal | LowRankMultivariateNormal
    marginals = None
    if normal_parts(prior) is not None and all(_is_normal(q, normals) for q in components):
        loc, scale = (
            torch.cat([part.double() for part in column])
            for column in zip(*((q.mean, q.variance.sqrt()) for q in components), strict=True)
        )
        marginals = NormalMixture(loc, scale)
    return GuideMixture(components, marginals, opened.chunk_size), _means(components)


def _is_normal(q: Any, normals: Any) -> bool:
    """Whether q is a normal with correlations, whose marginals are normals; a class derived from one may not be."""
    return isinstance(q, normals) and type(q).__module__.partition(".")[0] in ("torch", "pyro")


def _means(components: list[Any]) -> Tensor | None:
    try:
        return torch.cat([q.mean.double() for q in components])
    except NotImplementedError:
        return None


def _encode(opened: OpenPair) -> tuple[NormalMixture, Tensor, tuple[Tensor, Tensor]]:
    """Run the encoder on every observation: the mixture, the closed-form KL by dimension, and the prior, each (D,).

    Raises:
        NotDefinedError: p(z given y) that differs between the observations.
    """
    rows = []
    for bound in _encoded(opened, DRAWS_AT_ONCE):
        normals = (*variational_normal(bound), *(normal_parts(bound.prior) or ()))
        shape = normals[0].shape
        rows.append([part.double().expand(shape) for part in (*normals, bound.kl_per_dimension())])
    loc, scale, prior_loc, prior_scale, kl = (torch.cat(column) for column in zip(*rows, strict=True))
    prior = prior_loc[0], prior_scale[0]
    moved, widened = (prior_loc - prior[0]) / prior[1], prior_scale / prior[1] - 1
    if max(float(part.abs().max()) for part in (moved, widened)) > SAME_PRIOR:
        raise NotDefinedError(
            "aggregate_posterior_terms compares q(z), the mean over all observations, with one prior, and the prior of "
            "this pair differs between observations: what stands beside x sets it. Take observations that share it."
        )
    return NormalMixture(loc, scale), kl, prior


def _shares(
    prior: tuple[Tensor, Tensor],
    mixture: NormalMixture,
    batch: slice,
    index: Tensor,
    noise: KeyedNoise,
    num_particles: int,
    chunk_size: int | None,
) -> Iterator[Tensor]:
    """The three parts at draws from each q(z given x_n) of a batch, chunks of shape (K, N, 3)."""
    loc, scale = mixture.loc[batch], mixture.scale[batch]
    step = max(1, DRAWS_AT_ONCE // len(index))
    for start in range(0, num_particles, step):
        particles = range(start, min(start + step, num_particles))
        z = loc + scale * noise.normal("z", index, particles, loc.shape[1:], loc)
        own = mixture.log_density(z, batch).sum(-1)
        log_prior = normal_log_density(z, *prior).sum(-1)
        joint, marginal = mixture.log_mixture(z.flatten(0, 1), chunk_size)
        joint, product = joint.reshape(own.shape), marginal.sum(-1).reshape(own.shape)
        yield torch.stack([own - joint, joint - product, product - log_prior], dim=-1)


def _mean_and_covariance(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over K draws (N, 3), and its covariance (N, 3, 3), from values (K, N, 3)."""
    count, mean = len(values), values.mean(0)
    if count < 2:
        return mean, mean.new_full((*mean.shape, mean.shape[-1]), torch.nan)
    centred = values - mean
    return mean, torch.einsum("kni,knj->nij", centred, centred) / (count - 1) / count
