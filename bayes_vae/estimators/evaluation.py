"""Every term of Bayes' rule for a data set, the evidence annealed: what ``bayes-vae evaluate`` prints."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from bayes_vae.estimators.annealing.annealed import AnnealedEstimate, annealed_log_evidence
from bayes_vae.estimators.elbo import KL, ElboCollector, ElboTerms
from bayes_vae.estimators.importance.estimate import LogEvidenceEstimate
from bayes_vae.estimators.importance.log_evidence import estimate_from, summarize_weights
from bayes_vae.terms.averages import Average, average, log_mean_bias
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.program import Program, as_observations, undisturbed
from bayes_vae.terms.stream import Progress, Source, as_index, provenance, read_pair, stream
from bayes_vae.terms.tabular import Column, Tabular

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
    x: Tensor | tuple[Tensor, ...],
    num_particles: int = 500,
    *,
    num_temperatures: int = 50,
    kl: KL = "auto",
    seed: int = 0,
    index: Tensor | None = None,
    source: Source = "auto",
    data_policy: str = "unstated",
    progress: Progress | None = None,
) -> Evaluation:
    """Estimate every term of Bayes' rule for every observation.

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
    parts = as_observations(x)
    indices = as_index(index, len(parts[0]), parts[0].device)
    collector, rows = ElboCollector(kl), []
    began = time.perf_counter()
    with undisturbed(model, guide, device=parts[0].device, seed=seed):
        pair = read_pair(model, guide, parts, indices, source)
        for batch in stream(pair, parts, indices, num_particles, seed, progress=progress):
            log_weights = (draw.log_importance_weights for draw in collector.over(batch))
            rows.append(summarize_weights(log_weights, num_particles))
    origin = provenance(pair, seed, data_policy)
    terms = collector.terms(num_particles, origin)
    bound = estimate_from(rows, num_particles, origin, bool(pair.discrete))
    seconds = time.perf_counter() - began
    why_not = without_annealing(pair.discrete, num_temperatures)
    annealed = None
    if not why_not:
        shared: dict[str, Any] = {"seed": seed, "index": indices, "source": source, "data_policy": data_policy}
        annealed = annealed_log_evidence(
            model, x, guide, num_temperatures=num_temperatures, progress=progress, **shared
        )
    return Evaluation(terms, bound, annealed, why_not, seconds)


def without_annealing(discrete: tuple[str, ...], num_temperatures: int) -> str:
    """Why there is no annealed estimate; empty where there is one."""
    if num_temperatures == 0:
        return "not annealed: num_temperatures is 0"
    if discrete:
        sites = ", ".join(map(repr, discrete))
        return f"not annealed: annealing moves along gradients, and {sites} is discrete"
    return ""
