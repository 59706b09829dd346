"""What a model brings to a comparison: its log p(x) for each observation, of one training or of several seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bayes_vae.errors import ShapeError
from bayes_vae.estimators.annealing.estimate import AnnealedEstimate
from bayes_vae.estimators.evaluation import Evaluation
from bayes_vae.estimators.importance.estimate import LogEvidenceEstimate
from bayes_vae.estimators.quadrature import QuadratureEstimate
from bayes_vae.terms.averages import Average, average, log_mean_bias
from bayes_vae.vocabulary.number_text import joined
from bayes_vae.vocabulary.readings import ESTIMATE, Reading

__all__ = ["Contender", "contender_of", "design_of", "same_number_of_observations"]


@dataclass(frozen=True, eq=False)
class Contender:
    """One model's log p(x) for each observation; of a design that was trained with several seeds, its mean over them.

    Attributes:
        name: of the model.
        log_evidence: shape (N,), nats.
        standard_errors: Monte-Carlo error of each, shape (N,); NaN where it is unknown.
        reading: how the figure reads.
        estimator: how it was computed.
        elbo: shape (N,), nats; None where only log p(x) was given.
        num_parameters: of model and guide; None where it is not known.
        seconds: time that it took; NaN where it is not known.
        num_particles: K, or the number of chains; 0 where it is not known, or there are none.
        bias: how far the mean lies low, to second order, nats; see :func:`bayes_vae.terms.averages.log_mean_bias`.
        seeds: the trainings of one design, which differ only in their seed; empty for one training.
    """

    name: str
    log_evidence: Tensor
    standard_errors: Tensor
    reading: Reading = ESTIMATE
    estimator: str = "as given"
    elbo: Tensor | None = None
    num_parameters: int | None = None
    seconds: float = math.nan
    num_particles: int = 0
    bias: float = 0.0
    seeds: tuple[Contender, ...] = ()

    @property
    def average(self) -> Average:
        """Mean log p(x) with its errors."""
        return average(
            "log_evidence", self.log_evidence, self.standard_errors, self.num_particles, self.reading, self.bias
        )

    @property
    def num_seeds(self) -> int:
        """Trainings of this design, 1 or more."""
        return max(1, len(self.seeds))

    @property
    def spread(self) -> float:
        """Standard deviation of the seeds' mean log p(x), nats; NaN for one seed."""
        means = torch.stack([each.log_evidence.double().mean() for each in self.seeds or (self,)])
        return float(means.std()) if len(means) > 1 else math.nan


def contender_of(name: str, given: Any) -> Contender:
    """A model by its log p(x): a result of an estimator, or one number for each observation.

    Args:
        name: of the model.
        given: what an estimator of log p(x) returned, or numbers of shape (N,), whose errors are then
            unknown.

    Raises:
        ShapeError: neither.
    """
    if isinstance(given, Evaluation):
        best = given.leading
        seconds = given.seconds + sum(rung.seconds for rung in given.rungs[1:])
        alone = Contender(name, best.values, best.standard_errors, best.reading, best.estimator, given.terms.elbo)
        return replace(alone, seconds=seconds, num_particles=best.num_particles, bias=best.bias)
    if isinstance(given, QuadratureEstimate):
        return Contender(name, given.log_evidence, given.refinement_error, given.reading, "quadrature")
    if isinstance(given, AnnealedEstimate | LogEvidenceEstimate):
        count = given.averages()["log_evidence"].num_particles
        error = given.standard_error
        alone = Contender(name, given.log_evidence, error, given.reading, given.estimator)
        return replace(alone, num_particles=count, bias=log_mean_bias(error))
    try:
        values = torch.as_tensor(given, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        values = None
    if values is None or values.dim() != 1 or len(values) == 0 or not bool(values.isfinite().all()):
        found = type(given).__name__ if values is None else f"shape {tuple(values.shape)}"
        raise ShapeError(
            f"{name!r} must be a pair (model, guide), a run directory, a result such as that of "
            f"annealed_log_evidence, or one finite log p(x) for each observation, shape (N,); got {found}."
        )
    return Contender(name, values, torch.full_like(values, torch.nan))


def design_of(name: str, trainings: Sequence[Contender]) -> Contender:
    r"""Several trainings of one design as one contender.

    .. math:: \frac1S \sum_s \log p_s(x_n)

    Args:
        name: of the design.
        trainings: of the same observations, one for each seed.
    """
    if len(trainings) == 1:
        return replace(trainings[0], name=name)
    same_number_of_observations(trainings)
    count, first = len(trainings), trainings[0]
    elbos = [each.elbo for each in trainings if each.elbo is not None]
    return Contender(
        name,
        torch.stack([each.log_evidence.double() for each in trainings]).mean(0),
        torch.stack([each.standard_errors.double() for each in trainings]).square().sum(0).sqrt() / count,
        _reading_of_all([each.reading for each in trainings]),
        joined(list(dict.fromkeys(each.estimator for each in trainings))),
        torch.stack(elbos).mean(0) if len(elbos) == count else None,
        first.num_parameters,
        sum(each.seconds for each in trainings),
        min(each.num_particles for each in trainings),
        sum(each.bias for each in trainings) / count,
        tuple(trainings),
    )


def same_number_of_observations(contenders: Sequence[Contender]) -> None:
    """Refuse models whose log p(x) are of other numbers of observations.

    Raises:
        ShapeError: says how many each has.
    """
    counts = [len(each.log_evidence) for each in contenders]
    if len(set(counts)) > 1:
        told = joined([f"{count} of {each.name}" for count, each in zip(counts, contenders, strict=True)])
        raise ShapeError(
            f"models are compared on the same observations, one log p(x) for each, but there are {told}. "
            "Evaluate all of them on the same rows, in the same order."
        )


def _reading_of_all(readings: Sequence[Reading]) -> Reading:
    """Of the mean over several trainings: their common one, or that of those which failed, all failures counted."""
    failed = [each for each in readings if not each.settled]
    if not failed:
        return readings[0] if len(set(readings)) == 1 else ESTIMATE
    observations = sum(each.num_observations or failed[0].num_observations for each in readings)
    return replace(failed[0], failed=sum(each.failed for each in failed), num_observations=observations)
