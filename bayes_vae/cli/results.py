"""Results as plain JSON types, each figure with all that it needs beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayes_vae.averages import Average
    from bayes_vae.elbo import ElboTerms
    from bayes_vae.evidence import LogEvidenceEstimate
    from bayes_vae.ladder import Comparison
    from bayes_vae.terms import Provenance

__all__ = ["SYMBOLS", "bayes_terms", "figure", "ladder", "reliability"]

SYMBOLS = {
    "expected_log_likelihood": "E_q log p(x|z)",
    "kl_to_prior": "KL(q(z|x) ‖ p(z))",
    "elbo": "ELBO",
    "log_evidence": "log p(x)",
}
"""Name in the code → symbol."""


def figure(average: Average, estimator: str, provenance: Provenance) -> dict[str, Any]:
    """A data set's figure with its errors, K, N, estimator, data policy, KL weight and seed."""
    return {
        "symbol": SYMBOLS.get(average.name, average.name),
        "name": average.name,
        "value": average.value,
        "monte_carlo_error": average.monte_carlo_error,
        "data_error": average.data_error,
        "num_particles": average.num_particles,
        "num_observations": average.num_observations,
        "estimator": estimator,
        "data_policy": provenance.data_policy,
        "kl_weight": provenance.kl_weight,
        "seed": provenance.seed,
        "note": average.note,
    }


def bayes_terms(terms: ElboTerms, estimate: LogEvidenceEstimate) -> dict[str, dict[str, Any]]:
    """The ELBO, its two terms and the log evidence, name → figure."""
    closed = terms.kl == "analytic"
    estimators = {
        "expected_log_likelihood": "mean over draws from q",
        "kl_to_prior": "closed form" if closed else "mean over draws from q",
        "elbo": "mean over draws from q" + (", KL in closed form" if closed else ""),
    }
    averages = terms.averages()
    figures = {name: figure(averages[name], estimators[name], terms.provenance) for name in estimators}
    evidence = estimate.averages()["log_evidence"]
    name = f"{estimate.estimator} sampling from q, L_{estimate.num_particles}"
    return {**figures, "log_evidence": figure(evidence, name, estimate.provenance)}


def reliability(estimate: LogEvidenceEstimate) -> dict[str, Any]:
    """What says how far to trust an importance estimate."""
    known = not bool(estimate.pareto_k.isnan().any())
    above = float((~estimate.converged).double().mean()) if known else None
    return {
        "num_particles": estimate.num_particles,
        "effective_sample_size_median": float(estimate.effective_sample_size.median()),
        "pareto_k_threshold": estimate.pareto_k_threshold if known else None,
        "pareto_k_share_above": above,
        "doubling_step": estimate.averages()["doubling_step"].value,
        "note": estimate.note,
    }


def ladder(comparison: Comparison) -> dict[str, Any]:
    """The rungs from the ELBO up, what they say, and how far to trust the last."""
    sampled = "importance sampling from q, nested groups of one set of draws"
    named = {"exact": "closed form", "annealed": "annealed importance sampling from the guide"}
    return {
        "rungs": [
            {
                **figure(rung.average, named.get(rung.name, sampled), comparison.provenance),
                "seconds": rung.seconds,
            }
            for rung in comparison.rungs
        ],
        "sentence": comparison.sentence(),
        "reliability": reliability(comparison.estimate),
        "num_particles": comparison.num_particles,
        "num_observations": comparison.num_observations,
        "seconds": comparison.seconds,
    }
