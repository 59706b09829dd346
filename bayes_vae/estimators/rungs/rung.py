"""A rung of the ladder towards log p(x), and which of them speaks for the data set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bayes_vae.parts.registry import rows
from bayes_vae.terms.averages import Average, average
from bayes_vae.vocabulary.number_text import capitalized, joined
from bayes_vae.vocabulary.readings import LOWER_BOUND, Reading

__all__ = ["Rung", "beside", "leading", "rung_words", "shortfall", "why_leading", "within_error"]

SHOWN = 5e-4
"""Nats below which a table shows a difference as 0.000."""

CHANCE = 1e-6
"""Probability below which draws of a bound are not said to lie above log p(x) by chance."""


@dataclass(frozen=True, eq=False)
class Rung:
    """One figure of the ladder.

    Attributes:
        name: "ELBO", "L_5", …; else the name of its row in the table of parts: "refined", "annealed", "converged"
            (annealed until two levels agree), "quadrature" or "exact" (closed form).
        num_particles: k of the bound; the number of chains where annealed; 0 where nothing is drawn.
        values: shape (N,), nats.
        standard_errors: Monte-Carlo error of each value, shape (N,); NaN where it is unknown.
        reading: how the figure reads; it is settled where every observation met the criterion of its estimator.
        seconds: time that it took; the bounds share their draws, and so their time.
        bias: of the mean of log mean weights, see ``log_mean_bias``; only where one group of particles is all there is;
            for quadrature the mean error of refinement.
        estimator: how it was computed.
        leads: whether it may stand for log p(x); the rungs below L_K may not.
        nested: whether it is one of the bounds from nested groups of one set of draws.
        function: what to call for this figure alone, as tables show it.
        result: what the estimator returned; None where the rung holds all.
    """

    name: str
    num_particles: int
    values: Tensor
    standard_errors: Tensor
    reading: Reading = LOWER_BOUND
    seconds: float = 0.0
    bias: float = 0.0
    estimator: str = "importance sampling from q, nested groups of one set of draws"
    leads: bool = False
    nested: bool = False
    function: str = "compare(…).rungs"
    result: Any = None

    @property
    def average(self) -> Average:
        """The rung's figure over the data set."""
        return average(self.name, self.values, self.standard_errors, self.num_particles, self.reading, self.bias)


def leading(rungs: Sequence[Rung]) -> Rung:
    """The rung that stands for log p(x): one for the whole data set.

    Their order, from the last to the first, was fixed before anything was drawn: exact, quadrature, annealed, a refined
    proposal, L_K. The first whose criterion holds for every observation leads; where none does, the first of all, and
    its reading says for how many observations it failed. So no mean leaves out the observations that did not converge,
    and no figure is chosen because it is larger.

    Args:
        rungs: from the ELBO up, at least one of which leads.
    """
    candidates = _candidates(rungs)
    return next((rung for rung in candidates if rung.reading.settled), candidates[0])


def _candidates(rungs: Sequence[Rung]) -> list[Rung]:
    """Those that may lead, in their order."""
    return [rung for rung in reversed(rungs) if rung.leads]


def rung_words(rung: Rung) -> str:
    """A rung in words, as the table of parts has them; a bound keeps its name."""
    return {row.name: row.help for row in rows("rung")}.get(rung.name, rung.name)


def why_leading(rungs: Sequence[Rung]) -> str:
    """Which rung stands for log p(x), and why not one that comes before it; empty where the first in order leads.

    Args:
        rungs: from the ELBO up, at least one of which leads.
    """
    top = leading(rungs)
    candidates = _candidates(rungs)
    passed = candidates[: candidates.index(top)]
    if not passed:
        return ""
    counts = [f"for {rung.reading.failed} of {rung.reading.num_observations}" for rung in passed]
    missed = [f"{rung_words(rung)} {where}" for rung, where in zip(passed, counts, strict=True)]
    missed[0] = f"{rung_words(passed[0])} did not converge {counts[0]}"
    return (
        f"{capitalized(rung_words(top))} stands for log p(x), because its criterion holds for every observation; "
        f"{joined(missed)}."
    )


def shortfall(top: Rung, rung: Rung) -> Average:
    """How far a rung lies below another over the data; an error that is not known is left out."""
    errors = torch.hypot(top.standard_errors.nan_to_num(), rung.standard_errors.nan_to_num())
    bias = math.hypot(*(each.bias for each in (top, rung) if not math.isnan(each.bias)))
    return average("shortfall", top.values - rung.values, errors, rung.num_particles, bias=bias)


def within_error(difference: Average) -> bool:
    """Whether a difference is zero up to twice its Monte-Carlo error, or to the decimals that a table shows."""
    return abs(difference.value) <= max(2 * difference.monte_carlo_error, SHOWN)


def beside(top: Rung, rung: Rung) -> Average:
    """A rung's figure as it reads beside the leading one: "equal within error" where it lies above that by chance.

    A bound whose error is not known cannot be called equal to an exact figure; that it is above it by chance is said,
    where that can be: the mean weight of each observation is p(x) in expectation, so by Markov's inequality the excess,
    summed over the observations, is more than log(1/α) with probability α at most.
    """
    found, short = rung.average, shortfall(top, rung)
    equal = short.value < 0 and within_error(short) and rung.reading.settled and top.reading.settled
    exact = top.name in ("exact", "quadrature") and top.reading.settled
    by_chance = SHOWN < -short.value < -math.log(CHANCE) / len(rung.values)
    above = exact and by_chance and rung.reading.kind == "lower_bound_not_converged"
    return replace(found, reading=replace(found.reading, equal=equal, above=above)) if equal or above else found
