"""bayes_vae: a variational autoencoder explained as Bayes' rule.

The public names are loaded when first used, so importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayes_vae.data import load_data as load_data
    from bayes_vae.diagnosis import Diagnosis as Diagnosis
    from bayes_vae.diagnosis import diagnose as diagnose
    from bayes_vae.estimators import AggregatePosteriorTerms as AggregatePosteriorTerms
    from bayes_vae.estimators import AnnealedEstimate as AnnealedEstimate
    from bayes_vae.estimators import BayesRuleOnGrid as BayesRuleOnGrid
    from bayes_vae.estimators import BidirectionalBounds as BidirectionalBounds
    from bayes_vae.estimators import Codes as Codes
    from bayes_vae.estimators import Comparison as Comparison
    from bayes_vae.estimators import ElboTerms as ElboTerms
    from bayes_vae.estimators import Evaluation as Evaluation
    from bayes_vae.estimators import GuideCalibration as GuideCalibration
    from bayes_vae.estimators import InferenceGap as InferenceGap
    from bayes_vae.estimators import LogEvidenceEstimate as LogEvidenceEstimate
    from bayes_vae.estimators import QuadratureEstimate as QuadratureEstimate
    from bayes_vae.estimators import RateDistortion as RateDistortion
    from bayes_vae.estimators import Scores as Scores
    from bayes_vae.estimators import aggregate_posterior_terms as aggregate_posterior_terms
    from bayes_vae.estimators import annealed_log_evidence as annealed_log_evidence
    from bayes_vae.estimators import bayes_rule_on_grid as bayes_rule_on_grid
    from bayes_vae.estimators import bidirectional_bounds as bidirectional_bounds
    from bayes_vae.estimators import calibrate_guide as calibrate_guide
    from bayes_vae.estimators import compare as compare
    from bayes_vae.estimators import elbo_terms as elbo_terms
    from bayes_vae.estimators import encode as encode
    from bayes_vae.estimators import estimate_log_evidence as estimate_log_evidence
    from bayes_vae.estimators import evaluate as evaluate
    from bayes_vae.estimators import importance_weighted_bound as importance_weighted_bound
    from bayes_vae.estimators import inference_gap as inference_gap
    from bayes_vae.estimators import log_evidence_from_weights as log_evidence_from_weights
    from bayes_vae.estimators import quadrature_log_evidence as quadrature_log_evidence
    from bayes_vae.estimators import rate_distortion as rate_distortion
    from bayes_vae.estimators import score as score
    from bayes_vae.estimators.model_comparison import ModelComparison as ModelComparison
    from bayes_vae.estimators.rungs.rung import Rung as Rung
    from bayes_vae.objectives import DoublyReparameterizedObjective as DoublyReparameterizedObjective
    from bayes_vae.objectives import Elbo as Elbo
    from bayes_vae.objectives import EnumeratedElbo as EnumeratedElbo
    from bayes_vae.objectives import ImportanceWeightedObjective as ImportanceWeightedObjective
    from bayes_vae.objectives import StickingTheLandingObjective as StickingTheLandingObjective
    from bayes_vae.pairs import pair_from_networks as pair_from_networks
    from bayes_vae.posterior import Imputation as Imputation
    from bayes_vae.posterior import PosteriorDraws as PosteriorDraws
    from bayes_vae.posterior import exact_posterior_draws as exact_posterior_draws
    from bayes_vae.posterior import impute as impute
    from bayes_vae.posterior import interpolate as interpolate
    from bayes_vae.posterior import nuts_draws as nuts_draws
    from bayes_vae.posterior import posterior_draws as posterior_draws
    from bayes_vae.posterior import reconstruct as reconstruct
    from bayes_vae.posterior import sample as sample
    from bayes_vae.posterior.arviz_export import netcdf_bytes as netcdf_bytes
    from bayes_vae.posterior.arviz_export import to_arviz as to_arviz
    from bayes_vae.report import report_pair as report_pair
    from bayes_vae.report import write_report as write_report
    from bayes_vae.runs import Run as Run
    from bayes_vae.runs import compare_models as compare_models
    from bayes_vae.runs import compare_runs as compare_runs
    from bayes_vae.runs import load as load
    from bayes_vae.runs import save as save
    from bayes_vae.terms import LogTerms as LogTerms
    from bayes_vae.terms import Options as Options
    from bayes_vae.terms import Provenance as Provenance
    from bayes_vae.terms import Rows as Rows
    from bayes_vae.terms import RowSource as RowSource
    from bayes_vae.terms import log_terms as log_terms
    from bayes_vae.terms.averages import Average as Average
    from bayes_vae.terms.bits import bits_per_dimension as bits_per_dimension
    from bayes_vae.training import RefittedPrior as RefittedPrior
    from bayes_vae.training import fit as fit
    from bayes_vae.training import refit_prior as refit_prior
    from bayes_vae.vocabulary.readings import RankShape as RankShape
    from bayes_vae.vocabulary.readings import Reading as Reading

__version__ = "0.1.0"

_HOMES = {
    "AggregatePosteriorTerms": "estimators",
    "AnnealedEstimate": "estimators",
    "Average": "terms.averages",
    "BayesRuleOnGrid": "estimators",
    "BidirectionalBounds": "estimators",
    "Codes": "estimators",
    "Comparison": "estimators",
    "Diagnosis": "diagnosis",
    "DoublyReparameterizedObjective": "objectives",
    "Elbo": "objectives",
    "ElboTerms": "estimators",
    "EnumeratedElbo": "objectives",
    "Evaluation": "estimators",
    "GuideCalibration": "estimators",
    "ImportanceWeightedObjective": "objectives",
    "Imputation": "posterior",
    "InferenceGap": "estimators",
    "LogEvidenceEstimate": "estimators",
    "LogTerms": "terms",
    "ModelComparison": "estimators.model_comparison",
    "Options": "terms",
    "PosteriorDraws": "posterior",
    "Provenance": "terms",
    "QuadratureEstimate": "estimators",
    "RankShape": "vocabulary.readings",
    "RateDistortion": "estimators",
    "Reading": "vocabulary.readings",
    "RefittedPrior": "training",
    "RowSource": "terms",
    "Rows": "terms",
    "Run": "runs",
    "Rung": "estimators.rungs.rung",
    "Scores": "estimators",
    "StickingTheLandingObjective": "objectives",
    "aggregate_posterior_terms": "estimators",
    "annealed_log_evidence": "estimators",
    "bayes_rule_on_grid": "estimators",
    "bidirectional_bounds": "estimators",
    "bits_per_dimension": "terms.bits",
    "calibrate_guide": "estimators",
    "compare": "estimators",
    "compare_models": "runs",
    "compare_runs": "runs",
    "diagnose": "diagnosis",
    "elbo_terms": "estimators",
    "encode": "estimators",
    "estimate_log_evidence": "estimators",
    "evaluate": "estimators",
    "exact_posterior_draws": "posterior",
    "fit": "training",
    "importance_weighted_bound": "estimators",
    "impute": "posterior",
    "inference_gap": "estimators",
    "interpolate": "posterior",
    "load": "runs",
    "load_data": "data",
    "log_evidence_from_weights": "estimators",
    "log_terms": "terms",
    "netcdf_bytes": "posterior.arviz_export",
    "nuts_draws": "posterior",
    "pair_from_networks": "pairs",
    "posterior_draws": "posterior",
    "quadrature_log_evidence": "estimators",
    "rate_distortion": "estimators",
    "refit_prior": "training",
    "reconstruct": "posterior",
    "report_pair": "report",
    "sample": "posterior",
    "save": "runs",
    "score": "estimators",
    "to_arviz": "posterior.arviz_export",
    "write_report": "report",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bayes_vae' has no attribute {name!r}")
    return getattr(importlib.import_module(f"bayes_vae.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
