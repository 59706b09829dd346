"""What every estimate of log p(x) carries, and how it reads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bayes_vae.estimators.importance.reliability import MINIMUM_PARTICLES, pareto_k_threshold
from bayes_vae.terms.averages import Average, average, log_mean_bias
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.tabular import Tabular

__all__ = ["LogEvidenceEstimate"]

NOT_CONVERGED = "lower bound, not converged"


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
            (the largest are tied), NaN for fewer than 30 and for discrete latents: their few values may miss a mode.
        doubling_step: L_K − L_{K/2}, shape (N,), nats: what the last doubling of particles gained.
        particles: K of each observation, as drawn, shape (N,), int64; whatever stands here is of that K.
        estimator: name of the estimator.
        provenance: seed, source and policy.
    """

    log_evidence: Tensor
    effective_sample_size: Tensor
    pareto_k: Tensor
    doubling_step: Tensor
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
        """Whether k̂ vouches for each estimate, shape (N,), bool; never with fewer than 30 particles."""
        constant = self.pareto_k == -torch.inf
        return constant | (self.pareto_k <= self.pareto_k_thresholds)

    @property
    def standard_error(self) -> Tensor:
        r"""Delta-method error \sqrt{1/ESS − 1/K}, shape (N,), nats; NaN, left blank, where not converged."""
        error = (1 / self.effective_sample_size - 1 / self.particles.double()).clamp(min=0).sqrt()
        return torch.where(self.converged, error, torch.nan)

    @property
    def num_observations(self) -> int:
        """N."""
        return len(self.log_evidence)

    @property
    def readings(self) -> list[str]:
        """How each observation's figure reads: "estimate" or "lower bound, not converged"."""
        return ["estimate" if ok else NOT_CONVERGED for ok in self.converged.tolist()]

    @property
    def note(self) -> str:
        """How the data set's figure reads; empty where every observation converged."""
        failed = int((~self.converged).sum())
        if not failed:
            return ""
        if self.num_particles < MINIMUM_PARTICLES:
            return f"{NOT_CONVERGED}: {self.num_particles} particles are too few for a k̂"
        if bool(self.pareto_k.isnan().any()):
            return f"{NOT_CONVERGED}: k̂ is not defined for discrete latents"
        least, most = (f"{pareto_k_threshold(int(count)):.2f}" for count in self.particles.aminmax())
        above = most if least == most else f"its threshold, {least} to {most},"
        return f"{NOT_CONVERGED}: k̂ above {above} for {failed} of {self.num_observations}"

    def averages(self) -> dict[str, Average]:
        """Figures over the data set; the Monte-Carlo error is blank unless every observation converged.

        Where K differs between observations, the figures carry the largest and the note its range.
        """
        exact = torch.zeros_like(self.log_evidence)
        least, most = int(self.particles.min()), self.num_particles
        counts = f"{least} to {most} particles, chosen by a pilot" if least < most else ""
        return {
            "log_evidence": average(
                "log_evidence",
                self.log_evidence,
                self.standard_error,
                self.num_particles,
                "; ".join(filter(None, [self.note, counts])),
                bias=log_mean_bias(self.standard_error),
            ),
            "effective_sample_size": average(
                "effective_sample_size", self.effective_sample_size, exact * torch.nan, self.num_particles
            ),
            "doubling_step": average("doubling_step", self.doubling_step, exact * torch.nan, self.num_particles),
        }
