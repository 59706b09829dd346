"""Annealed importance sampling: log p(x) along a path from the guide, or the prior, to the posterior."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, Unpack, cast, get_args

import torch
from torch import Tensor

from bayes_vae.errors import SettingsError, ToleranceError
from bayes_vae.estimators.annealing.chains import Chains, Plan, join_observations, make_plan, ticker, tune
from bayes_vae.estimators.annealing.estimate import AnnealedEstimate
from bayes_vae.estimators.annealing.start import rows_to_fit
from bayes_vae.estimators.annealing.temperatures import Schedule
from bayes_vae.estimators.importance.bound import importance_weighted_bound
from bayes_vae.estimators.importance.pilot import check_tolerance
from bayes_vae.estimators.latent_space import pilot_draws
from bayes_vae.terms.listed_options import lists_options
from bayes_vae.terms.opened import OpenPair, Options, open_pair
from bayes_vae.terms.prior_as_guide import prior_as_guide
from bayes_vae.terms.rows import X
from bayes_vae.terms.stream import Pair
from bayes_vae.terms.traits import Program
from bayes_vae.terms.whole_numbers import switch

__all__ = ["AnnealedEstimate", "Start", "anneal", "annealed_log_evidence", "start_of"]

Start = Literal["guide", "prior"]

MOST_TEMPERATURES = 20_000
"""Where doubling ends."""

PLACES = 7
"""Draws of the prior from which other modes are looked for."""

CHECK_SHARE, FEWEST_CHECKED, CHECK_CHAINS = 4, 8, 4
"""The check runs along one temperature in so many, and at least so many; and its chains."""


@lists_options
def annealed_log_evidence(
    model: Program,
    guide: Program | None,
    x: X,
    *,
    start: Start = "guide",
    num_temperatures: int = 50,
    num_chains: int = 4,
    num_leapfrog: int = 5,
    schedule: Schedule | None = None,
    refine: bool = True,
    tolerance: float | None = None,
    **options: Unpack[Options],
) -> AnnealedEstimate:
    r"""Annealed importance sampling with Hamiltonian moves, for every observation at once.

    .. math:: f_\beta(z) = s(z)^{1-\beta} \, p(x, z)^\beta, \qquad
        \log w = \sum_t (\beta_t - \beta_{t-1}) \log \frac{p(x, z_{t-1})}{s(z_{t-1})}

    The start s is the prior, or a normal, in unconstrained coordinates, that a pilot fits to each observation: from the
    guide's means and scales, by the curvature and the mean gradient of log p(x, z).
    Steps are preconditioned by its scales and tuned for each temperature and observation in the pilot, whose weights
    are thrown away; then start, temperatures and steps are frozen, so the mean weight is unbiased.

    Args:
        model: Pyro program of p(x, z) with continuous latents.
        guide: Pyro program of q(z given x); None where the chains start from the prior.
        x: observations, as in :func:`bayes_vae.log_terms`.
        start: where the chains start: "guide" or "prior".
        num_temperatures: T, steps from β = 0 to 1.
        num_chains: K, independent chains for each observation.
        num_leapfrog: leapfrog steps of a move.
        schedule: "linear"; "sigmoid", finer at both ends; or "adaptive", fitted to each observation in the pilot so
            that every step has the same thermodynamic length. None takes "linear" from the guide, and "adaptive" from
            the prior, where it gains most.
        refine: fit the start, above 512 latent dimensions its means and deviations alone; False takes the guide's.
            Deviations that stand alone are multiplied by 1.2. Without effect from the prior.
        tolerance: doubles the temperatures, on fresh draws, until two levels' means agree to so many nats; starts at
            ``num_temperatures``. The levels only choose T: the estimate is one more run at that T, since weights that
            decide when to stop are biased.
        Others: as in :func:`bayes_vae.log_terms`.

    Returns:
        :class:`AnnealedEstimate`, shape (N,), nats; a lower bound on log p(x) in expectation.

    Raises:
        NotDefinedError: a discrete latent.
        SettingsError: numbers below one, or a tolerance that is not positive.

    Reference: Neal (2001), "Annealed importance sampling"; Wu, Burda, Salakhutdinov, Grosse (2017), "On the
    quantitative analysis of decoder-based generative models".
    """
    proposal = start_of(model, guide, start, options.get("source", "auto"))
    with open_pair(model, proposal, x, task="annealing", **options) as opened:
        return anneal(
            opened,
            start,
            num_temperatures=num_temperatures,
            num_chains=num_chains,
            num_leapfrog=num_leapfrog,
            schedule=schedule,
            refine=refine,
            tolerance=tolerance,
        )


def start_of(model: Program, guide: Program | None, start: str, source: str) -> Program:
    """The program that chains start from.

    Raises:
        SettingsError: an unknown start, or no guide to start from.
    """
    if start not in get_args(Start):
        raise SettingsError(f"start must be 'guide' or 'prior', got {start!r}.")
    in_order = not any(isinstance(one, Tensor | tuple) for one in (model, guide))
    if start == "prior" and in_order:  # else open_pair names the order of arguments
        return prior_as_guide(model, source)
    if guide is None and in_order:
        raise SettingsError("start='guide' needs a guide, got None: pass one, or start='prior'.")
    return cast(Program, guide)


def anneal(
    opened: OpenPair,
    start: Start = "guide",
    *,
    num_temperatures: int = 50,
    num_chains: int = 4,
    num_leapfrog: int = 5,
    schedule: Schedule | None = None,
    refine: bool = True,
    tolerance: float | None = None,
) -> AnnealedEstimate:
    """:func:`annealed_log_evidence` of a pair that is open; from the prior, that has to be its guide."""
    tolerance, refine = check_tolerance(tolerance), switch("refine", refine)
    began = time.perf_counter()
    starts: set[str] = set()
    elsewhere = opened if start == "prior" else opened.with_prior_as_guide()

    def level(temperatures: int, *purpose: str) -> Chains:
        plan = make_plan(temperatures, num_chains, num_leapfrog, schedule, from_prior=start == "prior", refine=refine)
        return _run(opened, plan, elsewhere.pair, starts, temperatures, *purpose)

    def figure(temperatures: int) -> Tensor:
        return importance_weighted_bound(level(temperatures, "search").log_weights)

    step = torch.full((opened.num_observations,), torch.nan, dtype=torch.float64, device=opened.index.device)
    if tolerance is not None:
        num_temperatures, step = _agreed_level(figure, num_temperatures, tolerance)
    found = level(num_temperatures)
    checked = _checked(elsewhere, num_temperatures, num_leapfrog)
    estimate = AnnealedEstimate(
        importance_weighted_bound(found.log_weights),
        found.log_weights,
        checked,
        found.more_modes,
        found.resolution,
        found.acceptance,
        step,
        num_temperatures,
        time.perf_counter() - began,
        f"annealed from the {start}",
        max(opened.said(max(starts, key=len)), key=len),
        opened.provenance,
    )
    return opened.whole(estimate, ("log_weights", "check_log_weights"))


def _run(opened: OpenPair, plan: Plan, prior: Pair, starts: set[str], *purpose: int | str) -> Chains:
    """Chains of every observation; the names of their starts are added to a set.

    The prior's draws, keyed by observation, are where other modes are looked for. Those of a prior whose noise is not
    keyed would make a row depend on its batch, and places about the fit stand in.
    """
    found = []
    size = rows_to_fit(opened, plan.num_chains) if plan.refine else None
    for batch in opened.batches(plan.num_chains, *purpose, batch_size=size):
        tick = ticker(opened.progress, batch.rows, opened.num_observations, plan.pilot_ticks + plan.run_ticks)
        places: dict[str, Tensor] = {}
        if plan.refine and prior.keyed:
            there = replace(batch, bound=prior.bind(batch.x, batch.index), keyed=True)
            places = pilot_draws(there, PLACES, "places")
        tuned = tune(batch, plan, tick, places)
        starts.add(tuned.start)
        found.append(tuned.forward(tick))
    return join_observations(found)


def _checked(elsewhere: OpenPair, num_temperatures: int, num_leapfrog: int) -> Tensor:
    """Log weights of chains from a normal fitted from the prior's moments, whatever the guide says, shape (C, N)."""
    fewer = max(FEWEST_CHECKED, num_temperatures // CHECK_SHARE)
    plan = make_plan(fewer, CHECK_CHAINS, num_leapfrog, "linear", from_prior=False)
    return _run(elsewhere.quiet(), plan, elsewhere.pair, set(), fewer, "check").log_weights


def _agreed_level(level: Callable[[int], Tensor], temperatures: int, tolerance: float) -> tuple[int, Tensor]:
    """The first number of temperatures whose figure agrees with half as many, and how far each observation moved."""
    found = level(temperatures)
    while True:
        temperatures *= 2
        finer = level(temperatures)
        step, found = finer - found, finer
        if abs(float(step.mean())) <= tolerance:
            return temperatures, step
        if temperatures >= MOST_TEMPERATURES:
            raise ToleranceError(
                f"two levels still differ by {float(step.mean()):.3g} nats at {temperatures} temperatures, more than "
                f"tolerance={tolerance:g}: allow more, or ask for more chains."
            )
