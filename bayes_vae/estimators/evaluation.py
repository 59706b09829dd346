"""Every term of Bayes' rule for a data set, the evidence annealed: what ``bayes-vae evaluate`` prints."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Unpack

import torch
from torch import Tensor

from bayes_vae.estimators.annealing.annealed import AnnealedEstimate, anneal
from bayes_vae.estimators.elbo import KL, ElboAtDraws, ElboTerms
from bayes_vae.estimators.importance.estimate import LogEvidenceEstimate
from bayes_vae.estimators.importance.log_evidence import WeightsAtDraws
from bayes_vae.terms.averages import Average, average, log_mean_bias
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.opened import Accumulator, OpenPair, Options, collect, open_pair
from bayes_vae.terms.program import Program
from bayes_vae.terms.rows import X
from bayes_vae.terms.tabular import Column, Tabular
from bayes_vae.terms.whole_numbers import whole_number

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True, eq=False)
class Evaluation(Tabular, observation=("log_evidence", "inference_gap")):
    r"""The ELBO's terms, the importance-weighted bound of the same draws, and the annealed log p(x).

    .. math:: \mathrm{ELBO}(x) \le L_K(x) \le \log p(x), \qquad
        \log p(x) - \mathrm{ELBO}(x) = \mathrm{KL}(q(z \mid x) \,\|\, p(z \mid x))

    Attributes:
        terms: the ELBO and its two terms.
        bound: L_K with its reliability.
        annealed: annealed from the guide; None where it was left out.
        why_not_annealed: why there is none; empty where there is.
        seconds: time of the ELBO and L_K together; the annealed estimate has its own.
    """

    terms: ElboTerms
    bound: LogEvidenceEstimate
    annealed: AnnealedEstimate | None
    why_not_annealed: str
    seconds: float

    @property
    def log_evidence(self) -> Tensor:
        """The tightest estimate of log p(x) here, shape (N,), nats: annealed where it is there, else L_K."""
        return self._leading.log_evidence

    @property
    def inference_gap(self) -> Tensor:
        """log_evidence − elbo, shape (N,), nats: KL(q(z given x) to p(z given x)), or a lower bound on it."""
        return self.log_evidence - self.terms.elbo

    @property
    def estimator(self) -> str:
        """Which estimator log_evidence is from."""
        return self._leading.estimator

    @property
    def num_observations(self) -> int:
        """N."""
        return self.terms.num_observations

    @property
    def provenance(self) -> Provenance:
        """Seed, source and policy."""
        return self.terms.provenance

    def columns(self) -> dict[str, Column]:
        """The terms, the bound and the evidence of each observation."""
        bound = {f"bound_{name}": column for name, column in self.bound.columns().items()}
        return {**self.terms.columns(), **bound, **super().columns()}

    @property
    def _leading(self) -> AnnealedEstimate | LogEvidenceEstimate:
        return self.bound if self.annealed is None else self.annealed

    def averages(self) -> dict[str, Average]:
        """Figures over the data set, from the likelihood's term to the gap."""
        figures = self.terms.averages()
        bound = self.bound.averages()["log_evidence"]
        figures["importance_weighted_bound"] = replace(bound, name="importance_weighted_bound")
        figures["log_evidence"] = self._leading.averages()["log_evidence"]
        error = self._leading.standard_error
        figures["inference_gap"] = average(
            "inference_gap",
            self.inference_gap,
            torch.hypot(error, self.terms.elbo_error),
            figures["log_evidence"].num_particles,
            figures["log_evidence"].reading,
            log_mean_bias(error),
        )
        return figures


def evaluate(
    model: Program,
    guide: Program,
    x: X,
    num_particles: int = 500,
    *,
    num_temperatures: int = 50,
    kl: KL = "auto",
    **options: Unpack[Options],
) -> Evaluation:
    r"""Estimate every term of Bayes' rule for every observation.

    The ELBO's terms and L_K share their draws; annealing has its own, so that for single observations, and on easy
    data, it may come out below L_K by chance.

    Args:
        num_particles: K, draws from q for the ELBO's terms and L_K.
        num_temperatures: of :func:`bayes_vae.annealed_log_evidence` from the guide; 0 leaves it out. It is left out
            as well where a latent is discrete, and the result says so.
        kl: as in :func:`bayes_vae.elbo_terms`.
        Others: as in :func:`bayes_vae.log_terms`.

    Returns:
        :class:`Evaluation`, shape (N,), nats.

    Raises:
        ProgramError, SupportError, NumericalError: as :func:`bayes_vae.log_terms`.
    """
    with open_pair(model, guide, x, **options) as opened:
        return evaluation_of(opened, num_particles, num_temperatures=num_temperatures, kl=kl)


def evaluation_of(
    opened: OpenPair,
    num_particles: int = 500,
    *accumulators: Accumulator,
    num_temperatures: int = 50,
    kl: KL = "auto",
) -> Evaluation:
    """:func:`evaluate` of a pair that is open; other accumulators share the draws of the ELBO and L_K."""
    num_particles = whole_number("num_particles", num_particles)
    elbo, weights = ElboAtDraws(kl), WeightsAtDraws(num_particles)
    began = time.perf_counter()
    collect(opened, num_particles, elbo, weights, *accumulators)
    seconds = time.perf_counter() - began
    why_not = without_annealing(opened.pair.discrete, num_temperatures)
    annealed = None if why_not else anneal(opened, num_temperatures=num_temperatures)
    return Evaluation(elbo.result(opened), weights.result(opened), annealed, why_not, seconds)


def without_annealing(discrete: tuple[str, ...], num_temperatures: int) -> str:
    """Why there is no annealed estimate; empty where there is one."""
    if num_temperatures == 0:
        return "not annealed: num_temperatures is 0"
    if discrete:
        sites = ", ".join(map(repr, discrete))
        return f"not annealed: annealing moves along gradients, and {sites} is discrete"
    return ""
