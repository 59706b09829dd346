"""The ladder from the ELBO up to log p(x): importance-weighted bounds, annealing, and the exact value or quadrature."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Unpack

from bayes_vae.errors import SettingsError
from bayes_vae.estimators.annealing.annealed import AnnealedEstimate
from bayes_vae.estimators.importance.estimate import LogEvidenceEstimate
from bayes_vae.estimators.importance.proposals import Proposal
from bayes_vae.estimators.rungs.annealed_rung import annealed_of
from bayes_vae.estimators.rungs.climb import climb
from bayes_vae.estimators.rungs.rung import Rung, beside, leading, rung_words, shortfall, why_leading, within_error
from bayes_vae.settings import LADDER
from bayes_vae.terms.averages import Average
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.listed_options import lists_options
from bayes_vae.terms.opened import Accumulator, OpenPair, Options, open_pair
from bayes_vae.terms.program import Program
from bayes_vae.terms.rows import X
from bayes_vae.terms.tabular import Column, Tabular
from bayes_vae.terms.whole_numbers import several, whole_number
from bayes_vae.vocabulary.conditions import conditions
from bayes_vae.vocabulary.number_text import dash, with_error
from bayes_vae.vocabulary.readings import Reading, why_not_converged

__all__ = ["Comparison", "compare", "comparison_of"]


@dataclass(frozen=True, eq=False)
class Comparison(Tabular):
    """ELBO ≤ L_5 ≤ L_50 ≤ … ≤ log p(x), the bounds for every observation from one set of draws.

    Attributes:
        rungs: from the ELBO to L_K, then those of a refined proposal and annealing, then the exact evidence where the
            model knows it, or quadrature where z has one or two dimensions.
        estimate: L_K with its reliability.
        left_out: name of a rung → why it is not there, where that must be said.
        seconds: time for all of it.
        provenance: seed, source and policy.
    """

    rungs: tuple[Rung, ...]
    estimate: LogEvidenceEstimate
    left_out: Mapping[str, str]
    seconds: float
    provenance: Provenance

    @property
    def leading(self) -> Rung:
        """The rung that stands for log p(x), see :func:`~bayes_vae.estimators.rungs.rung.leading`."""
        return leading(self.rungs)

    @property
    def why_not_annealed(self) -> str:
        """Why nothing is annealed; empty where something is."""
        return self.left_out.get("annealed", "")

    @property
    def annealed(self) -> AnnealedEstimate | None:
        """The annealed estimate, the converged one where there is one; None where it was left out."""
        return annealed_of(self.rungs)

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
        """Each rung's figure over the data set, as it reads beside the leading one."""
        return {rung.name: beside(self.leading, rung) for rung in self.rungs}

    def sentence(self) -> str:
        """What the ladder says: how far the ELBO lies below the leading figure, and why that one leads."""
        top, bound = self.leading, f"L_{self.num_particles}"
        target, short = rung_words(top), shortfall(top, self.rungs[0])
        words = dash(with_error(short.value, short.known_error))
        falls = f"The ELBO falls short of {target} by {words} nats per observation"
        if within_error(short):
            falls = f"The ELBO cannot be told apart from {target} (a difference of {words} nats per observation)"
        rest = "" if top.name == bound else self._of_bound(bound)
        tail = "" if top.reading.settled else f", and log p(x) may lie higher still: {_doubt(top.reading)}"
        why = why_leading(self.rungs)
        return f"{falls}{rest}{tail}." + (f" {why}" if why else "")

    def _named(self, name: str) -> Rung:
        return next(rung for rung in self.rungs if rung.name == name)

    def _of_bound(self, bound: str) -> str:
        short = shortfall(self.leading, self._named(bound))
        if abs(short.value) <= 2 * short.known_error:
            difference = dash(with_error(short.value, short.known_error))
            return f"; {bound} cannot be told apart from it (a difference of {difference})"
        if short.value < 0:
            return f"; {bound} lies {with_error(-short.value, short.known_error)} above it, by chance"
        return f", {bound} by {with_error(short.value, short.known_error)}"

    def __str__(self) -> str:
        lines = [f"{rung.name:>10}  {beside(self.leading, rung)}  {rung.seconds:.1f} s" for rung in self.rungs]
        origin, counts, seconds = self.provenance, (self.num_particles, self.num_observations), f"{self.seconds:.1f} s"
        also = {name: getattr(origin, name) for name in ("kl_weight", "seed", "pixel_seed", "missing_share")}
        lines.append(conditions(*counts, origin.data_policy, seconds, **also))
        return "\n".join([*lines, *self.left_out.values(), self.sentence()])


def _doubt(reading: Reading) -> str:
    """For how many observations a figure did not meet its criterion, and what to do where that is known."""
    if reading.kind in ("lower_bound_not_converged", "unresolved"):
        return why_not_converged(reading)
    return f"not converged for {reading.failed} of {reading.num_observations}"


@lists_options
def compare(
    model: Program,
    guide: Program,
    x: X,
    rungs: Sequence[int] = LADDER,
    *,
    num_temperatures: int = 50,
    tolerance: float | None = None,
    proposal: Proposal = "guide",
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
        proposal: another than "guide" adds the rung "refined": K draws from a proposal fitted to each posterior, as in
            :func:`bayes_vae.estimate_log_evidence`.
        Others: as in :func:`bayes_vae.log_terms`.

    Returns:
        :class:`Comparison`; its last rung is the exact evidence where ``model.log_evidence(x)`` exists, else quadrature
        where z has one or two dimensions. Its ``leading`` rung is the one for log p(x), by an order fixed beforehand:
        exact, quadrature, annealed, refined, L_K; the first whose criterion holds for every observation, else the
        first.

    Raises:
        SettingsError: rungs that do not divide each other, or a tolerance without temperatures.

    Reference: Burda, Grosse, Salakhutdinov (2016), "Importance weighted autoencoders", theorem 1.
    """
    with open_pair(model, guide, x, task="ladder", **options) as opened:
        return comparison_of(opened, rungs, num_temperatures=num_temperatures, tolerance=tolerance, proposal=proposal)


def comparison_of(
    opened: OpenPair,
    rungs: Sequence[int] = LADDER,
    *accumulators: Accumulator,
    num_temperatures: int = 50,
    tolerance: float | None = None,
    proposal: Proposal = "guide",
) -> Comparison:
    """:func:`compare` of a pair that is open; other accumulators share the draws of the bounds."""
    start = time.perf_counter()
    sizes, temperatures = _checked_rungs(rungs), num_temperatures
    shared = climb(opened, sizes, *accumulators, num_temperatures=temperatures, tolerance=tolerance, proposal=proposal)
    found = shared.rungs()
    seconds = time.perf_counter() - start
    return Comparison(found, shared.estimate, shared.left_out, seconds, opened.provenance)


def _checked_rungs(rungs: Sequence[int]) -> tuple[int, ...]:
    given = several("rungs", rungs, "several whole numbers that start at 1, such as (1, 5, 50)")
    rungs = tuple(whole_number("each of the rungs", rung, least=None) for rung in given)
    pairs = list(pairwise(rungs))
    if len(rungs) < 2 or rungs[0] != 1 or any(low >= high or high % low for low, high in pairs):
        raise SettingsError(
            f"rungs must start at 1 (the ELBO) and rise, each dividing the next, as 1 5 50 500 5000; got {rungs}."
        )
    return rungs
