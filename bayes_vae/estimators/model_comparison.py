"""Several models, one Bayes' rule: which explains the same observations better, and how sure that is."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from bayes_vae.errors import SettingsError
from bayes_vae.estimators.contenders import Contender, same_number_of_observations
from bayes_vae.terms.averages import Average, average
from bayes_vae.terms.tabular import Column, Tabular
from bayes_vae.vocabulary.number_text import joined, share, with_error
from bayes_vae.vocabulary.readings import words

__all__ = ["NO_PROBABILITIES", "Difference", "ModelComparison", "compare_contenders"]

Verdict = Literal["better", "cannot tell", "may reverse"]

FALSE_CALLS = math.erfc(math.sqrt(2))
"""How often two equal models may be told apart: as often as a normal number is more than 2 errors off."""

SINGLE_TRAININGS = (
    "The comparison is of these trainings, not of their designs: to compare designs, train each with several seeds."
)

NO_PROBABILITIES = (
    "Model probabilities are not shown: the product of p(x) over N observations turns a difference d of the means into "
    "odds of e^(N d), as if the trained weights had been known beforehand and one of these models had to be true."
)


@dataclass(frozen=True, eq=False)
class Difference:
    r"""How much better the best model explains the observations than another.

    .. math:: \bar d = \frac1N \sum_n \big( \log p_1(x_n) - \log p_2(x_n) \big)

    The error is *paired*: what makes an observation hard for both models cancels, so it is far smaller than the errors
    of the two means. The draws of the two are independent; what lies low in both means cancels.

    Of designs that were trained with several seeds, the spread between seeds is a third error of the difference.

    Attributes:
        best, other: the two models.
        num_models: models that were compared: the best of many is ahead by chance more often than the better of two.
    """

    best: Contender
    other: Contender
    num_models: int = 2

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
    def spread(self) -> float:
        """The larger of the two spreads between seeds, nats; NaN where each has one seed."""
        known = [each.spread for each in (self.best, self.other) if each.num_seeds > 1]
        return max(known, default=math.nan)

    @property
    def seed_error(self) -> float:
        r"""Standard error of the difference of the designs from the choice of seeds; NaN where each has one seed.

        .. math:: e_\mathrm{seeds}^2 = s_1^2 / S_1 + s_2^2 / S_2

        The spread of a design with one seed is not known; the other's stands in for it.
        """
        return math.nan if math.isnan(self.spread) else math.sqrt(sum(part for part, _ in self._seed_variances()))

    @property
    def known_error(self) -> float:
        """Data error, Monte-Carlo error and the error from the seeds in quadrature, as far as they are known."""
        seeds = self.seed_error
        return math.hypot(self.average.known_error, 0.0 if math.isnan(seeds) else seeds)

    @property
    def errors_needed(self) -> float:
        r"""How many errors the difference must exceed to be called one; 2 for two trainings.

        The quantile of Student's t with Welch and Satterthwaite's degrees of freedom, since few seeds leave their
        spread uncertain. Its level is shared out over all pairs of models (Bonferroni), since the best was chosen.

        Reference: Welch (1947), "The generalization of Student's problem when several different population variances
        are involved".
        """
        parts = [] if math.isnan(self.spread) else [part for part in self._seed_variances() if part[0] > 0]
        below = sum(part**2 / degrees for part, degrees in parts)
        degrees = self.known_error**4 / below if below > 0 else math.inf
        pairs = self.num_models * (self.num_models - 1) / 2
        quantiles: Any = importlib.import_module("scipy.special")
        tail = 1 - FALSE_CALLS / pairs / 2
        return float(quantiles.ndtri(tail) if math.isinf(degrees) else quantiles.stdtrit(degrees, tail))

    def _seed_variances(self) -> list[tuple[float, int]]:
        """Of each design: the variance of its mean over seeds, and the degrees of freedom of that."""
        found = []
        for each, its_rival in ((self.best, self.other), (self.other, self.best)):
            source = each if each.num_seeds > 1 else its_rival
            found.append((source.spread**2 / each.num_seeds, source.num_seeds - 1))
        return found

    @property
    def verdict(self) -> Verdict:
        """Whether the difference can be told from zero.

        A log p(x) that has not converged is a lower bound: where the other model's is one, its log p(x) may lie above
        the best, and the order is no result. Where only the best one's is, the order stands. A difference that is
        smaller than the spread between seeds is not called one.
        """
        found = self.average
        if not self.other.reading.settled:
            return "may reverse"
        told = found.value > self.errors_needed * self.known_error and not found.value <= self.spread
        return "better" if told else "cannot tell"

    def sentence(self) -> str:
        """What can be said."""
        found, seeds = self.average, ""
        if not math.isnan(self.spread):
            seeds = f" (spread between seeds {with_error(self.spread, 0.0)})"
        by = f"{with_error(found.value, self.known_error)} nats per observation{seeds}"
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
        return tuple(Difference(best, other, len(self.contenders)) for other in others)

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
        said = [*(each.sentence() for each in self.differences), self.about_seeds(), NO_PROBABILITIES]
        return tuple(filter(None, said))

    def about_seeds(self) -> str:
        """What one seed of a design leaves open; empty where each has several."""
        single = [each.name for each in self.contenders if each.num_seeds == 1]
        if not single:
            return ""
        if len(single) == len(self.contenders):
            return SINGLE_TRAININGS
        have = "has one seed" if len(single) == 1 else "have one seed each"
        return (
            f"{joined(single)} {have}: the spread between the other's seeds stands in for the one that is not known. "
            "Train with several seeds to compare designs."
        )

    def as_json(self) -> dict[str, Any]:
        """The table in JSON types; unknown numbers are None."""
        rows: list[dict[str, Any]] = [_row(each) for each in self.contenders]
        rows[0] |= {"difference": 0.0}
        for row, each in zip(rows[1:], self.differences, strict=True):
            row |= _difference_row(each)
        return {
            "num_observations": self.num_observations,
            "data_policy": self.data_policy,
            "models": rows,
            "sentences": list(self.sentences()),
        }

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
    same_number_of_observations(contenders)
    order = sorted(contenders, key=lambda each: -float(each.log_evidence.double().mean()))
    return ModelComparison(tuple(order), data_policy)


def _row(each: Contender) -> dict[str, Any]:
    found = each.average
    elbo = None if each.elbo is None else float(each.elbo.double().mean())
    return {
        "name": each.name,
        "log_evidence": found.value,
        "monte_carlo_error": _known(found.monte_carlo_error),
        "data_error": _known(found.data_error),
        "num_seeds": each.num_seeds,
        "spread_between_seeds": _known(each.spread),
        "reading": each.reading.as_json(),
        "estimator": each.estimator,
        "elbo": elbo,
        "inference_gap": None if elbo is None else found.value - elbo,
        "num_parameters": each.num_parameters,
        "seconds": _known(each.seconds),
        "seeds": [{"name": one.name, "log_evidence": one.average.value} for one in each.seeds],
    }


def _difference_row(each: Difference) -> dict[str, Any]:
    found = each.average
    return {
        "difference": found.value,
        "difference_monte_carlo_error": _known(found.monte_carlo_error),
        "difference_data_error": _known(found.data_error),
        "difference_seed_error": _known(each.seed_error),
        "errors_needed": each.errors_needed,
        "better_for": each.share_of_other,
        "verdict": each.verdict,
        "sentence": each.sentence(),
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
