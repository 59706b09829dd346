"""How a figure reads, as a value, and the sentences that are made from it; nothing takes a sentence apart."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

__all__ = [
    "ESTIMATE",
    "LOWER_BOUND",
    "Cause",
    "Kind",
    "Place",
    "RankShape",
    "Reading",
    "Width",
    "sentence",
    "why_not_converged",
    "words",
]

Kind = Literal[
    "exact",
    "closed_form",
    "estimate",
    "at_most",
    "at_least",
    "lower_bound",
    "lower_bound_in_expectation",
    "lower_bound_not_converged",
    "unresolved",
    "upper_bound_in_expectation",
    "quadrature",
    "capped",
    "not_split",
    "posterior_draws",
    "annealed",
]

Cause = Literal["few_particles", "discrete_latents", "one_chain", "chains", "precision"]

Width = Literal["too narrow", "too wide"]

Place = Literal["too low", "too high"]

WORDS: dict[Kind, tuple[str, str]] = {
    "exact": ("exact", ""),
    "closed_form": ("closed form", ""),
    "estimate": ("estimate", ""),
    "at_most": ("estimate, at most", ""),
    "at_least": ("estimate, at least", ""),
    "lower_bound": ("lower bound", ""),
    "lower_bound_in_expectation": ("lower bound in expectation", ""),
    "lower_bound_not_converged": ("lower bound, not converged", "lower bound, not converged"),
    "unresolved": ("", "no bound"),
    "upper_bound_in_expectation": ("upper bound in expectation", ""),
    "quadrature": ("exact up to its tolerance", "quadrature, not converged"),
    "capped": ("at most log N = {limit:.3f}", ""),
    "not_split": ("estimate, not split", ""),
    "posterior_draws": ("draws of the exact posterior", "draws of chains that have not converged"),
    "annealed": ("estimate", "estimate, not converged"),
}
"""Kind → words where no observation failed, and where some did; with places for the reading's numbers."""

EQUAL = "equal within error"
"""Of two figures whose order their errors leave open."""

ABOVE = "above log p(x) by chance"
"""Of a bound whose error is not known, and whose draws came out above the exact figure."""


@dataclass(frozen=True)
class Reading:
    """How a figure reads: its kind, and the numbers that say so. ``str()`` gives the sentence.

    Attributes:
        kind: what the figure is.
        failed: observations that did not meet the criterion of their estimator: k̂ above its threshold, chains that
            lie apart, levels that do not agree.
        num_observations: N, of which they failed.
        cause: why no k̂ is known, or why annealed weights do not count as converged; None where k̂ is known.
        thresholds: the least and the largest threshold of k̂.
        particles: the least and the largest K, where a pilot chose it or where it is too small for a k̂.
        limit: nats that the figure cannot exceed ("capped").
        temperatures: of annealing, as they were and as they are proposed.
        reason: why a figure is not split, the sentence of the refusal.
        equal: whether the figure lies on the wrong side of the one for log p(x), by less than their errors; of a
            difference, whether it is zero up to its error.
        above: whether a bound whose error is not known came out above the exact log p(x), as draws may.
        missed: how many of those that failed did so because a look at what the prior allows finds more of p(x).
    """

    kind: Kind = "estimate"
    failed: int = 0
    num_observations: int = 0
    cause: Cause | None = None
    thresholds: tuple[float, float] | None = None
    particles: tuple[int, int] | None = None
    limit: float | None = None
    temperatures: tuple[int, int] | None = None
    reason: str = ""
    equal: bool = False
    above: bool = False
    missed: int = 0

    @property
    def settled(self) -> bool:
        """Whether every observation met the criterion of its estimator."""
        return self.failed == 0

    def as_json(self) -> dict[str, Any]:
        """The kind and the numbers that are known, in JSON types; ``Reading(**…)`` gives the value back."""
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in known.items() if value != getattr(type(self), name) or name == "kind"}

    def __str__(self) -> str:
        return sentence(self)


ESTIMATE, LOWER_BOUND = Reading("estimate"), Reading("lower_bound")
"""The readings that need no numbers."""


def words(reading: Reading) -> str:
    """A few words, for a cell of a table.

    >>> words(Reading("quadrature", failed=3, num_observations=7))
    'quadrature, not converged'
    >>> words(Reading("lower_bound", equal=True))
    'equal within error'
    >>> words(Reading("lower_bound_not_converged", failed=1, num_observations=7, above=True))
    'lower bound, not converged, above log p(x) by chance'
    """
    if reading.equal:
        return EQUAL
    found = WORDS[reading.kind][not reading.settled].format(limit=reading.limit)
    return f"{found}, {ABOVE}" if reading.above else found


def sentence(reading: Reading) -> str:
    """What must be said beside a figure; empty where its kind is seen from its name.

    >>> sentence(Reading("lower_bound_not_converged", 12, 300, thresholds=(0.7, 0.7)))
    'lower bound, not converged: k̂ above 0.70 for 12 of 300'
    >>> sentence(Reading("unresolved", 2, 8, "precision"))
    'no bound: log p(x, z) is too sharp for its floats for 2 of 8; use float64'
    >>> sentence(Reading("estimate", particles=(50, 400)))
    '50 to 400 particles, chosen by a pilot'
    """
    where = f"for {reading.failed} of {reading.num_observations}"
    said, unsettled = [], not reading.settled
    if reading.kind in ("lower_bound_not_converged", "unresolved"):
        said.append(f"{words(reading)}: {why_not_converged(reading)}")
    elif reading.kind in ("lower_bound_in_expectation", "upper_bound_in_expectation"):
        said.append(words(reading))
    elif reading.kind == "quadrature":
        said.append("quadrature: the first error is from refinement, not Monte Carlo")
        said += [f"not converged {where}"] if unsettled else []
        said += [_missed(reading)] if reading.missed else []
    elif reading.kind == "posterior_draws":
        said += [f"chains not converged {where}"] if unsettled else []
    elif reading.kind == "annealed":
        said += [f"{words(reading)}: {why_not_converged(reading)}"] if unsettled else []
    elif reading.kind == "capped":
        said.append(words(reading))
    said += [reading.reason, EQUAL if reading.equal else ""]
    if reading.particles and reading.particles[0] < reading.particles[1]:
        said.append("{} to {} particles, chosen by a pilot".format(*reading.particles))
    return "; ".join(filter(None, said))


def why_not_converged(reading: Reading) -> str:
    """What keeps an importance or annealed estimate from being more than a lower bound.

    >>> why_not_converged(Reading("lower_bound_not_converged", 5, 5, "few_particles", particles=(6, 6)))
    '6 particles are too few for a k̂'
    >>> why_not_converged(Reading("lower_bound_not_converged", 3, 5, "chains", temperatures=(50, 200)))
    'annealed chains disagree for 3 of 5; num_temperatures=200 takes 4 times as long'
    >>> why_not_converged(Reading("lower_bound_not_converged", 5, 9, thresholds=(0.7, 0.7), missed=2))
    'k̂ above 0.70 for 3 of 9; the prior finds more of p(x) for 2 of 9'
    """
    if reading.missed:
        rest = replace(reading, failed=reading.failed - reading.missed, missed=0)
        return "; ".join([*([why_not_converged(rest)] if rest.failed else []), _missed(reading)])
    where = f"for {reading.failed} of {reading.num_observations}"
    if reading.cause == "one_chain":
        return "the weight of one chain says nothing about its error"
    if reading.cause == "precision":
        return f"log p(x, z) is too sharp for its floats {where}; use float64"
    if reading.cause == "chains":
        had, more = reading.temperatures or (0, 0)
        advice = f"; num_temperatures={more} takes {more / had:g} times as long" if had else ""
        return f"annealed chains disagree {where}{advice}"
    if reading.cause == "few_particles" and reading.particles:
        return f"{reading.particles[1]} particles are too few for a k̂"
    if reading.thresholds is None:
        return "k̂ is not defined for discrete latents"
    least, most = (f"{threshold:.2f}" for threshold in reading.thresholds)
    above = most if least == most else f"its threshold, {least} to {most},"
    return f"k̂ above {above} {where}"


def _missed(reading: Reading) -> str:
    return f"the prior finds more of p(x) for {reading.missed} of {reading.num_observations}"


@dataclass(frozen=True)
class RankShape:
    """What the ranks of the true z say of q in one dimension; false where they look uniform.

    Attributes:
        departs: whether a test rejects that they are uniform.
        width: what is wrong with q's width, where that is seen.
        place: what is wrong with q's place, where that is seen.
    """

    departs: bool = False
    width: Width | None = None
    place: Place | None = None

    def __bool__(self) -> bool:
        return self.departs

    def __str__(self) -> str:
        if not self.departs:
            return "uniform"
        return " and ".join(filter(None, [self.width, self.place])) or "of another shape"
