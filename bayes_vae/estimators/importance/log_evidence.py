"""Importance sampling: log p(x) from draws of the guide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Unpack

import torch
from torch import Tensor

from bayes_vae.estimators.annealing.start import rows_to_fit
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
from bayes_vae.estimators.importance.reliability import pareto_k_threshold
from bayes_vae.estimators.importance.variation import LOOKED_AT, resolution_of, trusted_pareto_k
from bayes_vae.estimators.unseen import LogDensity, unseen
from bayes_vae.terms.containers import Draw, join_particles
from bayes_vae.terms.listed_options import lists_options
from bayes_vae.terms.opened import Batch, OpenPair, Options, open_pair, part_of
from bayes_vae.terms.rows import X
from bayes_vae.terms.traits import Program
from bayes_vae.terms.whole_numbers import whole_number

__all__ = [
    "WeightSummary",
    "WeightsAtDraws",
    "estimate_from",
    "estimate_log_evidence",
    "estimate_of",
    "log_weights_of",
    "summarize_weights",
]


@lists_options
def estimate_log_evidence(
    model: Program,
    guide: Program,
    x: X,
    num_particles: int = 5000,
    *,
    tolerance: float | None = None,
    proposal: Proposal = "guide",
    **options: Unpack[Options],
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
    tolerance = check_tolerance(tolerance)
    num_particles = whole_number("num_particles", num_particles)
    with open_pair(model, guide, x, **options) as opened:
        return estimate_of(opened, num_particles, tolerance, proposal)


def estimate_of(
    opened: OpenPair, num_particles: int, tolerance: float | None = None, proposal: Proposal = "guide"
) -> LogEvidenceEstimate:
    """:func:`estimate_log_evidence` of a pair that is open."""
    check_proposal(proposal, opened.pair)
    work = _Work(opened)
    if proposal != "guide":
        work = _Work(opened.phase(1, of=2), _fitted(opened.phase(0, of=2), proposal))
    if tolerance is None:
        rows = list(work.summaries(num_particles))
        particles = torch.full_like(opened.index, num_particles)
    else:
        particles = _chosen_particles(work, num_particles, tolerance)
        rows = [_by_particles(work, particles)]
    density = None if work.proposal is None else work.proposal.log_density_at
    return estimate_from(rows, particles, opened, ESTIMATORS[proposal], density)


def _fitted(opened: OpenPair, proposal: Proposal) -> RefinedProposal:
    """A refined proposal for every observation."""
    batches = opened.batches(ROOM, "proposal", batch_size=rows_to_fit(opened, ROOM))
    return RefinedProposal.join([fit_proposal(batch, proposal) for batch in batches])


@dataclass(frozen=True, eq=False)
class _Work:
    """The pair, and the refined proposal if there is one."""

    opened: OpenPair
    proposal: RefinedProposal | None = None

    def log_weights(
        self, num_particles: int, *purpose: int | str, rows: Tensor | None = None
    ) -> Iterator[Iterator[Tensor]]:
        """Of some observations: for each batch, its log weights chunk by chunk, (K, N)."""
        proposal = self.proposal if self.proposal is None or rows is None else self.proposal.take(rows)
        for batch in self.opened.batches(num_particles, *purpose, rows=rows):
            yield log_weights_of(batch) if proposal is None else proposal.take(batch.rows).log_weights(batch)

    def summaries(self, num_particles: int, *purpose: int | str, rows: Tensor | None = None) -> Iterator[WeightSummary]:
        """Of some observations, batch by batch."""
        if self.proposal is None:
            summaries = WeightsAtDraws(num_particles)
            for batch in self.opened.batches(num_particles, *purpose, rows=rows):
                yield summaries.of(batch)
            return
        for chunks in self.log_weights(num_particles, *purpose, rows=rows):
            yield summarize_weights(chunks, num_particles)


def _chosen_particles(work: _Work, most: int, tolerance: float) -> Tensor:
    """K of each observation, shape (N,), from a pilot of fresh draws whose weights go no further."""
    pair = work.opened.pair
    pilot = replace(work, opened=work.opened.quiet()).log_weights(PILOT_PARTICLES, "pilot of the particles")
    discrete = bool(pair.discrete)
    needed = [particles_needed(torch.cat(list(chunks)), tolerance, most, discrete=discrete) for chunks in pilot]
    chosen = torch.cat(needed)
    return chosen if pair.splittable else chosen.max().expand_as(chosen).contiguous()


def _by_particles(work: _Work, particles: Tensor) -> WeightSummary:
    """Observations with the same K run together; the summary is in their own order.

    Keyed noise is an observation's own, so its K particles are the first K that it would have had alone. Noise by
    blocks of data is not, and each K then has a seed of its own.
    """
    opened, progress = work.opened, work.opened.progress
    rows: list[WeightSummary] = []
    done = 0
    order = torch.argsort(particles, stable=True)
    for count in particles.unique().tolist():
        members = order[particles[order] == count]
        purpose = () if opened.pair.keyed else ("particles", count)
        part = replace(work, opened=replace(opened, progress=part_of(progress, done, len(particles))))
        rows += part.summaries(count, *purpose, rows=members)
        done += len(members)
    return WeightSummary(*(torch.cat(column)[torch.argsort(order)] for column in zip(*rows, strict=True)))


class WeightSummary(NamedTuple):
    """What is kept of the weights of some observations, each of shape (N,)."""

    log_evidence: Tensor
    effective_sample_size: Tensor
    pareto_k: Tensor
    doubling_step: Tensor
    resolution: Tensor
    largest: Tensor


def summarize_weights(chunks: Iterable[Tensor], num_particles: int) -> WeightSummary:
    """Summarize log weights that come in chunks of shape (K, N)."""
    weights = WeightAccumulator(num_particles)
    for log_weights in chunks:
        weights.update(log_weights)
    return _summary(weights)


def _summary(weights: WeightAccumulator) -> WeightSummary:
    bound = weights.bound()
    pareto_k, step = weights.pareto_k().to(bound.device), weights.doubling_step()
    unknown = torch.full_like(bound, torch.nan)
    return WeightSummary(bound, weights.effective_sample_size(), pareto_k, step, unknown, weights.largest())


class WeightsAtDraws:
    """Summarizes the importance weights of draws; an :class:`~bayes_vae.terms.opened.Accumulator`."""

    def __init__(self, num_particles: int) -> None:
        self._num_particles = num_particles
        self._rows: list[WeightSummary] = []
        self._looked_at: list[Draw] = []

    def of(self, batch: Batch) -> WeightSummary:
        """Draw all particles of a batch and summarize their weights."""
        self.begin(batch)
        for draw in batch.draws():
            self.update(draw)
        self.end()
        return self._rows[-1]

    def begin(self, batch: Batch) -> None:
        """A batch starts."""
        self._weights, self._batch, self._looked_at = WeightAccumulator(self._num_particles), batch, []

    def update(self, draw: Draw) -> None:
        """Some particles of it."""
        left = LOOKED_AT - self._weights.num_particles  # whatever the chunks
        self._weights.update(draw.log_importance_weights)
        if left > 0:
            self._looked_at.append(draw.select(slice(left)))

    def end(self) -> None:
        """All its particles have come."""
        found = _summary(self._weights)
        first = join_particles(self._looked_at)
        trusted = trusted_pareto_k(found.pareto_k, self._batch, first)
        doubtful, resolution = trusted > pareto_k_threshold(self._num_particles), found.resolution
        if bool(doubtful.any()):  # each row for itself: what is looked at must not depend on the batch
            resolution = torch.where(doubtful, resolution_of(self._batch, first), resolution)
        self._rows.append(found._replace(pareto_k=trusted, resolution=resolution))

    def result(self, opened: OpenPair) -> LogEvidenceEstimate:
        """L_K of all observations that came."""
        return estimate_from(self._rows, self._num_particles, opened)


def estimate_from(
    rows: Iterable[WeightSummary],
    num_particles: int | Tensor,
    opened: OpenPair,
    estimator: str = ESTIMATORS["guide"],
    log_density: LogDensity | None = None,
) -> LogEvidenceEstimate:
    """The estimate of a data set from the summaries of its batches; with discrete latents k̂ is not defined.

    What k̂ vouches for is looked at once more, with draws that the guide did not choose.

    Args:
        rows: of each batch.
        num_particles: K, of all or of each observation, shape (N,).
        opened: the pair that the weights are of.
        estimator: its name.
        log_density: of a refined proposal; None for the guide's.
    """
    bound, sample_size, pareto_k, step, resolution, largest = (torch.cat(part) for part in zip(*rows, strict=True))
    if opened.pair.discrete:
        pareto_k = torch.full_like(pareto_k, torch.nan)
    particles = torch.as_tensor(num_particles, device=bound.device).expand(len(bound))
    unknown = torch.full_like(bound, torch.nan)
    found = LogEvidenceEstimate(
        bound, sample_size, pareto_k, step, resolution, unknown, particles, estimator, opened.provenance
    )
    return opened.whole(replace(found, unseen=unseen(opened, found.converged, bound, largest, log_density)))


def log_weights_of(batch: Batch) -> Iterator[Tensor]:
    """The log importance weights of a batch, one (K, N) tensor in float64 for each chunk of particles."""
    for draw in batch.draws():
        yield draw.log_importance_weights
