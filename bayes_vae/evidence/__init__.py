"""Estimators of the log evidence log p(x)."""

from bayes_vae.evidence.annealed import AnnealedEstimate, annealed_log_evidence
from bayes_vae.evidence.bidirectional import BidirectionalBounds, bidirectional_bounds
from bayes_vae.evidence.bound import effective_sample_size, grouped_bound, importance_weighted_bound
from bayes_vae.evidence.estimate import LogEvidenceEstimate
from bayes_vae.evidence.importance import estimate_log_evidence
from bayes_vae.evidence.quadrature import QuadratureEstimate, quadrature_log_evidence
from bayes_vae.evidence.reliability import pareto_k, pareto_k_threshold

__all__ = [
    "AnnealedEstimate",
    "BidirectionalBounds",
    "LogEvidenceEstimate",
    "QuadratureEstimate",
    "annealed_log_evidence",
    "bidirectional_bounds",
    "effective_sample_size",
    "estimate_log_evidence",
    "grouped_bound",
    "importance_weighted_bound",
    "pareto_k",
    "pareto_k_threshold",
    "quadrature_log_evidence",
]
