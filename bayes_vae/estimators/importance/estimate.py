"""What every estimate of log p(x) carries, and how it reads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bayes_vae.estimators.annealing.path import COARSEST
from bayes_vae.estimators.importance.reliability import MINIMUM_PARTICLES, pareto_k_threshold
from bayes_vae.estimators.unseen import ALLOWED
from bayes_vae.terms.averages import Average, average, log_mean_bias
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.tabular import Tabular
from bayes_vae.vocabulary.readings import Cause, Kind, Reading

__all__ = ["LogEvidenceEstimate"]

CLAIMED = 3.0
"""Standard errors of an estimate within which what draws of the prior find is no contradiction."""


@dataclass(frozen=True, eq=False)
class LogEvidenceEstimate(
    Tabular,
    observation=(
        "log_evidence",
        "standard_error",
        "effective_sample_size",
        "pareto_k",
        "doubling_step",
        "particles",
        "converged",
    ),
):
    r"""Estimate of log p(x) for each observation, with what says how far to trust it.

    An importance estimate is a lower bound until shown otherwise: the usual standard error √(1/ESS − 1/K) cannot
    exceed 1 nat, whatever the truth, so it stands only where k̂ allows it.

    Attributes:
        log_evidence: log mean weight, L_K, shape (N,), nats; from the raw weights, never smoothed ones.
        effective_sample_size: shape (N,).
        pareto_k: tail index k̂ of the weights, shape (N,); −inf for constant weights, +inf where none can be fitted
            (the largest are tied, or the guide draws the same z again and again), NaN for fewer than 30 and for
            discrete latents: their few values may miss a mode.
        doubling_step: L_K − L_{K/2}, shape (N,), nats: what the last doubling of particles gained.
        resolution: how much log p(x, z) changes between neighbouring floats at the draw with the largest weight, shape
            (N,), nats; looked at where k̂ of a draw of the guide does not vouch for an estimate, else NaN.
        unseen: how much higher log p(x) is by what draws of the prior find where no draw weighs as much, shape (N,),
            nats; looked at where k̂ vouches for an estimate, else NaN.
        particles: K of each observation, as drawn, shape (N,), int64; whatever stands here is of that K.
        estimator: name of the estimator.
        provenance: seed, source and policy.
    """

    log_evidence: Tensor
    effective_sample_size: Tensor
    pareto_k: Tensor
    doubling_step: Tensor
    resolution: Tensor
    unseen: Tensor
    particles: Tensor
    estimator: str
    provenance: Provenance

    @property
    def num_particles(self) -> int:
        """K; the largest, where a pilot chose it for each observation."""
        return int(self.particles.max())

    @property
    def pareto_k_threshold(self) -> float:
        """Above this k̂ an estimate from ``num_particles`` is a lower bound that has not converged."""
        return pareto_k_threshold(self.num_particles)

    @property
    def pareto_k_thresholds(self) -> Tensor:
        """The threshold at each observation's own K, shape (N,)."""
        known = {count: pareto_k_threshold(count) for count in self.particles.unique().tolist()}
        return self.pareto_k.new_tensor([known[count] for count in self.particles.tolist()])

    @property
    def converged(self) -> Tensor:
        """Whether k̂ vouches for each estimate and the prior finds no more, shape (N,), bool; never with K below 30."""
        return self.vouched & ~self.missed

    @property
    def missed(self) -> Tensor:
        """Where draws of the prior find more of p(x) than the estimate's own error allows, shape (N,), bool."""
        return self.unseen > (CLAIMED * self._error).clamp(min=ALLOWED)

    @property
    def vouched(self) -> Tensor:
        """Whether k̂ is at most its threshold, shape (N,), bool, and log p(x, z) resolved; never with K below 30."""
        constant = self.pareto_k == -torch.inf
        return (constant | (self.pareto_k <= self.pareto_k_thresholds)) & self.resolved

    @property
    def _error(self) -> Tensor:
        return (1 / self.effective_sample_size - 1 / self.particles.double()).clamp(min=0).sqrt()

    @property
    def resolved(self) -> Tensor:
        """False where log p(x, z) is seen to change by more than 0.3 nats from one float to the next, shape (N,), bool.

        Such a density is known at a few points only, and its mean over draws is no bound.
        """
        return ~(self.resolution > COARSEST)

    @property
    def standard_error(self) -> Tensor:
        r"""Delta-method error \sqrt{1/ESS − 1/K}, shape (N,), nats; NaN, left blank, where not converged."""
        return torch.where(self.converged, self._error, torch.nan)

    @property
    def num_observations(self) -> int:
        """N."""
        return len(self.log_evidence)

    @property
    def readings(self) -> list[Reading]:
        """How each observation's figure reads: an estimate, a lower bound that has not converged, or no bound."""
        columns = (self.converged, self.resolved, self.missed, self.pareto_k, self.particles)
        return [_reading(*row) for row in zip(*(column.split(1) for column in columns), strict=True)]

    @property
    def reading(self) -> Reading:
        """How the data set's figure reads: an estimate where every observation converged."""
        return _reading(self.converged, self.resolved, self.missed, self.pareto_k, self.particles)

    def averages(self) -> dict[str, Average]:
        """Figures over the data set; the Monte-Carlo error is blank unless every observation converged.

        Where K differs between observations, the figures carry the largest and the reading its range.
        """
        exact = torch.zeros_like(self.log_evidence)
        return {
            "log_evidence": average(
                "log_evidence",
                self.log_evidence,
                self.standard_error,
                self.num_particles,
                self.reading,
                bias=log_mean_bias(self.standard_error),
            ),
            "effective_sample_size": average(
                "effective_sample_size", self.effective_sample_size, exact * torch.nan, self.num_particles
            ),
            "doubling_step": average("doubling_step", self.doubling_step, exact * torch.nan, self.num_particles),
        }


def _reading(converged: Tensor, resolved: Tensor, missed: Tensor, pareto_k: Tensor, particles: Tensor) -> Reading:
    """Of some observations together, each argument of shape (N,)."""
    failed, (least, most) = int((~converged).sum()), map(int, particles.aminmax())
    counts = (least, most) if least < most or most < MINIMUM_PARTICLES else None
    if not bool(resolved.all()):
        return Reading("unresolved", int((~resolved).sum()), len(converged), "precision")
    if not failed:
        return Reading("estimate", num_observations=len(converged), particles=counts)
    cause: Cause | None = None
    if most < MINIMUM_PARTICLES:
        cause = "few_particles"
    elif bool(pareto_k.isnan().any()):
        cause = "discrete_latents"
    thresholds = None if cause else (pareto_k_threshold(least), pareto_k_threshold(most))
    kind: Kind = "lower_bound_not_converged"
    return Reading(kind, failed, len(converged), cause, thresholds, counts, missed=int(missed.sum()))
