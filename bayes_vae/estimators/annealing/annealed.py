"""Annealed importance sampling: log p(x) along a path from the guide, or the prior, to the posterior."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Unpack, get_args

import torch
from torch import Tensor

from bayes_vae.errors import SettingsError, ToleranceError
from bayes_vae.estimators.annealing.chains import Chains, join_observations, make_plan, ticker, tune
from bayes_vae.estimators.annealing.temperatures import Schedule
from bayes_vae.estimators.importance.bound import effective_sample_size, importance_weighted_bound
from bayes_vae.estimators.importance.pilot import check_tolerance
from bayes_vae.terms.averages import Average, average, log_mean_bias
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.opened import OpenPair, Options, open_pair
from bayes_vae.terms.prior_as_guide import prior_as_guide
from bayes_vae.terms.rows import X
from bayes_vae.terms.tabular import Tabular
from bayes_vae.terms.traits import Program
from bayes_vae.vocabulary.readings import Reading

__all__ = ["AnnealedEstimate", "Start", "anneal", "annealed_log_evidence", "start_of"]

Start = Literal["guide", "prior"]

MOST_TEMPERATURES = 20_000
"""Where doubling ends."""

WIDE_SPREAD = 1.0
"""Nats between chains above which an observation's figure is said to be coarse: more temperatures would raise it."""


@dataclass(frozen=True, eq=False)
class AnnealedEstimate(
    Tabular,
    observation=("log_evidence", "standard_error", "effective_sample_size", "spread", "acceptance", "doubling_step"),
    chain=("log_weights",),
):
    """Annealed estimate of log p(x) for each observation, and what says how far to trust it.

    Attributes:
        log_evidence: log mean weight over chains, shape (N,), nats; a lower bound in expectation.
        log_weights: of each chain, shape (K, N), nats.
        acceptance: mean acceptance probability of the moves, shape (N,).
        doubling_step: what the last doubling of the temperatures gained, shape (N,), nats; NaN without a tolerance.
        num_temperatures: T.
        seconds: time that it took, all levels together.
        estimator: "annealed from the guide" or "annealed from the prior".
        start: where the chains started: "fitted normal" (from the guide's, fitted in the pilot), "guide" (a normal with
            the guide's means and widened scales) or "prior".
        provenance: seed, source and policy.
    """

    log_evidence: Tensor
    log_weights: Tensor
    acceptance: Tensor
    doubling_step: Tensor
    num_temperatures: int
    seconds: float
    estimator: str
    start: str
    provenance: Provenance

    @property
    def num_chains(self) -> int:
        """K."""
        return len(self.log_weights)

    @property
    def effective_sample_size(self) -> Tensor:
        """Of the chains' weights, shape (N,), between 1 and K."""
        return effective_sample_size(self.log_weights)

    @property
    def spread(self) -> Tensor:
        """Standard deviation of the chains' log weights, shape (N,), nats: zero for perfect annealing; NaN for one."""
        if self.num_chains < 2:
            return torch.full_like(self.log_evidence, torch.nan)
        return self.log_weights.std(0)

    @property
    def standard_error(self) -> Tensor:
        r"""Delta-method error of the log mean weight, shape (N,), nats; NaN for one chain.

        .. math:: \sqrt{\operatorname{Var}(w) / K} \, / \, \bar w

        From 4 chains it is known roughly: ± 1.96 of it hold log p(x) of one observation about 86 times in 100, from 64
        chains 95 times (``benchmarks/coverage.py``).
        """
        count = self.num_chains
        if count < 2:
            return torch.full_like(self.log_evidence, torch.nan)
        relative = (count / self.effective_sample_size - 1).clamp(min=0) * count / (count - 1)
        return (relative / count).sqrt()

    @property
    def readings(self) -> list[Reading]:
        """How each observation's figure reads: a lower bound in expectation, coarse where the chains lie far apart."""
        wide = (self.spread > WIDE_SPREAD).tolist()
        return [Reading("lower_bound_in_expectation", int(each), 1, limit=WIDE_SPREAD) for each in wide]

    @property
    def reading(self) -> Reading:
        """How the data set's figure reads."""
        wide = int((self.spread > WIDE_SPREAD).sum())
        return Reading("lower_bound_in_expectation", wide, len(self.log_evidence), limit=WIDE_SPREAD)

    def averages(self) -> dict[str, Average]:
        """Figures over the data set.

        "log_evidence"; "acceptance", "effective_sample_size" and "spread"; "doubling_step" where there was one.
        """
        error = self.standard_error
        bias = log_mean_bias(error)
        figures = {
            "acceptance": self.acceptance,
            "effective_sample_size": self.effective_sample_size,
            "spread": self.spread,
            "doubling_step": self.doubling_step,
        }
        unknown, count = torch.full_like(self.log_evidence, torch.nan), self.num_chains
        return {
            "log_evidence": average("log_evidence", self.log_evidence, error, count, self.reading, bias=bias),
            **{
                name: average(name, values, unknown, count)
                for name, values in figures.items()
                if name != "doubling_step" or not bool(values.isnan().any())
            },
        }


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
        refine: fit the start; False takes a normal with the guide's means and its scales times 1.2, as is done anyway
            above 128 latent dimensions. Without effect from the prior.
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
    with open_pair(model, proposal, x, **options) as opened:
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
    if start == "prior" and not isinstance(guide, Tensor | tuple):  # else open_pair names the order of arguments
        return prior_as_guide(model, source)
    if guide is None:
        raise SettingsError("start='guide' needs a guide, got None: pass one, or start='prior'.")
    return guide


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
    check_tolerance(tolerance)
    began = time.perf_counter()
    starts: set[str] = set()

    def level(temperatures: int, *purpose: str) -> Chains:
        plan = make_plan(temperatures, num_chains, num_leapfrog, schedule, from_prior=start == "prior", refine=refine)
        found = []
        for batch in opened.batches(plan.num_chains, temperatures, *purpose):
            tick = ticker(opened.progress, batch.rows, opened.num_observations, plan.pilot_ticks + plan.run_ticks)
            tuned = tune(batch, plan, tick)
            starts.add(tuned.start)
            found.append(tuned.forward(tick))
        return join_observations(found)

    def figure(temperatures: int) -> Tensor:
        return importance_weighted_bound(level(temperatures, "search").log_weights)

    step = torch.full((opened.num_observations,), torch.nan, dtype=torch.float64, device=opened.index.device)
    if tolerance is not None:
        num_temperatures, step = _agreed_level(figure, num_temperatures, tolerance)
    found = level(num_temperatures)
    return AnnealedEstimate(
        importance_weighted_bound(found.log_weights),
        found.log_weights,
        found.acceptance,
        step,
        num_temperatures,
        time.perf_counter() - began,
        f"annealed from the {start}",
        starts.pop(),
        opened.provenance,
    )


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
