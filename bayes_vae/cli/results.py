"""Results as plain JSON types, each figure with all that it needs beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bayes_vae.vocabulary.symbols import symbol_of

if TYPE_CHECKING:
    from bayes_vae.estimators import AnnealedEstimate, LogEvidenceEstimate
    from bayes_vae.estimators.evaluation import Evaluation
    from bayes_vae.estimators.ladder import Comparison
    from bayes_vae.terms import Provenance
    from bayes_vae.terms.averages import Average

__all__ = ["annealing", "bits", "evaluation", "figure", "ladder", "reliability"]


def figure(average: Average, estimator: str, provenance: Provenance) -> dict[str, Any]:
    """A data set's figure with its errors, K, N, estimator, data policy, KL weight and seed."""
    return {
        "symbol": symbol_of(average.name),
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
        "pixel_seed": provenance.pixel_seed,
        **({"missing_share": provenance.missing_share} if provenance.missing_share else {}),
        "note": str(average.reading),
        "reading": average.reading.as_json(),
    }


def _parts(result: Evaluation, provenance: Provenance) -> dict[str, Any]:
    """The expected log likelihood of each group of columns or observed site, the KL of each latent site: if several."""
    terms, words = result.terms, result.estimators
    found = {
        "groups": (terms.averages_by_group(), words["expected_log_likelihood"]),
        "latent_sites": (terms.averages_by_site(), words["kl_to_prior"]),
    }
    return {
        key: {name: figure(one, estimator, provenance) for name, one in parts.items()}
        for key, (parts, estimator) in found.items()
        if parts
    }


def evaluation(result: Evaluation) -> dict[str, Any]:
    """Every term, name → figure, and how far to trust the log evidence."""
    averages, origin = result.averages(), result.terms.provenance
    terms = {name: figure(averages[name], words, origin) for name, words in result.estimators.items()}
    terms["importance_weighted_bound"]["symbol"] = f"L_{result.bound.num_particles}"
    return {
        "terms": terms,
        **_parts(result, origin),
        "reliability": reliability(result.bound),
        "annealing": annealing(result.annealed, result.why_not_annealed),
        "left_out": dict(result.left_out),
        "leading": result.leading.name,
        "why_leading": result.why_leading,
    }


def bits(term: dict[str, Any], model: Any) -> dict[str, Any] | None:
    """A figure of log p(x) as bits per dimension, with its errors.

    None where the likelihood is a density, and where numbers are missing: each observation then has another number of
    them, and the mean of log p(x) no number to be divided by.
    """
    from bayes_vae.errors import NotDefinedError
    from bayes_vae.terms.bits import bits_per_dimension

    if term.get("missing_share"):
        return None
    try:
        value = bits_per_dimension(term["value"], model)
    except NotDefinedError:
        return None
    errors = {name: -bits_per_dimension(term[name], model) for name in ("monte_carlo_error", "data_error")}
    return {"value": value, **errors, "estimator": term["estimator"]}


def reliability(estimate: LogEvidenceEstimate) -> dict[str, Any]:
    """What says how far to trust an importance estimate."""
    known = not bool(estimate.pareto_k.isnan().any())
    above = ~estimate.vouched
    return {
        "num_particles": estimate.num_particles,
        "effective_sample_size_median": float(estimate.effective_sample_size.median()),
        "pareto_k_threshold": estimate.pareto_k_threshold if known else None,
        "pareto_k_share_above": float(above.double().mean()) if known else None,
        "share_missed": float(estimate.missed.double().mean()),
        "doubling_step": estimate.averages()["doubling_step"].value,
        "note": str(estimate.reading),
        "reading": estimate.reading.as_json(),
    }


def annealing(estimate: AnnealedEstimate | None, why_not: str) -> dict[str, Any]:
    """How the annealed chains did, averaged over the observations; only a note where there are none."""
    if estimate is None:
        return {"note": why_not}
    return {
        "num_temperatures": estimate.num_temperatures,
        "num_chains": estimate.num_chains,
        "start": estimate.start,
        "acceptance": float(estimate.acceptance.mean()),
        "effective_sample_size": float(estimate.effective_sample_size.mean()),
        "spread": float(estimate.spread.mean()),
        "doubling_step": float(estimate.doubling_step.mean()),
        "seconds": estimate.seconds,
        "note": "",
    }


def ladder(comparison: Comparison) -> dict[str, Any]:
    """The rungs from the ELBO up, what they say, and how far to trust them."""
    from bayes_vae.estimators.rungs.rung import beside

    top = comparison.leading
    return {
        "rungs": [
            {**figure(beside(top, rung), rung.estimator, comparison.provenance), "seconds": rung.seconds}
            for rung in comparison.rungs
        ],
        "sentence": comparison.sentence(),
        "left_out": dict(comparison.left_out),
        "reliability": reliability(comparison.estimate),
        "annealing": annealing(comparison.annealed, comparison.why_not_annealed),
        "num_particles": comparison.num_particles,
        "num_observations": comparison.num_observations,
        "seconds": comparison.seconds,
    }
