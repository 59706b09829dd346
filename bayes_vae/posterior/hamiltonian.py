"""Draws of the exact posterior of many observations at once, by Hamiltonian moves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, Unpack

import torch
from torch import Tensor

from bayes_vae.errors import NotDefinedError
from bayes_vae.estimators.annealing.annealed import Start, start_of
from bayes_vae.estimators.annealing.path import State, hamiltonian_move, log_joint_gradient
from bayes_vae.estimators.latent_space import LatentSpace, pilot_draws, whitened_space
from bayes_vae.posterior.draws import PosteriorDraws, check_numbers
from bayes_vae.posterior.warm_up import FIRST_STEP, StepTuner, windows
from bayes_vae.terms.listed_options import lists_options
from bayes_vae.terms.masks import Masked
from bayes_vae.terms.opened import Batch, OpenPair, Options, open_pair
from bayes_vae.terms.program import Program
from bayes_vae.terms.randomness import KeyedNoise, derived_seed
from bayes_vae.terms.rows import X
from bayes_vae.terms.stream import BoundBatch, Pair, Progress

__all__ = ["Plan", "draws_of", "posterior_draws", "refuse_discrete"]

PILOT_DRAWS = 64
"""Draws of the guide, or the prior, that set the first scales; thrown away."""

START_WIDENING = 2.0
"""Chains start at draws of the guide this much further from its mean, so that R̂ sees whether they meet."""

JITTER = 0.2
"""A move's step lies within this part of the tuned one, for each observation."""

MOVES_AT_ONCE = 16
"""Moves whose noise is drawn together."""


@lists_options
def posterior_draws(
    model: Program,
    guide: Program | None,
    x: X,
    *,
    start: Start = "guide",
    num_draws: int = 1000,
    num_chains: int = 4,
    num_warmup: int = 500,
    num_leapfrog: int = 8,
    **options: Unpack[Options],
) -> PosteriorDraws:
    r"""Draws of the exact posterior by Hamiltonian Monte Carlo, all chains of all observations at once.

    .. math:: z_{csn} \sim p(z \mid x_n) \propto p(x_n, z)

    Chains start at draws of the guide, spread out, or of the prior; neither enters the draws that are kept. They move
    in unconstrained coordinates. During warm-up each observation's step is tuned by dual averaging, and its scales are
    set twice from its own chains; then both are frozen. The lengths of trajectories are random, in the number of steps
    and in the step: one of half an orbit, again and again, would only change signs.

    What model and guide mask stays where a draw of the guide put it, and ``masked`` says where.

    Memory holds chains times draws times N times the size of z.

    Args:
        model: Pyro program of p(x, z) with continuous latents.
        guide: Pyro program of q(z given x); None where the chains start from the prior.
        x: observations, as in :func:`bayes_vae.log_terms`.
        start: where the chains start: "guide" or "prior".
        num_draws: kept draws of each chain, at least 4.
        num_chains: chains of each observation, at least 2.
        num_warmup: moves of each chain before them.
        num_leapfrog: leapfrog steps of a move, on average: each move makes 1 to twice as many less 1, all equally
            likely.
        Others: as in :func:`bayes_vae.log_terms`.

    Returns:
        :class:`PosteriorDraws`; ``failures`` says where the chains have not converged.

    Raises:
        NotDefinedError: a discrete latent.
        SettingsError: numbers too small.

    Reference: Neal (2011), "MCMC using Hamiltonian dynamics", sections 3 and 4.2; Hoffman, Gelman (2014), "The
    No-U-Turn sampler", section 3.2.
    """
    check_numbers(num_draws, num_chains, num_warmup, num_leapfrog)
    plan = Plan(num_draws, num_chains, num_warmup, num_leapfrog, start == "prior")
    with open_pair(model, start_of(model, guide, start, options.get("source", "auto")), x, **options) as opened:
        return draws_of(opened, plan)


def draws_of(opened: OpenPair, plan: Plan) -> PosteriorDraws:
    """:func:`posterior_draws` of a pair that is open; chains start at draws of its guide.

    Raises:
        NotDefinedError: a discrete latent.
    """
    began = time.perf_counter()
    num_draws, num_chains, num_warmup = plan[:3]
    refuse_discrete(opened.pair)
    opened.check_memory(2 * num_draws * num_chains, f"{num_chains} chains of num_draws={num_draws}")
    tell, count = opened.progress, opened.num_observations
    batches = opened.quiet().batches(num_chains, "posterior")
    rows = [_Chains(batch, plan, _within(tell, batch.rows, count)).run() for batch in batches]
    origin = opened.provenance
    latents = {name: torch.cat([row.latents[name] for row in rows], 2) for name in rows[0].latents}
    every = {name: torch.cat([row.masked[name] for row in rows]) for name in latents}
    masked = {name: where for name, where in every.items() if bool(where.any())}
    log_joint, acceptance, step, divergences = (torch.cat(column, -1) for column in list(zip(*rows, strict=True))[2:])
    seconds = time.perf_counter() - began
    return PosteriorDraws(
        latents, log_joint, acceptance, step, divergences, num_warmup, "Hamiltonian", seconds, origin, masked
    )


def refuse_discrete(pair: Pair) -> None:
    """Refuse a pair with a discrete latent.

    Raises:
        NotDefinedError: names the site.
    """
    for name in pair.discrete:
        raise NotDefinedError(
            f"latent site {name!r} is discrete: Hamiltonian moves follow gradients and need continuous latents. "
            "Marginalize the site in the model."
        )


def _within(progress: Progress | None, rows: slice, total: int) -> Callable[[float], None]:
    """What tells of a batch's progress, given the share of its moves that are done."""

    def tell(share: float) -> None:
        if progress is not None:
            progress(rows.start + share * (rows.stop - rows.start), total)

    return tell


class Plan(NamedTuple):
    """How the chains run."""

    num_draws: int
    num_chains: int
    num_warmup: int
    num_leapfrog: int
    from_prior: bool


class _Drawn(NamedTuple):
    """What the chains of one batch gave; latents and log joint (chains, draws, N, …), masks (N, …), the others (N,)."""

    latents: dict[str, Tensor]
    masked: Masked
    log_joint: Tensor
    acceptance: Tensor
    step: Tensor
    divergences: Tensor


class JointPath:
    """log p(x, z) + log |dz/dv| at every temperature.

    Args:
        batch: the pair, bound to observations.
        space: coordinates whitened for each observation.
    """

    def __init__(self, batch: BoundBatch, space: LatentSpace) -> None:
        self.batch, self.space = batch, space

    def state(self, position: Tensor) -> State:
        """Density and gradient; one pass forward and backward through the model."""
        log_density, gradient = log_joint_gradient(self.batch, self.space, position)
        return State(position, log_density, torch.zeros_like(log_density), gradient, torch.zeros_like(gradient))


class _Chains:
    """All chains of a batch of observations."""

    def __init__(self, batch: Batch, plan: Plan, tell: Callable[[float], None]) -> None:
        self.batch, self.plan, self.tell = batch, plan, tell
        self.space = whitened_space(batch.bound, pilot_draws(batch, PILOT_DRAWS, "scales"))
        self.noise = KeyedNoise(derived_seed(batch.seed, "moves"))
        self.drawn = torch.empty(0, device="cpu")
        start = self.space.coordinates(pilot_draws(batch, plan.num_chains, "start"))
        self.state = self._path().state(start * (1.0 if plan.from_prior else START_WIDENING))
        self.moves, self.spread = 0, 2 * plan.num_leapfrog - 1

    def _path(self) -> JointPath:
        return JointPath(self.batch.bound, self.space)

    def run(self) -> _Drawn:
        """Warm up, then draw with frozen steps and scales."""
        step = self._warm_up(torch.full_like(self.space.loc[:, 0], FIRST_STEP))
        kept: dict[str, list[Tensor]] = {}
        log_joint, accepted = [], []
        for _ in range(self.plan.num_draws):
            accepted.append(self._move(step))
            latents, log_det = self.space.latents(self.state.position)
            log_joint.append(self.state.log_start.double() - log_det.double())
            for name, value in latents.items():
                kept.setdefault(name, []).append(value)
        acceptance, masked = torch.stack(accepted, 1), self.batch.bound.masked
        return _Drawn(
            {name: torch.stack(values, 1) for name, values in kept.items()},
            {name: masked.get(name, torch.zeros_like(value[0], dtype=torch.bool)) for name, value in latents.items()},
            torch.stack(log_joint, 1),
            acceptance.double().mean((0, 1)),
            step,
            (acceptance == 0).sum((0, 1)),
        )

    def _warm_up(self, step: Tensor) -> Tensor:
        """Tune the step of each observation, and set its scales from its own chains, window by window."""
        for window, renews_scales in windows(self.plan.num_warmup):
            tuner, positions = StepTuner(step), []
            for _ in window:
                tuner.update(self._move(tuner.step).mean(0))
                positions.append(self.state.position)
            step = tuner.average
            if renews_scales:
                self._renew_scales(torch.cat(positions[len(positions) // 2 :]))
                step = torch.full_like(step, FIRST_STEP)
        return step

    def _renew_scales(self, positions: Tensor) -> None:
        """Whiten by the chains' own draws, and go on from where they are."""
        last, _ = self.space.latents(self.state.position)
        draws, _ = self.space.latents(positions)
        self.space = whitened_space(self.batch.bound, draws)
        self.state = self._path().state(self.space.coordinates(last))

    def _move(self, step: Tensor) -> Tensor:
        """One move of every chain; returns its acceptance probability, shape (chains, N)."""
        noise = self._noise(self.moves)
        jittered = step * (1 + JITTER * (2 * torch.special.ndtr(noise[0, :, -1]) - 1))
        one = step.new_ones(())
        path, leaps = self._path(), 1 + derived_seed(self.noise.seed, "leaps", self.moves) % self.spread
        self.state, acceptance = hamiltonian_move(path, self.state, one, jittered, leaps, noise[..., :-1])
        self.moves += 1
        self.tell(self.moves / (self.plan.num_warmup + self.plan.num_draws))
        return acceptance

    def _noise(self, move: int) -> Tensor:
        """Standard-normal noise of a move: momenta, the decision, and the first chain's for the step's jitter."""
        block, within = divmod(move, MOVES_AT_ONCE)
        if within == 0:
            shape = (MOVES_AT_ONCE, self.space.size + 2)
            chains = range(self.plan.num_chains)
            self.drawn = self.noise.normal(f"moves {block}", self.batch.index, chains, shape, self.space.loc)
        return self.drawn[:, :, within]
