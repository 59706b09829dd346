"""The ladder from the ELBO up to log p(x): importance-weighted bounds, annealing, and the exact value or quadrature."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Unpack

import torch
from torch import Tensor

from bayes_vae.errors import SettingsError, ToleranceError
from bayes_vae.estimators.annealing.annealed import AnnealedEstimate, anneal
from bayes_vae.estimators.evaluation import without_annealing
from bayes_vae.estimators.importance.bound import grouped_bound
from bayes_vae.estimators.importance.estimate import LogEvidenceEstimate
from bayes_vae.estimators.importance.log_evidence import WeightsAtDraws
from bayes_vae.estimators.quadrature import integrate
from bayes_vae.settings import LADDER
from bayes_vae.terms.averages import Average, average, log_mean_bias
from bayes_vae.terms.containers import Draw, Provenance
from bayes_vae.terms.opened import Accumulator, Batch, OpenPair, Options, collect, open_pair
from bayes_vae.terms.program import Program
from bayes_vae.terms.rows import X
from bayes_vae.terms.tabular import Column, Tabular
from bayes_vae.terms.whole_numbers import whole_number
from bayes_vae.vocabulary.conditions import conditions
from bayes_vae.vocabulary.number_text import with_error
from bayes_vae.vocabulary.readings import LOWER_BOUND, Reading

__all__ = ["Comparison", "Rung", "compare"]


TARGETS = {
    "annealed": "the annealed log p(x)",
    "converged": "the converged annealed log p(x)",
    "exact": "the exact log p(x)",
    "quadrature": "log p(x) by quadrature",
}
"""How the sentence names the last rung."""

QUADRATURE: dict[str, Any] = {"method": "grid", "tolerance": 1e-3, "max_nodes": 2**14}
"""The grid of the quadrature rung: it does not need to trust the guide, and ends at a thousandth of a nat."""

MOST_DIMENSIONS = 2
"""Latent dimensions up to which the ladder ends in quadrature; more cost too many nodes for each observation."""


@dataclass(frozen=True, eq=False)
class Rung:
    """One bound of the ladder.

    Attributes:
        name: "ELBO", "L_5", …, "annealed", "converged" (annealed until two levels agree), "exact" (closed form) or
            "quadrature".
        num_particles: k of the bound; the number of chains where annealed; 0 where exact or by quadrature.
        values: shape (N,), nats.
        standard_errors: Monte-Carlo error of each value, shape (N,); NaN where it is unknown.
        reading: how the figure reads.
        bias: of the mean of log mean weights, see ``log_mean_bias``; only where one group of particles is all there is;
            for quadrature the mean error of refinement.
        seconds: time that it took; the bounds share their draws, and so their time.
        estimator: how it was computed.
    """

    name: str
    num_particles: int
    values: Tensor
    standard_errors: Tensor
    reading: Reading = LOWER_BOUND
    seconds: float = 0.0
    bias: float = 0.0
    estimator: str = "importance sampling from q, nested groups of one set of draws"

    @property
    def average(self) -> Average:
        """The rung's figure over the data set."""
        return average(self.name, self.values, self.standard_errors, self.num_particles, self.reading, self.bias)


@dataclass(frozen=True, eq=False)
class Comparison(Tabular):
    """ELBO ≤ L_5 ≤ L_50 ≤ … ≤ log p(x), the bounds for every observation from one set of draws.

    Attributes:
        rungs: from the ELBO to L_K, then the annealed estimates, then the exact evidence where the model knows it, or
            quadrature where z has one or two dimensions.
        estimate: L_K with its reliability.
        annealed: the annealed estimate, the converged one where there is one; None where it was left out.
        why_not_annealed: why there is none; empty where there is.
        seconds: time for all of it.
        provenance: seed, source and policy.
        why_no_converged_rung: why the levels did not come to agree within the tolerance; empty where they did, or where
            there was none.
    """

    rungs: tuple[Rung, ...]
    estimate: LogEvidenceEstimate
    annealed: AnnealedEstimate | None
    why_not_annealed: str
    seconds: float
    provenance: Provenance
    why_no_converged_rung: str = ""

    @property
    def num_particles(self) -> int:
        """K, the number of draws behind every rung."""
        return self.estimate.num_particles

    @property
    def num_observations(self) -> int:
        """N."""
        return self.estimate.num_observations

    def columns(self) -> dict[str, Column]:
        """Each rung's values and their errors."""
        found = {}
        for rung in self.rungs:
            found[rung.name] = ("observation", rung.values)
            found[f"{rung.name}_error"] = ("observation", rung.standard_errors)
        return found

    def table_rows(self) -> dict[str, Average]:
        """Each rung's figure over the data set."""
        return {rung.name: rung.average for rung in self.rungs}

    def sentence(self) -> str:
        """What the ladder says: how far the ELBO lies below the tightest figure."""
        top, bound = self.rungs[-1], f"L_{self.num_particles}"
        target = TARGETS.get(top.name, top.name)
        short = self._shortfall(self.rungs[0])
        words = with_error(short.value, short.total_error)
        rest = "" if top.name == bound else self._of_bound(bound)
        tail = "" if top.reading.settled else ", and log p(x) may lie higher still"
        return f"The ELBO falls short of {target} by {words} nats per observation{rest}{tail}."

    def _named(self, name: str) -> Rung:
        return next(rung for rung in self.rungs if rung.name == name)

    def _of_bound(self, bound: str) -> str:
        short = self._shortfall(self._named(bound))
        if abs(short.value) <= 2 * short.total_error:
            difference = with_error(short.value, short.total_error)
            return f"; {bound} cannot be told apart from it (a difference of {difference})"
        if short.value < 0:
            return f"; {bound} lies {with_error(-short.value, short.total_error)} above it, by chance"
        return f", {bound} by {with_error(short.value, short.total_error)}"

    def _shortfall(self, rung: Rung) -> Average:
        """How far a rung lies below the last, over the data; an error that is not known is left out."""
        top = self.rungs[-1]
        errors = torch.hypot(top.standard_errors.nan_to_num(), rung.standard_errors.nan_to_num())
        bias = math.hypot(*(each.bias for each in (top, rung) if not math.isnan(each.bias)))
        return average("shortfall", top.values - rung.values, errors, self.num_particles, bias=bias)

    def __str__(self) -> str:
        lines = [f"{rung.name:>10}  {rung.average}  {rung.seconds:.1f} s" for rung in self.rungs]
        origin, counts, seconds = self.provenance, (self.num_particles, self.num_observations), f"{self.seconds:.1f} s"
        seeds: dict[str, Any] = {"seed": origin.seed, "pixel_seed": origin.pixel_seed}
        lines.append(conditions(*counts, origin.data_policy, seconds, kl_weight=origin.kl_weight, **seeds))
        return "\n".join([*lines, *filter(None, [self.why_not_annealed, self.why_no_converged_rung]), self.sentence()])


def compare(
    model: Program,
    guide: Program,
    x: X,
    rungs: Sequence[int] = LADDER,
    *,
    num_temperatures: int = 50,
    tolerance: float | None = None,
    **options: Unpack[Options],
) -> Comparison:
    r"""Compare the ELBO with ever tighter bounds on log p(x), from nested groups of one set of draws.

    .. math:: L_k = \frac{k}{K} \sum_{g=1}^{K/k} \log \frac1k \sum_{i \in g} w_i, \qquad L_1 = \mathrm{ELBO}

    Because each group of a rung is made of whole groups of the rung below, the ladder rises for every observation
    (Jensen's inequality), not only on average.

    Args:
        rungs: particles at each rung, rising, each a divisor of the next; the last is K.
        num_temperatures: of the annealed rung, :func:`bayes_vae.annealed_log_evidence` from the guide with 4 chains; 0
            leaves it out. It has draws of its own, so for a single observation it may fall below L_K by chance. It is
            left out as well where a latent is discrete, and the result says so.
        tolerance: adds the rung "converged": annealed, the temperatures doubled until two levels' means agree to so
            many nats. Where they do not come to, the result says so and has the other rungs.
        Others: as in :func:`bayes_vae.log_terms`.

    Returns:
        :class:`Comparison`; its last rung is the exact evidence where ``model.log_evidence(x)`` exists, else quadrature
        where z has one or two dimensions.

    Raises:
        SettingsError: rungs that do not divide each other, or a tolerance without temperatures.

    Reference: Burda, Grosse, Salakhutdinov (2016), "Importance weighted autoencoders", theorem 1.
    """
    with open_pair(model, guide, x, **options) as opened:
        return comparison_of(opened, rungs, num_temperatures=num_temperatures, tolerance=tolerance)


def comparison_of(
    opened: OpenPair,
    rungs: Sequence[int] = LADDER,
    *accumulators: Accumulator,
    num_temperatures: int = 50,
    tolerance: float | None = None,
) -> Comparison:
    """:func:`compare` of a pair that is open; other accumulators share the draws of the bounds."""
    rungs = _checked_rungs(rungs)
    if tolerance is not None and num_temperatures == 0:
        raise SettingsError("tolerance is of the annealed rungs, and num_temperatures=0 leaves them out: give some.")
    start = time.perf_counter()
    bounds, weights = _BoundsAtDraws(rungs), WeightsAtDraws(rungs[-1])
    collect(opened, rungs[-1], bounds, weights, *accumulators)
    seconds = time.perf_counter() - start
    estimate = weights.result(opened)
    steps = [_rung(size, bounds.of(place), estimate, seconds) for place, size in enumerate(rungs)]
    why_not = without_annealing(opened.pair.discrete, num_temperatures)
    levels, why_no_converged = list[AnnealedEstimate](), ""
    if not why_not:
        tolerances = [None] if tolerance is None else [None, tolerance]
        levels, why_no_converged = _levels(opened, num_temperatures, tolerances)
    annealed = [_annealed_rung(name, level) for name, level in zip(("annealed", "converged"), levels, strict=False)]
    small = bounds.num_dimensions <= MOST_DIMENSIONS and not opened.pair.discrete
    exact = _exact_rung(opened) or (_quadrature_rung(opened) if small else [])
    return Comparison(
        (*steps, *annealed, *exact),
        estimate,
        levels[-1] if levels else None,
        why_not,
        time.perf_counter() - start,
        opened.provenance,
        why_no_converged,
    )


def _levels(
    opened: OpenPair, num_temperatures: int, tolerances: Sequence[float | None]
) -> tuple[list[AnnealedEstimate], str]:
    """The annealed estimate for each tolerance, and why the last one is missing, if it is."""
    found: list[AnnealedEstimate] = []
    for tolerance in tolerances:
        try:
            found.append(anneal(opened, num_temperatures=num_temperatures, tolerance=tolerance))
        except ToleranceError as error:  # hours of rungs are not thrown away for the one that is missing
            return found, f"no converged rung: {error}"
    return found, ""


class _BoundsAtDraws:
    """The rungs' bounds from nested groups of one set of draws."""

    def __init__(self, rungs: Sequence[int]) -> None:
        self._rungs = rungs
        self._weights: list[Tensor] = []
        self._bounds: list[list[tuple[Tensor, Tensor]]] = []
        self.num_dimensions = 0

    def begin(self, batch: Batch) -> None:
        """A batch starts."""
        self._weights = []

    def update(self, draw: Draw) -> None:
        """Some particles of it."""
        self._weights.append(draw.log_importance_weights)
        self.num_dimensions = sum(value[0, 0].numel() for value in draw.latents.values())

    def end(self) -> None:
        """All its particles have come."""
        log_weights = torch.cat(self._weights)
        self._bounds.append([_mean_over_groups(grouped_bound(log_weights, size)) for size in self._rungs])

    def of(self, place: int) -> list[tuple[Tensor, Tensor]]:
        """Means and errors of one rung, batch by batch."""
        return [batch[place] for batch in self._bounds]


def _checked_rungs(rungs: Sequence[int]) -> tuple[int, ...]:
    rungs = tuple(whole_number("each of the rungs", rung, least=None) for rung in rungs)
    pairs = list(pairwise(rungs))
    if len(rungs) < 2 or rungs[0] != 1 or any(low >= high or high % low for low, high in pairs):
        raise SettingsError(
            f"rungs must start at 1 (the ELBO) and rise, each dividing the next, as 1 5 50 500 5000; got {rungs}."
        )
    return rungs


def _mean_over_groups(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard error over groups, each (N,); the error of a single group is unknown."""
    count = len(groups)
    error = groups.std(0) / count**0.5 if count > 1 else torch.full_like(groups[0], torch.nan)
    return groups.mean(0), error


def _rung(size: int, batches: list[tuple[Tensor, Tensor]], estimate: LogEvidenceEstimate, seconds: float) -> Rung:
    values, errors = (torch.cat(column) for column in zip(*batches, strict=True))
    if size == estimate.num_particles:
        error = estimate.standard_error
        return Rung(f"L_{size}", size, values, error, estimate.reading, seconds, log_mean_bias(error))
    return Rung("ELBO" if size == 1 else f"L_{size}", size, values, errors, seconds=seconds)


def _annealed_rung(name: str, estimate: AnnealedEstimate) -> Rung:
    error = estimate.standard_error
    words = f"annealed importance sampling from the guide, {estimate.num_temperatures} temperatures"
    return Rung(
        name,
        estimate.num_chains,
        estimate.log_evidence,
        error,
        estimate.reading,
        estimate.seconds,
        bias=log_mean_bias(error),
        estimator=words,
    )


def _exact_rung(opened: OpenPair) -> list[Rung]:
    start = time.perf_counter()
    values = opened.log_evidence()
    if values is None:
        return []
    seconds = time.perf_counter() - start
    return [Rung("exact", 0, values, torch.zeros_like(values), Reading("exact"), seconds, estimator="closed form")]


def _quadrature_rung(opened: OpenPair) -> list[Rung]:
    start = time.perf_counter()
    found = integrate(opened, **QUADRATURE)
    return [
        Rung(
            "quadrature",
            0,
            found.log_evidence,
            torch.zeros_like(found.log_evidence),
            found.reading,
            time.perf_counter() - start,
            float(found.refinement_error.mean()),
            f"quadrature on a grid, D = {found.num_dimensions}",
        )
    ]
