"""Estimators of every term of Bayes' rule: the ELBO, log p(x), the gaps between them, the aggregate posterior."""

from __future__ import annotations

from bayes_vae.estimators.aggregate_posterior import aggregate_posterior_terms
from bayes_vae.estimators.aggregate_terms import AggregatePosteriorTerms
from bayes_vae.estimators.annealing.annealed import AnnealedEstimate, annealed_log_evidence
from bayes_vae.estimators.annealing.bidirectional import BidirectionalBounds, bidirectional_bounds
from bayes_vae.estimators.calibration import GuideCalibration, calibrate_guide
from bayes_vae.estimators.elbo import ElboTerms, elbo_terms
from bayes_vae.estimators.encoding import Codes, encode
from bayes_vae.estimators.evaluation import Evaluation, evaluate
from bayes_vae.estimators.gap_terms import InferenceGap
from bayes_vae.estimators.gaps import inference_gap
from bayes_vae.estimators.grid import BayesRuleOnGrid, bayes_rule_on_grid
from bayes_vae.estimators.importance.bound import effective_sample_size, grouped_bound, importance_weighted_bound
from bayes_vae.estimators.importance.estimate import LogEvidenceEstimate
from bayes_vae.estimators.importance.given_weights import log_evidence_from_weights
from bayes_vae.estimators.importance.log_evidence import estimate_log_evidence
from bayes_vae.estimators.importance.reliability import pareto_k, pareto_k_threshold
from bayes_vae.estimators.ladder import Comparison, compare
from bayes_vae.estimators.quadrature import QuadratureEstimate, quadrature_log_evidence
from bayes_vae.estimators.rate_distortion import rate_distortion
from bayes_vae.estimators.rate_distortion_curve import RateDistortion
from bayes_vae.estimators.scoring import Scores, score

__all__ = [
    "AggregatePosteriorTerms",
    "AnnealedEstimate",
    "BayesRuleOnGrid",
    "BidirectionalBounds",
    "Codes",
    "Comparison",
    "ElboTerms",
    "Evaluation",
    "GuideCalibration",
    "InferenceGap",
    "LogEvidenceEstimate",
    "QuadratureEstimate",
    "RateDistortion",
    "Scores",
    "aggregate_posterior_terms",
    "annealed_log_evidence",
    "bayes_rule_on_grid",
    "bidirectional_bounds",
    "calibrate_guide",
    "compare",
    "effective_sample_size",
    "elbo_terms",
    "encode",
    "estimate_log_evidence",
    "evaluate",
    "grouped_bound",
    "importance_weighted_bound",
    "inference_gap",
    "log_evidence_from_weights",
    "pareto_k",
    "pareto_k_threshold",
    "quadrature_log_evidence",
    "rate_distortion",
    "score",
]
