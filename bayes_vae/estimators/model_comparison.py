"""Several models, one Bayes' rule: which explains the same observations better, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from bayes_vae.errors import SettingsError, ShapeError
from bayes_vae.estimators.annealing.estimate import AnnealedEstimate
from bayes_vae.estimators.importance.estimate import LogEvidenceEstimate
from bayes_vae.estimators.quadrature import QuadratureEstimate
from bayes_vae.terms.averages import Average, average, log_mean_bias
from bayes_vae.terms.tabular import Column, Tabular
from bayes_vae.vocabulary.number_text import joined, share, with_error
from bayes_vae.vocabulary.readings import ESTIMATE, Reading, words

__all__ = ["Contender", "Difference", "ModelComparison", "compare_contenders", "contender_of"]

Verdict = Literal["better", "cannot tell", "may reverse"]

ERRORS = 2.0
"""Errors beyond which a difference is told from zero."""

SINGLE_TRAININGS = (
    "The comparison is of these trainings, not of their designs: to compare designs, train each with several seeds."
)

NO_PROBABILITIES = (
    "Model probabilities are not shown: the product of p(x) over N observations turns a difference d of the means into "
    "odds of e^(N d), as if the trained weights had been known beforehand and one of these models had to be true."
)


@dataclass(frozen=True, eq=False)
class Contender:
    """One model's log p(x) for each observation.

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

    @property
    def average(self) -> Average:
        """Mean log p(x) with its errors."""
        return average(
            "log_evidence", self.log_evidence, self.standard_errors, self.num_particles, self.reading, self.bias
        )


@dataclass(frozen=True, eq=False)
class Difference:
    r"""How much better the best model explains the observations than another.

    .. math:: \bar d = \frac1N \sum_n \big( \log p_1(x_n) - \log p_2(x_n) \big)

    The error is *paired*: what makes an observation hard for both models cancels, so it is far smaller than the errors
    of the two means. The draws of the two are independent; what lies low in both means cancels.

    Attributes:
        best, other: the two models.
    """

    best: Contender
    other: Contender

    @property
    def values(self) -> Tensor:
        """Shape (N,), nats."""
        return self.best.log_evidence - self.other.log_evidence

    @property
    def average(self) -> Average:
        """The mean difference, its Monte-Carlo and its data error."""
        errors = torch.hypot(self.best.standard_errors, self.other.standard_errors)
        bias = abs(self.best.bias - self.other.bias)
        least = min(self.best.num_particles, self.other.num_particles)
        return average("difference", self.values, errors, least, self.other.reading, bias)

    @property
    def share_of_other(self) -> float:
        """Part of the observations that the other model explains better."""
        return float((self.values < 0).double().mean())

    @property
    def verdict(self) -> Verdict:
        """Whether the difference can be told from zero.

        A log p(x) that has not converged is a lower bound: where the other model's is one, its log p(x) may lie above
        the best, and the order is no result. Where only the best one's is, the order stands.
        """
        found = self.average
        if not self.other.reading.settled:
            return "may reverse"
        return "better" if found.value > ERRORS * found.known_error else "cannot tell"

    def sentence(self) -> str:
        """What can be said."""
        found = self.average
        by = f"{with_error(found.value, found.known_error)} nats per observation"
        names = f"{self.best.name} and {self.other.name}"
        if self.verdict == "may reverse":
            return (
                f"No order can be stated of {names}: log p(x) of {self.other.name} reads "
                f"“{words(self.other.reading)}” and may be higher by more than the difference, {by}."
            )
        if self.verdict == "cannot tell":
            return f"{names} cannot be told apart: they differ by {by}."
        at_least = "" if self.best.reading.settled else "at least "
        return (
            f"{self.best.name} explains the observations better than {self.other.name}, by {at_least}{by}; "
            f"{self.other.name} is better for {share(self.share_of_other)} of them."
        )


@dataclass(frozen=True, eq=False)
class ModelComparison(Tabular):
    """Several models on the same observations, best first.

    Attributes:
        contenders: the models, by mean log p(x), the largest first.
        data_policy: how pixels became observations.
    """

    contenders: tuple[Contender, ...]
    data_policy: str = "unstated"

    @property
    def num_observations(self) -> int:
        """N."""
        return len(self.contenders[0].log_evidence)

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The best model against each other one, in their order."""
        best, *others = self.contenders
        return tuple(Difference(best, other) for other in others)

    def columns(self) -> dict[str, Column]:
        """log p(x) of each model and its error, for each observation."""
        found: dict[str, Column] = {}
        for each in self.contenders:
            found[each.name] = ("observation", each.log_evidence)
            found[f"{each.name}_error"] = ("observation", each.standard_errors)
        return found

    def table_rows(self) -> dict[str, Average]:
        """Each model's mean log p(x), then the differences to the best."""
        found = {each.name: each.average for each in self.contenders}
        return found | {f"{self.contenders[0].name} − {each.other.name}": each.average for each in self.differences}

    def sentences(self) -> tuple[str, ...]:
        """One for each difference, then what the comparison does not say."""
        return (*(each.sentence() for each in self.differences), SINGLE_TRAININGS, NO_PROBABILITIES)

    def as_json(self) -> dict[str, Any]:
        """The table in JSON types; unknown numbers are None."""
        rows: list[dict[str, Any]] = [_row(each) for each in self.contenders]
        rows[0] |= {"difference": 0.0}
        for row, each in zip(rows[1:], self.differences, strict=True):
            found = each.average
            row |= {
                "difference": found.value,
                "difference_monte_carlo_error": _known(found.monte_carlo_error),
                "difference_data_error": _known(found.data_error),
                "better_for": each.share_of_other,
                "verdict": each.verdict,
                "sentence": each.sentence(),
            }
        return {"num_observations": self.num_observations, "data_policy": self.data_policy, "models": rows}

    def __str__(self) -> str:
        lines = [f"{each.name:>16}  {each.average}" for each in self.contenders]
        return "\n".join([*lines, *self.sentences()])


def compare_contenders(contenders: Sequence[Contender], data_policy: str = "unstated") -> ModelComparison:
    """Put models in order.

    Raises:
        SettingsError: fewer than two.
        ShapeError: other numbers of observations.
    """
    if len(contenders) < 2:
        raise SettingsError(f"a comparison needs at least two models, got {len(contenders)}: name another one.")
    counts = {each.name: len(each.log_evidence) for each in contenders}
    if len(set(counts.values())) > 1:
        told = joined([f"{count} of {name}" for name, count in counts.items()])
        raise ShapeError(
            f"models are compared on the same observations, one log p(x) for each, but there are {told}. "
            "Evaluate all of them on the same rows, in the same order."
        )
    order = sorted(contenders, key=lambda each: -float(each.log_evidence.double().mean()))
    return ModelComparison(tuple(order), data_policy)


def contender_of(name: str, given: Any) -> Contender:
    """A model by its log p(x): a result of an estimator, or one number for each observation.

    Args:
        name: of the model.
        given: what an estimator of log p(x) returned, or numbers of shape (N,), whose errors are then
            unknown.

    Raises:
        ShapeError: neither.
    """
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


def _row(each: Contender) -> dict[str, Any]:
    found = each.average
    elbo = None if each.elbo is None else float(each.elbo.double().mean())
    return {
        "name": each.name,
        "log_evidence": found.value,
        "monte_carlo_error": _known(found.monte_carlo_error),
        "data_error": _known(found.data_error),
        "reading": each.reading.as_json(),
        "estimator": each.estimator,
        "elbo": elbo,
        "inference_gap": None if elbo is None else found.value - elbo,
        "num_parameters": each.num_parameters,
        "seconds": _known(each.seconds),
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
