"""Importance sampling: log p(x) from draws of the guide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from bayes_vae.estimators.importance.accumulator import WeightAccumulator
from bayes_vae.estimators.importance.estimate import LogEvidenceEstimate
from bayes_vae.estimators.importance.pilot import PILOT_PARTICLES, check_tolerance, particles_needed
from bayes_vae.estimators.importance.proposals import (
    ESTIMATORS,
    ROOM,
    Proposal,
    RefinedProposal,
    check_proposal,
    fit_proposal,
)
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.program import Observations, Program, as_observations, take_rows, undisturbed
from bayes_vae.terms.randomness import derived_seed
from bayes_vae.terms.stream import Batch, Pair, Progress, Source, as_index, provenance, read_pair, stream

__all__ = ["WeightSummary", "estimate_from", "estimate_log_evidence", "log_weights_of", "summarize_weights"]


def estimate_log_evidence(
    model: Program,
    guide: Program,
    x: Tensor | tuple[Tensor, ...],
    num_particles: int = 5000,
    *,
    tolerance: float | None = None,
    proposal: Proposal = "guide",
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

    With a ``tolerance``, a pilot of 256 other draws chooses K for each observation, and its weights are thrown away:
    exp(estimate) stays unbiased, which it would not if the averaged weights chose (:func:`particles_needed` says how).

    A refined ``proposal`` takes the guide's place: a distribution of its own for each observation, fitted beforehand
    (:func:`fit_proposal` says how) to the posterior in unconstrained coordinates v, then frozen. The weights are
    ``p(x, z) |dz/dv| / q(v)``, and k̂ judges them like any others.

    Args:
        num_particles: K; log K is subtracted for as many as are drawn, whatever the chunks. With a tolerance, the most
            that any observation gets.
        tolerance: the standard error of each observation's log evidence that is wished for, nats. It may not be
            reached: the result's ``standard_error`` says what was. None: all get ``num_particles``. Each observation
            gets at least 128, and all the same where the program of a pair allows no subset of its observations.
        proposal: "guide"; "normal", with independent dimensions; "full_covariance"; or "student_t", with a full scale
            matrix and 20 degrees of freedom. The last two hold D² numbers for each observation. Fitting takes about
            1,600 gradients of log p(x, z) for each observation, more above 50 dimensions.
        progress: as in :func:`bayes_vae.log_terms`; with a refined proposal each observation counts twice, once when
            it is fitted and once when it is weighed.
        Others: as in :func:`bayes_vae.log_terms`.

    Returns:
        :class:`LogEvidenceEstimate`, shape (N,), nats; a lower bound in expectation.

    Raises:
        SettingsError: a tolerance that is not positive, or an unknown proposal.
        NotDefinedError: a refined proposal for discrete latents.
        ProgramError, SupportError, NumericalError: as :func:`bayes_vae.log_terms`.

    Reference: Burda, Grosse, Salakhutdinov (2016), "Importance weighted autoencoders", eq. 8.
    """
    check_tolerance(tolerance)
    parts = as_observations(x)
    indices = as_index(index, len(parts[0]), parts[0].device)
    with undisturbed(model, guide, device=parts[0].device, seed=seed):
        pair = read_pair(model, guide, parts, indices, source)
        check_proposal(proposal, pair)
        work = _Work(pair, parts, indices, batch_size, chunk_size)
        if proposal != "guide":
            total = 2 * len(indices)
            work = replace(work, proposal=work.fitted(proposal, seed, _from(0, total, progress)))
            progress = _from(len(indices), total, progress)
        if tolerance is None:
            rows = list(work.summaries(slice(None), num_particles, seed, progress))
            particles = torch.full_like(indices, num_particles)
        else:
            particles = _chosen_particles(work, num_particles, tolerance, seed)
            rows = [_by_particles(work, particles, seed, progress)]
    origin = provenance(pair, seed, data_policy)
    return estimate_from(rows, particles, origin, bool(pair.discrete), ESTIMATORS[proposal])


@dataclass(frozen=True, eq=False)
class _Work:
    """The pair, all observations, the sizes of the pieces, and the refined proposal if there is one."""

    pair: Pair
    x: Observations
    index: Tensor
    batch_size: int | None
    chunk_size: int | None
    proposal: RefinedProposal | None = None

    def fitted(self, proposal: Proposal, seed: int, progress: Progress | None) -> RefinedProposal:
        """A refined proposal for every observation."""
        sizes = ROOM, derived_seed(seed, "proposal"), self.batch_size, self.chunk_size
        batches = stream(self.pair, self.x, self.index, *sizes, progress)
        return RefinedProposal.join([fit_proposal(batch, proposal) for batch in batches])

    def log_weights(
        self, rows: Tensor | slice, num_particles: int, seed: int, progress: Progress | None = None
    ) -> Iterator[Iterator[Tensor]]:
        """Of some observations: for each batch, its log weights chunk by chunk, (K, N)."""
        x, index, sizes = take_rows(self.x, rows), self.index[rows], (self.batch_size, self.chunk_size)
        proposal = None if self.proposal is None else self.proposal.take(rows)
        for batch in stream(self.pair, x, index, num_particles, seed, *sizes, progress):
            yield log_weights_of(batch) if proposal is None else proposal.take(batch.rows).log_weights(batch)

    def summaries(
        self, rows: Tensor | slice, num_particles: int, seed: int, progress: Progress | None = None
    ) -> Iterator[WeightSummary]:
        """Of some observations, batch by batch."""
        for chunks in self.log_weights(rows, num_particles, seed, progress):
            yield summarize_weights(chunks, num_particles)


def _chosen_particles(work: _Work, most: int, tolerance: float, seed: int) -> Tensor:
    """K of each observation, shape (N,), from a pilot of fresh draws whose weights go no further."""
    discrete = bool(work.pair.discrete)
    pilot = work.log_weights(slice(None), PILOT_PARTICLES, derived_seed(seed, "pilot of the particles"))
    needed = [particles_needed(torch.cat(list(chunks)), tolerance, most, discrete=discrete) for chunks in pilot]
    chosen = torch.cat(needed)
    return chosen if work.pair.splittable else chosen.max().expand_as(chosen).contiguous()


def _by_particles(work: _Work, particles: Tensor, seed: int, progress: Progress | None) -> WeightSummary:
    """Observations with the same K run together; the summary is in their own order.

    Keyed noise is an observation's own, so its K particles are the first K that it would have had alone. Noise by
    blocks of data is not, and each K then has a seed of its own.
    """
    rows: list[WeightSummary] = []
    done = 0
    order = torch.argsort(particles, stable=True)
    for count in particles.unique().tolist():
        members = order[particles[order] == count]
        own = seed if work.pair.keyed else derived_seed(seed, "particles", count)
        rows += work.summaries(members, count, own, _from(done, len(particles), progress))
        done += len(members)
    return WeightSummary(*(torch.cat(column)[torch.argsort(order)] for column in zip(*rows, strict=True)))


def _from(done: int, total: int, progress: Progress | None) -> Progress | None:
    """Progress over a part of the observations, told as progress over all of them."""
    return None if progress is None else lambda here, _: progress(done + here, total)


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
    rows: Iterable[WeightSummary],
    num_particles: int | Tensor,
    origin: Provenance,
    discrete: bool,
    estimator: str = ESTIMATORS["guide"],
) -> LogEvidenceEstimate:
    """The estimate of a data set from the summaries of its batches; with discrete latents k̂ is not defined.

    Args:
        rows: of each batch.
        num_particles: K, of all or of each observation, shape (N,).
        origin: how the weights came about.
        discrete: whether a latent is.
        estimator: its name.
    """
    bound, sample_size, pareto_k, step = (torch.cat(column) for column in zip(*rows, strict=True))
    if discrete:
        pareto_k = torch.full_like(pareto_k, torch.nan)
    particles = torch.as_tensor(num_particles, device=bound.device).expand(len(bound))
    return LogEvidenceEstimate(bound, sample_size, pareto_k, step, particles, estimator, origin)


def log_weights_of(batch: Batch) -> Iterator[Tensor]:
    """The log importance weights of a batch, one (K, N) tensor in float64 for each chunk of particles."""
    for draw in batch.draws():
        yield draw.log_importance_weights
