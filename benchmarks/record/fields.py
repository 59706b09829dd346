"""Which attributes of each estimator's result are recorded, all of them public."""

from __future__ import annotations

ELBO = ("expected_log_likelihood", "kl_to_prior", "elbo")
ELBO_FIELDS = (*ELBO, *(f"{name}_error" for name in ELBO), "kl_per_dimension", "num_particles", "averages")
EVIDENCE = (
    *("log_evidence", "effective_sample_size", "pareto_k", "doubling_step", "particles", "num_particles"),
    *("pareto_k_threshold", "pareto_k_thresholds", "converged", "standard_error", "averages"),
)
ANNEALED = (
    *("log_evidence", "log_weights", "acceptance", "doubling_step", "effective_sample_size", "spread"),
    *("standard_error", "num_temperatures", "num_chains", "averages"),
)
GAPS = ("inference_gap", "approximation_gap", "amortization_gap")
AGGREGATE = (
    *("kl_to_prior", "index_code_mutual_information", "marginal_kl_to_prior", "total_correlation", "dimensionwise_kl"),
    *("kl_per_dimension", "posterior_mean_variance", "mean_kl_per_dimension", "active", "active_units", "covariance"),
    *("largest_mutual_information", "averages"),
)


def within(name: str, fields: tuple[str, ...]) -> tuple[str, ...]:
    """The fields of a part of a result."""
    return tuple(f"{name}.{field}" for field in fields)


FIELDS: dict[str, tuple[str, ...]] = {
    "log_terms": ("log_prior", "log_likelihood", "log_guide", "log_joint", "log_importance_weights", "latents"),
    "elbo_terms": ELBO_FIELDS,
    "estimate_log_evidence": EVIDENCE,
    "annealed_log_evidence": ANNEALED,
    "quadrature_log_evidence": (
        *("log_evidence", "refinement_error", "converged", "num_points", "num_dimensions", "averages"),
    ),
    "bidirectional_bounds": ("observations", "lower", "upper", "gap", "num_temperatures", "num_chains", "averages"),
    "inference_gap": (
        *GAPS,
        *(f"{name}_error" for name in GAPS),
        *("log_evidence", "log_evidence_error", "elbo", "elbo_error", "best_elbo", "best_elbo_error", "rounding"),
        *("converged", "num_steps", "averages"),
    ),
    "aggregate_posterior_terms": AGGREGATE,
    "calibrate_guide": (
        *("ranks", "scaled_ranks", "counts", "p_values", "adjusted_p_values", "inside", "coverage", "coverage_error"),
        *("pooled_coverage", "pooled_coverage_error", "calibrated", "worst_first", "num_draws", "num_bins", "levels"),
        "averages",
    ),
    "compare": (
        *("table_rows", *within("estimate", EVIDENCE), *within("annealed", ANNEALED)),
        *("num_particles", "num_observations"),
    ),
    "evaluate": (
        *("log_evidence", "inference_gap", "averages", *within("terms", ELBO_FIELDS)),
        *(*within("bound", EVIDENCE), *within("annealed", ANNEALED)),
    ),
    "draws": (
        *("latents", "log_joint", "acceptance", "step_size", "divergences", "r_hat", "bulk_sample_size"),
        *("tail_sample_size", "mean", "sd", "mean_error", "sd_error", "converged"),
    ),
    "bayes_rule_on_grid": (
        *("first_axis", "second_axis", "log_prior", "log_likelihood", "log_guide", "log_cell", "log_joint"),
        *("log_evidence", "log_posterior", "inference_gap", "refinement_error", "missed_prior_mass"),
        "missed_guide_mass",
    ),
}
"""Estimator → attributes of its result."""
