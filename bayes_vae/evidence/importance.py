"""Importance sampling: log p(x) from draws of the guide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from bayes_vae.evidence.accumulator import WeightAccumulator
from bayes_vae.evidence.estimate import LogEvidenceEstimate
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.program import Program, as_observations, undisturbed
from bayes_vae.terms.stream import Batch, Progress, Source, as_index, provenance, read_pair, stream

__all__ = ["WeightSummary", "estimate_from", "estimate_log_evidence", "log_weights_of", "summarize_weights"]


def estimate_log_evidence(
    model: Program,
    guide: Program,
    x: Tensor | tuple[Tensor, ...],
    num_particles: int = 5000,
    *,
    seed: int = 0,
    index: Tensor | None = None,
    source: Source = "auto",
    batch_size: int | None = None,
    chunk_size: int | None = None,
    data_policy: str = "unstated",
    progress: Progress | None = None,
) -> LogEvidenceEstimate:
    r"""Importance-sampled log evidence of each observation, with its reliability.

    .. math:: \log \hat p(x) = \log \frac1K \sum_k \frac{p(x, z_k)}{q(z_k \mid x)}, \quad z_k \sim q(z \mid x)

    Each observation has weights of its own; memory is bounded whatever K and N.

    Args:
        num_particles: K; log K is subtracted for as many as are drawn, whatever the chunks.
        Others: as in :func:`bayes_vae.log_terms`.

    Returns:
        :class:`LogEvidenceEstimate`, shape (N,), nats; a lower bound in expectation.

    Raises:
        ProgramError, SupportError, NumericalError: as :func:`bayes_vae.log_terms`.

    Reference: Burda, Grosse, Salakhutdinov (2016), "Importance weighted autoencoders", eq. 8.
    """
    parts = as_observations(x)
    indices = as_index(index, len(parts[0]), parts[0].device)
    rows: list[WeightSummary] = []
    with undisturbed(model, guide, device=parts[0].device, seed=seed):
        pair = read_pair(model, guide, parts, indices, source)
        for batch in stream(pair, parts, indices, num_particles, seed, batch_size, chunk_size, progress):
            rows.append(summarize_weights(log_weights_of(batch), num_particles))
    return estimate_from(rows, num_particles, provenance(pair, seed, data_policy), bool(pair.discrete))


class WeightSummary(NamedTuple):
    """What is kept of the weights of some observations, each of shape (N,)."""

    log_evidence: Tensor
    effective_sample_size: Tensor
    pareto_k: Tensor
    doubling_step: Tensor


def summarize_weights(chunks: Iterable[Tensor], num_particles: int) -> WeightSummary:
    """Summarize log weights that come in chunks of shape (K, N)."""
    weights = WeightAccumulator(num_particles)
    for log_weights in chunks:
        weights.update(log_weights)
    bound = weights.bound()
    return WeightSummary(
        bound, weights.effective_sample_size(), weights.pareto_k().to(bound.device), weights.doubling_step()
    )


def estimate_from(
    rows: Iterable[WeightSummary], num_particles: int, origin: Provenance, discrete: bool
) -> LogEvidenceEstimate:
    """The estimate of a data set from the summaries of its batches; with discrete latents k̂ is not defined."""
    bound, sample_size, pareto_k, step = (torch.cat(column) for column in zip(*rows, strict=True))
    if discrete:
        pareto_k = torch.full_like(pareto_k, torch.nan)
    return LogEvidenceEstimate(bound, sample_size, pareto_k, step, num_particles, "importance", origin)


def log_weights_of(batch: Batch) -> Iterator[Tensor]:
    """The log importance weights of a batch, one (K, N) tensor in float64 for each chunk of particles."""
    for draw in batch.draws():
        yield draw.log_prior.double() + draw.log_likelihood.double() - draw.log_guide.double()
