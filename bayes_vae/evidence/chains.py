"""Annealed chains: the pilot that tunes their steps, and the runs whose weights count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from bayes_vae.errors import SettingsError
from bayes_vae.evidence.latent_space import LatentSpace, pilot_draws, whitened_space
from bayes_vae.evidence.path import WIDENING, GuidePath, Path, PriorPath, hamiltonian_move
from bayes_vae.randomness import KeyedNoise, derived_seed
from bayes_vae.terms.stream import Batch

__all__ = ["Chains", "Plan", "Schedule", "TunedBatch", "inverse_temperatures", "join_observations", "make_plan", "tune"]

Schedule = Literal["linear", "sigmoid"]
"""How the inverse temperatures are spaced."""

PILOT_DRAWS = 64
"""Draws of the guide, or the prior, that set the scales; thrown away."""

PILOT_CHAINS = 2
"""Chains of the pilot."""

FIRST_STEP, TARGET_ACCEPTANCE, ADAPTATION = 0.3, 0.85, 0.4
"""The pilot's first leapfrog step, what it aims at, and how fast its logarithm follows."""

SIGMOID_WIDTH = 4.0
"""Half the range of the sigmoid schedule (Wu et al. 2017)."""


@dataclass(frozen=True)
class Plan:
    """How the chains run.

    Attributes:
        betas: inverse temperatures 0 = β_0 < β_1 < … < β_T = 1.
        num_chains: K.
        num_leapfrog: leapfrog steps of a move.
        from_prior: start from the prior, not from the guide.
    """

    betas: list[float]
    num_chains: int
    num_leapfrog: int
    from_prior: bool


def make_plan(
    num_temperatures: int, num_chains: int, num_leapfrog: int, schedule: Schedule, *, from_prior: bool
) -> Plan:
    """A plan of the given numbers.

    Raises:
        SettingsError: a number below one, or an unknown schedule.
    """
    numbers = {"num_temperatures": num_temperatures, "num_chains": num_chains, "num_leapfrog": num_leapfrog}
    for name, value in numbers.items():
        if value < 1:
            raise SettingsError(f"{name} must be at least 1, got {value}.")
    if schedule not in get_args(Schedule):
        raise SettingsError(f"schedule must be 'linear' or 'sigmoid', got {schedule!r}.")
    return Plan(inverse_temperatures(num_temperatures, schedule), num_chains, num_leapfrog, from_prior)


class Chains(NamedTuple):
    """What annealed chains gave: log weights (K, N) in float64, and mean acceptance (N,)."""

    log_weights: Tensor
    acceptance: Tensor


def join_observations(rows: Sequence[Chains]) -> Chains:
    """The chains of all observations, from those of each batch."""
    log_weights, acceptance = (torch.cat(column, dim=-1) for column in zip(*rows, strict=True))
    return Chains(log_weights, acceptance)


def inverse_temperatures(num_temperatures: int, schedule: str) -> list[float]:
    """Inverse temperatures 0 = β_0 < β_1 < … < β_T = 1."""
    grid = torch.linspace(0, 1, num_temperatures + 1, dtype=torch.float64)
    if schedule == "sigmoid":
        bent = torch.sigmoid(SIGMOID_WIDTH * (2 * grid - 1))
        grid = (bent - bent[0]) / (bent[-1] - bent[0])
    return grid.tolist()


@dataclass(frozen=True, eq=False)
class TunedBatch:
    """A batch of observations with the coordinates and the frozen steps of its chains.

    Attributes:
        batch: the pair, bound to observations.
        space: coordinates whitened by the guide, or by the prior.
        plan: how the chains run.
        steps: leapfrog step at β_1 … β_{T−1}, each of shape (N,).
    """

    batch: Batch
    space: LatentSpace
    plan: Plan
    steps: list[Tensor]

    def forward(self) -> Chains:
        """From the start to the posterior: the mean weight is unbiased for p(x)."""
        return _run(self.batch, self.space, self.plan, "chains", self.steps)[0]

    def reverse(self, latents: dict[str, Tensor]) -> Chains:
        """From exact draws of the posterior, each (N, *rest), to the start: the mean weight is unbiased for 1/p(x)."""
        copies = {name: value.expand(self.plan.num_chains, *value.shape) for name, value in latents.items()}
        back = replace(self.plan, betas=self.plan.betas[::-1])
        start = self.space.coordinates(copies)
        return _run(self.batch, self.space, back, "reverse chains", self.steps[::-1], start)[0]


def tune(batch: Batch, plan: Plan) -> TunedBatch:
    """Set scales from draws of the guide, and steps in a pilot; the weights of both are thrown away."""
    space = whitened_space(batch.bound, pilot_draws(batch, PILOT_DRAWS, "scales"))
    _, steps = _run(batch, space, replace(plan, num_chains=PILOT_CHAINS), "pilot", None)
    return TunedBatch(batch, space, plan, steps)


def _run(
    batch: Batch,
    space: LatentSpace,
    plan: Plan,
    purpose: str,
    steps: list[Tensor] | None,
    start: Tensor | None = None,
) -> tuple[Chains, list[Tensor]]:
    """Run chains along ``plan.betas`` with given steps, or adapting them, which only a pilot may do."""
    noise = KeyedNoise(derived_seed(batch.seed, purpose))
    like, shape = space.loc, (space.size + 1,)

    def drawn(time: int) -> Tensor:
        return noise.normal(f"time {time}", batch.index, range(plan.num_chains), shape, like)

    path: Path = PriorPath(batch.bound, space) if plan.from_prior else GuidePath(batch.bound, space)
    if start is None and plan.from_prior:
        start = space.coordinates(pilot_draws(batch, plan.num_chains, f"{purpose} start"))
    state = path.state(WIDENING * drawn(0)[..., :-1] if start is None else start)
    log_weights = torch.zeros_like(state.log_start, dtype=torch.float64)
    step, used, acceptances = torch.full_like(like[:, 0], FIRST_STEP), [], []
    for time, (before, beta) in enumerate(pairwise(plan.betas), start=1):
        log_weights = log_weights + (beta - before) * state.delta.double()
        if time == len(plan.betas) - 1:
            break
        step = step if steps is None else steps[time - 1]
        state, acceptance = hamiltonian_move(path, state, like.new_tensor(beta), step, plan.num_leapfrog, drawn(time))
        used.append(step)
        acceptances.append(acceptance.mean(0))
        step = step * torch.exp(ADAPTATION * (acceptances[-1] - TARGET_ACCEPTANCE))
    accepted = torch.stack(acceptances).mean(0) if acceptances else torch.ones_like(step)
    return Chains(log_weights, accepted), used
