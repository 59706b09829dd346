"""A lower and an upper bound on log p(x), for data simulated from the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bayes_vae.estimators.annealing.annealed import Start, start_of
from bayes_vae.estimators.annealing.chains import join_observations, make_plan, ticker, tune
from bayes_vae.estimators.annealing.temperatures import Schedule
from bayes_vae.estimators.importance.bound import importance_weighted_bound
from bayes_vae.estimators.simulation import simulate
from bayes_vae.terms.averages import Average, average
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.opened import Options, open_pair
from bayes_vae.terms.program import Program
from bayes_vae.terms.stream import Progress
from bayes_vae.terms.tabular import Tabular
from bayes_vae.terms.whole_numbers import switch, whole_number
from bayes_vae.vocabulary.readings import Reading

__all__ = ["BidirectionalBounds", "bidirectional_bounds"]


@dataclass(frozen=True, eq=False)
class BidirectionalBounds(Tabular, observation=("lower", "upper", "gap")):
    """Bounds on log p(x) of simulated observations, in nats.

    Attributes:
        observations: the simulated x, shape (N, *event).
        lower: forward annealing, shape (N,); at most log p(x) in expectation.
        upper: reverse annealing from the z that x was simulated from, shape (N,); at least log p(x) in expectation.
        num_temperatures, num_chains: T and K of each direction.
        provenance: seed and source; the data policy is "simulated".
    """

    observations: Tensor
    lower: Tensor
    upper: Tensor
    num_temperatures: int
    num_chains: int
    provenance: Provenance

    @property
    def gap(self) -> Tensor:
        """upper − lower, shape (N,), nats: in expectation no less than the error of either."""
        return self.upper - self.lower

    def averages(self) -> dict[str, Average]:
        """Figures over the simulated data; their scatter over observations is their error."""
        unknown = torch.full_like(self.lower, torch.nan)
        readings = {
            "lower": Reading("lower_bound_in_expectation"),
            "upper": Reading("upper_bound_in_expectation"),
            "gap": Reading("at_most"),
        }
        return {
            name: average(name, getattr(self, name), unknown, self.num_chains, reading)
            for name, reading in readings.items()
        }


def bidirectional_bounds(
    model: Any,
    guide: Program | None = None,
    *,
    num_observations: int = 100,
    num_temperatures: int = 100,
    num_chains: int = 4,
    num_leapfrog: int = 5,
    schedule: Schedule | None = None,
    refine: bool = True,
    seed: int = 0,
    progress: Progress | bool | None = None,
) -> BidirectionalBounds:
    r"""Sandwich log p(x) by annealing forward and in reverse, on data simulated from the model.

    .. math:: E\Big[\log \tfrac1K \sum_k w_k\Big] \le \log p(x) \le -E\Big[\log \tfrac1K \sum_k w'_k\Big]

    The z that an observation was simulated from is an exact draw from its posterior, which is what reverse annealing
    has to start from. For real data there is none, so this is offered for simulated data only. The gap tells how well
    :func:`bayes_vae.annealed_log_evidence` with the same settings does on data like the model's own.

    Args:
        model: a model with ``prior()`` and ``likelihood(z)``.
        guide: where annealing starts; None for the prior.
        num_observations: N, how many to simulate.
        num_temperatures, num_chains, num_leapfrog, schedule, refine, seed, progress: as in
            :func:`bayes_vae.annealed_log_evidence`.

    Returns:
        :class:`BidirectionalBounds`.

    Raises:
        NotDefinedError: a model that cannot be simulated from.
        SettingsError: numbers below one, or an unknown schedule.

    Reference: Grosse, Ghahramani, Adams (2015), "Sandwiching the marginal likelihood using bidirectional Monte Carlo".
    """
    num_observations = whole_number("num_observations", num_observations)
    refine = switch("refine", refine)
    plan = make_plan(num_temperatures, num_chains, num_leapfrog, schedule, from_prior=guide is None, refine=refine)
    otherwise = "For other programs use annealed_log_evidence, a lower bound."
    latents, (x,) = simulate(model, num_observations, seed, "bidirectional_bounds", otherwise)
    start: Start = "prior" if guide is None else "guide"
    options: Options = {"seed": seed, "data_policy": "simulated", "progress": progress}
    forward, reverse = [], []
    with open_pair(model, start_of(model, guide, start, "auto"), x, task="sandwich", **options) as opened:
        for batch in opened.batches(plan.num_chains, "sandwich"):
            tick = ticker(opened.progress, batch.rows, num_observations, plan.pilot_ticks + 2 * plan.run_ticks)
            tuned = tune(batch, plan, tick)
            forward.append(tuned.forward(tick))
            reverse.append(tuned.reverse({name: value[batch.rows] for name, value in latents.items()}, tick))
        origin = opened.provenance
    lower = importance_weighted_bound(join_observations(forward).log_weights)
    upper = -importance_weighted_bound(join_observations(reverse).log_weights)
    return BidirectionalBounds(x, lower, upper, num_temperatures, num_chains, origin)
