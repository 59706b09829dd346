"""The aggregate posterior q(z) = mean_n q(z given x_n), and what the mean KL to the prior is made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

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
from bayes_vae.errors import NotDefinedError, NumericalError, SettingsError
from bayes_vae.estimators.aggregate_terms import ACTIVE_VARIANCE, PARTS, AggregatePosteriorTerms
from bayes_vae.terms.exposed import ExposedPair, exposes_distributions
from bayes_vae.terms.factorized import read_factorized_pair, variational_normal
from bayes_vae.terms.program import Observations, Program, as_observations, take_rows, undisturbed
from bayes_vae.terms.randomness import KeyedNoise
from bayes_vae.terms.stream import Progress, as_index, provenance, stream

__all__ = ["ACTIVE_VARIANCE", "AggregatePosteriorTerms", "aggregate_posterior_terms"]


def aggregate_posterior_terms(
    model: Program,
    guide: Program,
    x: Tensor | tuple[Tensor, ...],
    num_particles: int = 10,
    *,
    seed: int = 0,
    index: Tensor | None = None,
    batch_size: int | None = None,
    chunk_size: int | None = None,
    data_policy: str = "unstated",
    progress: Progress | None = None,
) -> AggregatePosteriorTerms:
    r"""Split the mean KL to the prior into mutual information, total correlation and dimensionwise KL.

    .. math:: q(z) = \frac1N \sum_{n=1}^N q(z \mid x_n), \qquad q(z_d) = \frac1N \sum_{n=1}^N q(z_d \mid x_n)

    Both mixtures run over all N observations given, never a minibatch, and are evaluated exactly; only the
    expectation over z is sampled, with K draws for each x_n. The cost is K N² D densities, in bounded memory.

    Args:
        model, guide: a pair that exposes its distributions; for all parts prior and guide must be normals, of which the
            guide may have correlations, the prior none.
        num_particles: K draws for each observation; errors need at least 2.
        batch_size: observations drawn for at once.
        chunk_size: components of the mixture at once; neither changes a result beyond rounding.
        Others: as in :func:`bayes_vae.log_terms`.

    Returns:
        :class:`AggregatePosteriorTerms`, shape (N,), nats; the mean of every figure is at least 0, up to its error.

    Raises:
        NotDefinedError: any other pair, or a q whose density is known at its own draws only; the message says why.

    Reference: Hoffman, Johnson (2016), "ELBO surgery", section 2; Chen, Li, Grosse, Duvenaud (2018), "Isolating
    sources of disentanglement in variational autoencoders", eq. 2; active units: Burda, Grosse, Salakhutdinov (2016),
    "Importance weighted autoencoders", section 5.2.
    """
    _check(num_particles=num_particles, batch_size=batch_size, chunk_size=chunk_size)
    parts = as_observations(x)
    indices = as_index(index, len(parts[0]), parts[0].device)
    work = _Work(parts, indices, num_particles, seed, batch_size, chunk_size, progress)
    with undisturbed(model, guide, device=parts[0].device, seed=seed):
        pair, why_undefined = _read(model, guide, parts, indices)
        found = _general(pair, work) if why_undefined else _factorized(pair, work)
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
        provenance(pair, seed, data_policy),
    )


class _Work(NamedTuple):
    """What is to be drawn, and in which pieces."""

    x: Observations
    indices: Tensor
    num_particles: int
    seed: int
    batch_size: int | None
    chunk_size: int | None
    progress: Progress | None

    @property
    def size(self) -> int:
        """Observations drawn for at once."""
        return self.batch_size or max(1, DRAWS_AT_ONCE // self.num_particles)


class _Found(NamedTuple):
    """Means and covariances of the shares, batch by batch; the closed-form KL; the means of q."""

    rows: list[tuple[Tensor, Tensor]]
    closed_form_kl: Tensor | None
    means: Tensor | None


def _read(model: Program, guide: Program, x: Observations, index: Tensor) -> tuple[ExposedPair, str]:
    """The pair, and what it lacks for dimension by dimension figures; empty for factorized normals."""
    wanted = "needs q(z_d given x) of each dimension by itself"
    exposed = exposes_distributions(model, guide)
    quantity = "it" if exposed else "aggregate_posterior_terms"
    try:
        return read_factorized_pair(model, guide, x, index, quantity, wanted), ""
    except NotDefinedError as error:
        if not exposed:
            raise
        return ExposedPair(model, guide, x, index), str(error)


def _factorized(pair: ExposedPair, work: _Work) -> _Found:
    """With means and deviations, every dimension by itself."""
    mixture, kl = _encode(pair, work.x, work.indices)
    noise = KeyedNoise(work.seed)
    rows: list[tuple[Tensor, Tensor]] = []
    for start in range(0, len(work.indices), work.size):
        batch = slice(start, min(start + work.size, len(work.indices)))
        values = list(_shares(pair, mixture, batch, work.indices[batch], noise, work.num_particles, work.chunk_size))
        rows.append(_mean_and_covariance(torch.cat(values)))
        if work.progress is not None:
            work.progress(batch.stop, len(work.indices))
    return _Found(rows, kl, mixture.loc)


def _general(pair: ExposedPair, work: _Work) -> _Found:
    """With log q(z given x_n) of any guide."""
    mixture, means = _components(pair, work)
    step = max(1, DRAWS_AT_ONCE // min(work.size, len(work.indices)))
    batches = stream(pair, work.x, work.indices, work.num_particles, work.seed, work.size, step, work.progress)
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


def _components(pair: ExposedPair, work: _Work) -> tuple[GuideMixture, Tensor | None]:
    """Run the encoder on every observation: the mixture, and the means of q where they are known."""
    step = work.chunk_size or chunk_of_components(pair.model.prior().event_shape.numel())
    components = []
    for start in range(0, len(work.indices), step):
        batch = slice(start, start + step)
        components.append(pair.bind(take_rows(work.x, batch), work.indices[batch]).variational_posterior)
    normals = MultivariateNormal | LowRankMultivariateNormal
    marginals = None
    if normal_parts(pair.model.prior()) is not None and all(_is_normal(q, normals) for q in components):
        loc, scale = (
            torch.cat([part.double() for part in column])
            for column in zip(*((q.mean, q.variance.sqrt()) for q in components), strict=True)
        )
        marginals = NormalMixture(loc, scale)
    return GuideMixture(components, marginals, work.chunk_size), _means(components)


def _is_normal(q: Any, normals: Any) -> bool:
    """Whether q is a normal with correlations, whose marginals are normals; a class derived from one may not be."""
    return isinstance(q, normals) and type(q).__module__.partition(".")[0] in ("torch", "pyro")


def _means(components: list[Any]) -> Tensor | None:
    try:
        return torch.cat([q.mean.double() for q in components])
    except NotImplementedError:
        return None


def _check(**numbers: int | None) -> None:
    for name, value in numbers.items():
        if value is not None and not (hasattr(value, "__index__") and value >= 1):
            raise SettingsError(f"{name} must be a whole number of at least 1, got {value!r}.")


def _encode(pair: ExposedPair, x: Observations, index: Tensor) -> tuple[NormalMixture, Tensor]:
    """Run the encoder on every observation: the mixture, and the closed-form KL by dimension."""
    rows = []
    for start in range(0, len(index), DRAWS_AT_ONCE):
        batch = slice(start, start + DRAWS_AT_ONCE)
        bound = pair.bind(take_rows(x, batch), index[batch])
        loc, scale = variational_normal(bound)
        rows.append((loc.double(), scale.double(), bound.kl_per_dimension().double()))
    loc, scale, kl = (torch.cat(column) for column in zip(*rows, strict=True))
    return NormalMixture(loc, scale), kl


def _shares(
    pair: ExposedPair,
    mixture: NormalMixture,
    batch: slice,
    index: Tensor,
    noise: KeyedNoise,
    num_particles: int,
    chunk_size: int | None,
) -> Iterator[Tensor]:
    """The three parts at draws from each q(z given x_n) of a batch, chunks of shape (K, N, 3)."""
    parts = normal_parts(pair.model.prior())
    assert parts is not None, "read_factorized_pair has looked"
    loc, scale = mixture.loc[batch], mixture.scale[batch]
    step = max(1, DRAWS_AT_ONCE // len(index))
    for start in range(0, num_particles, step):
        particles = range(start, min(start + step, num_particles))
        z = loc + scale * noise.normal("z", index, particles, loc.shape[1:], loc)
        own = mixture.log_density(z, batch).sum(-1)
        prior = normal_log_density(z, parts[0].double(), parts[1].double()).sum(-1)
        joint, marginal = mixture.log_mixture(z.flatten(0, 1), chunk_size)
        joint, product = joint.reshape(own.shape), marginal.sum(-1).reshape(own.shape)
        yield torch.stack([own - joint, joint - product, product - prior], dim=-1)


def _mean_and_covariance(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over K draws (N, 3), and its covariance (N, 3, 3), from values (K, N, 3)."""
    count, mean = len(values), values.mean(0)
    if count < 2:
        return mean, mean.new_full((*mean.shape, mean.shape[-1]), torch.nan)
    centred = values - mean
    return mean, torch.einsum("kni,knj->nij", centred, centred) / (count - 1) / count
