"""Annealed chains: the pilot that tunes them, and the runs whose weights count."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

import torch
from torch import Tensor

from bayes_vae.errors import SettingsError
from bayes_vae.estimators.annealing.diagonal_start import fit_diagonal
from bayes_vae.estimators.annealing.modes import Mixture, Modes, mixture_of_modes
from bayes_vae.estimators.annealing.path import GuidePath, Path, PriorPath, State, float_resolution, hamiltonian_move
from bayes_vae.estimators.annealing.start import LARGEST_LATENT, fit_normal
from bayes_vae.estimators.annealing.temperatures import (
    Schedule,
    equal_lengths,
    interpolate,
    inverse_temperatures,
    smooth,
)
from bayes_vae.estimators.latent_space import LatentSpace, pilot_draws, whitened_space
from bayes_vae.terms.opened import Batch
from bayes_vae.terms.randomness import KeyedNoise, derived_seed
from bayes_vae.terms.stream import Progress
from bayes_vae.terms.whole_numbers import whole_number

__all__ = ["Chains", "Plan", "Tick", "TunedBatch", "Watch", "join_observations", "make_plan", "ticker", "tune"]

Tick = Callable[[int], None]
"""Called after each temperature with the number of chains that passed it."""

Watch = Callable[[int, Tensor, State], None]
"""Called at each temperature with its number, the log weights (K, N) there, and the states, which they weight."""

PILOT_DRAWS = 64
"""Draws of the guide, or the prior, that set the scales; thrown away."""

PILOT_CHAINS, PILOT_SHARE, FEWEST_PILOT = 2, 2, 16
"""Chains of the pilot; it runs along one temperature in so many, and at least so many."""

FIRST_STEP, TARGET_ACCEPTANCE, ADAPTATION = 0.3, 0.85, 1.0
"""The pilot's first leapfrog step, what it aims at, and how fast its logarithm follows."""

LONGEST = 2.0
"""No trajectory is longer, in whitened units: a quarter of a period forgets the start, a whole one comes back to it."""

SMOOTHING = 8
"""What the pilot saw is smoothed over one part in so many of its temperatures, to each side."""

NOISE_AHEAD = 8
"""Temperatures whose noise is drawn at once."""


@dataclass(frozen=True)
class Plan:
    """How the chains run.

    Attributes:
        num_temperatures: T.
        num_chains: K.
        num_leapfrog: leapfrog steps of a move.
        schedule: how the inverse temperatures are spaced.
        from_prior: start from the prior, not from the guide.
        refine: start from a normal fitted to each observation, not from the guide's own.
        ladder: inverse temperatures that all observations share, from 0 on and maybe beyond 1, in place of a schedule;
            shape (T + 1,), float64.
    """

    num_temperatures: int
    num_chains: int
    num_leapfrog: int
    schedule: Schedule
    from_prior: bool
    refine: bool = False
    ladder: Tensor | None = None

    @property
    def pilot_temperatures(self) -> int:
        """P, temperatures of the pilot."""
        return max(FEWEST_PILOT, self.num_temperatures // PILOT_SHARE)

    @property
    def pilot_schedule(self) -> str:
        """How the pilot's temperatures are spaced."""
        if self.schedule == "adaptive":
            return "cubic" if self.from_prior else "linear"
        return self.schedule

    @property
    def pilot_ladder(self) -> Tensor:
        """The pilot's inverse temperatures, shape (P + 1,), float64."""
        betas = inverse_temperatures(self.pilot_temperatures, self.pilot_schedule)
        return betas if self.ladder is None else betas * self.ladder[-1]

    @property
    def pilot_ticks(self) -> int:
        """What a :data:`Tick` adds up to over the pilot."""
        return PILOT_CHAINS * self.pilot_temperatures

    @property
    def run_ticks(self) -> int:
        """What a :data:`Tick` adds up to over one run."""
        return self.num_chains * self.num_temperatures


def make_plan(
    num_temperatures: int,
    num_chains: int,
    num_leapfrog: int,
    schedule: Schedule | None,
    *,
    from_prior: bool,
    refine: bool = True,
) -> Plan:
    """A plan of the given numbers; no schedule means "linear" from the guide and "adaptive" from the prior.

    Raises:
        SettingsError: a number below one or not whole, or an unknown schedule.
    """
    numbers = {"num_temperatures": num_temperatures, "num_chains": num_chains, "num_leapfrog": num_leapfrog}
    temperatures, chains, leapfrog = (whole_number(name, value) for name, value in numbers.items())
    if schedule is None:
        schedule = "adaptive" if from_prior else "linear"
    if schedule not in get_args(Schedule):
        raise SettingsError(f"schedule must be 'linear', 'sigmoid' or 'adaptive', got {schedule!r}.")
    return Plan(temperatures, chains, leapfrog, schedule, from_prior, refine and not from_prior)


def ticker(progress: Progress | None, rows: slice, num_observations: int, ticks: int) -> Tick | None:
    """A tick that reports a batch's observations as done in proportion to its chains' way, short of all of them.

    Args:
        progress: called with the observations done and their number; None gives None.
        rows: of the batch.
        num_observations: N, over all batches.
        ticks: what the tick will add up to.
    """
    if progress is None:
        return None
    passed, size = 0, rows.stop - rows.start

    def tick(chains: int) -> None:
        nonlocal passed
        passed += chains
        if passed < ticks:
            progress(rows.start + size * passed / ticks, num_observations)

    return tick


class Chains(NamedTuple):
    """What annealed chains gave: log weights (K, N) in float64; the others are each of shape (N,)."""

    log_weights: Tensor
    acceptance: Tensor
    resolution: Tensor
    more_modes: Tensor


def join_observations(rows: Sequence[Chains]) -> Chains:
    """The chains of all observations, from those of each batch."""
    return Chains(*(torch.cat(column, dim=-1) for column in zip(*rows, strict=True)))


@dataclass(frozen=True, eq=False)
class TunedBatch:
    """A batch of observations with the coordinates, the temperatures and the frozen steps of its chains.

    Attributes:
        batch: the pair, bound to observations.
        space: coordinates whitened by the guide, or by the prior; a mixture where the start has several modes.
        more_modes: whether more modes were found than the start has, shape (N,), bool.
        plan: how the chains run.
        betas: inverse temperatures 0 = β_0 < β_1 < … < β_T = 1 of each observation, shape (T + 1, N), float64.
        steps: leapfrog step at β_1 … β_{T−1}, shape (T − 1, N).
    """

    batch: Batch
    space: LatentSpace | Mixture
    more_modes: Tensor
    plan: Plan
    betas: Tensor
    steps: Tensor

    @property
    def start(self) -> str:
        """Where the chains start: "prior", "guide", "fitted normal" or "mixture of normals"."""
        if self.plan.from_prior:
            return "prior"
        if isinstance(self.space, Mixture):
            return "mixture of normals"
        return "fitted normal" if self.plan.refine else "guide"

    def forward(self, tick: Tick | None = None, watch: Watch | None = None) -> Chains:
        """From the start to the posterior: the mean weight is unbiased for p(x)."""
        return self._run("chains", self.betas, self.steps, tick=tick, watch=watch)

    def reverse(self, latents: dict[str, Tensor], tick: Tick | None = None) -> Chains:
        """From exact draws of the posterior, each (N, *rest), to the start: the mean weight is unbiased for 1/p(x).

        The start is one normal, or the prior: a chain of a mixture would need a component first.
        """
        assert isinstance(self.space, LatentSpace), "tuned without other places"
        copies = {name: value.expand(self.plan.num_chains, *value.shape) for name, value in latents.items()}
        start = self.space.coordinates(copies)
        return self._run("reverse chains", self.betas.flip(0), self.steps.flip(0), start, tick)

    def _run(
        self,
        purpose: str,
        betas: Tensor,
        steps: Tensor,
        start: Tensor | None = None,
        tick: Tick | None = None,
        watch: Watch | None = None,
    ) -> Chains:
        run = _Run(self.batch, self.space, self.plan, self.plan.num_chains, purpose, start)
        log_weights = torch.zeros_like(run.state.log_start, dtype=torch.float64)
        if watch is not None:
            watch(0, log_weights, run.state)
        for time, rise in enumerate(betas.diff(dim=0)):
            log_weights = log_weights + rise * run.state.delta.double()
            if time < len(steps):
                run.move(betas[time + 1], steps[time])
            if tick is not None:
                tick(self.plan.num_chains)
            if watch is not None:
                watch(time + 1, log_weights, run.state)
        resolution = float_resolution(self.batch.bound, run.space, run.state.position)
        return Chains(log_weights, run.mean_acceptance, resolution, self.more_modes)


def tune(batch: Batch, plan: Plan, tick: Tick | None = None, places: dict[str, Tensor] | None = None) -> TunedBatch:
    """Set scales from draws of the guide, steps and temperatures in a pilot; the weights of both are thrown away.

    Args:
        batch: the pair, bound to observations.
        plan: how the chains run.
        tick: told of the pilot's progress.
        places: latents from which other modes are looked for, site → (J, N, *rest), as :func:`mixture_of_modes` takes
            them; None to look for none.
    """
    space, more_modes = _start(batch, plan, places)
    betas = plan.pilot_ladder.to(batch.index.device)
    run = _Run(batch, space, plan, PILOT_CHAINS, "pilot")
    log_steps, deviations = [], []
    longest = math.log(LONGEST / plan.num_leapfrog)
    log_step = run.space.loc.new_full((len(batch.index),), min(math.log(FIRST_STEP), longest))
    for beta in betas[1:]:
        deviations.append(run.state.delta.std(0).nan_to_num(nan=0.0))  # no likelihood at all: the floor decides
        acceptance = run.move(beta, log_step.exp())
        log_steps.append(log_step)
        log_step = (log_step + ADAPTATION * (acceptance - TARGET_ACCEPTANCE)).clamp(max=longest)
        if tick is not None:
            tick(PILOT_CHAINS)
    reach = plan.pilot_temperatures // SMOOTHING
    if plan.ladder is not None:
        frozen = plan.ladder.to(betas.device).unsqueeze(-1).expand(-1, len(batch.index))
    elif plan.schedule == "adaptive":
        frozen = equal_lengths(betas, smooth(torch.stack(deviations), reach), plan.num_temperatures)
    else:
        frozen = inverse_temperatures(plan.num_temperatures, plan.schedule).to(betas.device)
        frozen = frozen.unsqueeze(-1).expand(-1, len(batch.index))
    smoothed = smooth(torch.stack(log_steps), reach)
    steps = interpolate(betas[1:, None].expand(smoothed.shape), smoothed, frozen[1:-1])
    return TunedBatch(batch, space, more_modes, plan, frozen, steps.exp())


def _start(batch: Batch, plan: Plan, places: dict[str, Tensor] | None) -> Modes:
    space = whitened_space(batch.bound, pilot_draws(batch, PILOT_DRAWS, "scales"))
    one = torch.zeros_like(batch.index, dtype=torch.bool)
    if not plan.refine:
        return Modes(space, one)
    if space.size > LARGEST_LATENT:
        return Modes(fit_diagonal(batch, space), one)
    fitted = fit_normal(batch, space)
    return Modes(fitted.space, one) if places is None else mixture_of_modes(batch, fitted, places)


class _Run:
    """Chains on their way: a state, moved at one temperature after another, with noise of its own purpose."""

    def __init__(
        self,
        batch: Batch,
        space: LatentSpace | Mixture,
        plan: Plan,
        num_chains: int,
        purpose: str,
        start: Tensor | None = None,
    ) -> None:
        self._noise = KeyedNoise(derived_seed(batch.seed, purpose))
        mixture = None
        if isinstance(space, Mixture):
            mixture = space.assigned(batch, num_chains, purpose)
            space = mixture.space
        self.space = space
        self._batch, self._plan, self._particles = batch, plan, range(num_chains)
        self._moves, self._acceptance = 0, space.loc.new_zeros(len(batch.index))
        self._path: Path
        if plan.from_prior:
            self._path = PriorPath(batch.bound, space)
            start = space.coordinates(pilot_draws(batch, num_chains, f"{purpose} start")) if start is None else start
        else:
            self._path = guide_path = GuidePath(batch.bound, space, mixture)
            start = guide_path.start(self._drawn("start", space.size)) if start is None else start
        self.state = self._path.state(start)

    def move(self, beta: Tensor, step: Tensor) -> Tensor:
        """Leave f_β unchanged; returns the mean acceptance of each observation, shape (N,)."""
        ahead = self._moves % NOISE_AHEAD
        if ahead == 0:
            self._ahead = self._drawn(f"moves from {self._moves}", NOISE_AHEAD, self.space.size + 1)
        temperature = beta.to(self.space.loc.dtype)
        noise = self._ahead[:, :, ahead]
        self.state, acceptance = hamiltonian_move(
            self._path, self.state, temperature, step, self._plan.num_leapfrog, noise
        )
        self._moves += 1
        self._acceptance = self._acceptance + acceptance.mean(0)
        return acceptance.mean(0)

    @property
    def mean_acceptance(self) -> Tensor:
        """Over all moves, shape (N,); one where there was none."""
        return self._acceptance / self._moves if self._moves else torch.ones_like(self._acceptance)

    def _drawn(self, site: str, *shape: int) -> Tensor:
        return self._noise.normal(site, self._batch.index, self._particles, shape, self.space.loc)
