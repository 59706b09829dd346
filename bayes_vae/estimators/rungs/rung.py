"""A rung of the ladder towards log p(x), and which of them speaks for the data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bayes_vae.terms.averages import Average, average
from bayes_vae.vocabulary.readings import LOWER_BOUND, Reading

__all__ = ["Rung", "leading"]


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
    candidates = [rung for rung in reversed(rungs) if rung.leads]
    return next((rung for rung in candidates if rung.reading.settled), candidates[0])
