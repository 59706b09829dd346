"""Every estimator of log p(x), as it is called by default, and what it says of a reference pair."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

import bayes_vae as bv
from bayes_vae.errors import BayesVaeError
from bayes_vae.reference_pairs import FunctionModel, ReferencePair

PARTICLES, ELBO_PARTICLES, TEMPERATURES, CHAINS, SEED = 5000, 1000, 50, 4, 0

BEYOND, SMALLEST = 3.0, 0.05
"""A row is wrong where its error is beyond so many claimed errors, and above so many nats, and nothing flags it."""

ABOVE = 3.0
"""And where a lower bound in expectation is so many nats too high, flagged or not: chance does that in 5 % at most."""


class Rows(NamedTuple):
    """What an estimator says of N observations: errors, claimed errors (NaN: blank), flags, whether it is a bound."""

    error: Tensor
    claimed: Tensor
    flagged: Tensor
    bound: Tensor | bool = True


@dataclass(frozen=True)
class Found:
    """An estimator on a pair.

    Attributes:
        estimator, pair: their names.
        error: mean of estimate − log p(x) over the observations, nats.
        largest: the error of largest size.
        claimed: median of the claimed errors; None where all are blank.
        flagged: observations that the estimator says have not converged.
        wrong: observations that nothing flags, whose error is beyond what is claimed; and bounds that are none.
        count: N.
        seconds: of the call.
        refused: the error's name, where there is no estimate.
    """

    estimator: str
    pair: str
    error: float | None
    largest: float | None
    claimed: float | None
    flagged: int
    wrong: int
    count: int
    seconds: float
    refused: str = ""


Estimator = Callable[[ReferencePair], Rows]


def run(name: str, estimator: Estimator, pair: ReferencePair) -> Found:
    """Run one estimator on a pair."""
    start, count = time.perf_counter(), len(pair.log_evidence)
    try:
        rows = estimator(pair)
    except (BayesVaeError, ValueError, RuntimeError) as error:
        kind, said = type(error).__name__, isinstance(error, BayesVaeError)
        seconds = time.perf_counter() - start
        return Found(
            name, pair.name, None, None, None, 0, 0, count, seconds, f"{'refused' if said else 'fails'}: {kind}"
        )
    seconds = time.perf_counter() - start
    error, claimed = rows.error.double(), rows.claimed.double()
    stated = claimed[~claimed.isnan()]
    beyond = (error.abs() > BEYOND * claimed) & (error.abs() > SMALLEST) & ~rows.flagged
    above = (error > ABOVE) & rows.bound
    return Found(
        name,
        pair.name,
        float(error.mean()),
        float(error[error.abs().argmax()]),
        float(stated.median()) if len(stated) else None,
        int(rows.flagged.sum()),
        int((beyond | above).sum()),
        len(error),
        seconds,
    )


def flags(result: Any) -> Tensor:
    """The observations that a result says have not converged, (N,)."""
    if hasattr(result, "converged"):
        return ~result.converged
    return torch.tensor([not reading.settled for reading in result.readings])


def elbo(pair: ReferencePair) -> Rows:
    """A bound, which claims nothing about log p(x)."""
    found = bv.elbo_terms(pair.model, pair.guide, pair.x, ELBO_PARTICLES, seed=SEED).elbo - pair.log_evidence
    return Rows(found, torch.full_like(found, torch.nan), torch.zeros_like(found, dtype=torch.bool))


def importance(proposal: Any) -> Estimator:
    """L_K, from the guide or a refined proposal."""

    def estimate(pair: ReferencePair) -> Rows:
        found = bv.estimate_log_evidence(pair.model, pair.guide, pair.x, PARTICLES, proposal=proposal, seed=SEED)
        return Rows(found.log_evidence - pair.log_evidence, found.standard_error, flags(found), found.resolved)

    return estimate


def annealed(start: Any) -> Estimator:
    """Annealing from the guide or the prior."""

    def estimate(pair: ReferencePair) -> Rows:
        guide = pair.guide if start == "guide" else None
        settings: dict[str, Any] = {"num_temperatures": TEMPERATURES, "num_chains": CHAINS, "seed": SEED}
        found = bv.annealed_log_evidence(pair.model, guide, pair.x, start=start, **settings)
        return Rows(found.log_evidence - pair.log_evidence, found.standard_error, flags(found), found.resolved)

    return estimate


def quadrature(method: Any) -> Estimator:
    """Gauss–Hermite around the guide, or a grid."""

    def estimate(pair: ReferencePair) -> Rows:
        found = bv.quadrature_log_evidence(pair.model, pair.guide, pair.x, method=method, seed=SEED)
        return Rows(found.log_evidence - pair.log_evidence, found.refinement_error, flags(found), bound=False)

    return estimate


def bidirectional(side: str) -> Estimator:
    """A bound on other observations, which the model draws: their log p(x) is found as the frozen ones' was."""

    def estimate(pair: ReferencePair) -> Rows:
        settings: dict[str, Any] = {"num_temperatures": TEMPERATURES, "num_chains": CHAINS, "seed": SEED}
        found = bv.bidirectional_bounds(pair.model, pair.guide, num_observations=len(pair.log_evidence), **settings)
        error = getattr(found, side) - pair.exact(found.observations)
        unknown, never = torch.full_like(error, torch.nan), torch.zeros_like(error, dtype=torch.bool)
        return Rows(error, unknown, never, bound=side == "lower")

    return estimate


def of_any(_: ReferencePair) -> bool:
    """Every pair."""
    return True


def continuous(pair: ReferencePair) -> bool:
    """Pairs whose latents have gradients."""
    return not pair.discrete


def small(pair: ReferencePair) -> bool:
    """Pairs with one or two latent dimensions."""
    return 1 <= pair.latent_dim <= 2


def simulated(pair: ReferencePair) -> bool:
    """Pairs whose model draws observations by itself."""
    return isinstance(pair.model, FunctionModel)


ESTIMATORS: dict[str, tuple[Estimator, Callable[[ReferencePair], bool]]] = {
    "ELBO": (elbo, of_any),
    f"L_{PARTICLES}": (importance("guide"), of_any),
    "refined normal": (importance("normal"), continuous),
    "full covariance": (importance("full_covariance"), continuous),
    "Student-t": (importance("student_t"), continuous),
    "annealed, guide": (annealed("guide"), continuous),
    "annealed, prior": (annealed("prior"), continuous),
    "Gauss–Hermite": (quadrature("gauss-hermite"), small),
    "grid": (quadrature("grid"), small),
    "bidirectional, lower": (bidirectional("lower"), simulated),
    "bidirectional, upper": (bidirectional("upper"), simulated),
}
"""Name → how it is called, and which pairs it is for."""
