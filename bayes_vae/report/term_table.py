"""The table of terms: symbol, what it is, the function that computes it, and the value with its errors."""

from __future__ import annotations

from dataclasses import dataclass

from bayes_vae.report.contents import Missing, ReportContents
from bayes_vae.report.page_elements import Section, Table
from bayes_vae.report.words import average_text, conditions, error_cell, value_cell
from bayes_vae.terms.averages import Average

__all__ = ["Term", "terms", "terms_section"]

DRAWS = "mean over draws from q"


@dataclass(frozen=True)
class Term:
    """One row.

    Attributes:
        symbol: as in the formulas.
        words: what it is.
        function: a function of ``bayes_vae`` and the attribute of its result, with (…) for the arguments.
        average: the figure over the data.
        estimator: how it was computed.
        reads: how to read it.
    """

    symbol: str
    words: str
    function: str
    average: Average
    estimator: str
    reads: str


def terms(contents: ReportContents) -> list[Term]:
    """Every term that the contents hold."""
    return [*_evidence(contents), *_references(contents), *_gaps(contents), *_aggregate(contents)]


def _evidence(contents: ReportContents) -> list[Term]:
    result, averages = contents.evaluation, contents.evaluation.averages()
    closed = result.terms.kl == "analytic"
    elbo = DRAWS + (", KL in closed form" if closed else "")
    bound = result.bound
    annealed = result.annealed is not None
    evidence = "annealed_log_evidence(…).log_evidence" if annealed else "estimate_log_evidence(…).log_evidence"
    return [
        Term(
            "E_q log p(x|z)",
            "expected log likelihood: reconstruction",
            "elbo_terms(…).expected_log_likelihood",
            averages["expected_log_likelihood"],
            DRAWS,
            "estimate",
        ),
        Term(
            "KL(q(z|x) ‖ p(z))",
            "KL of the guide to the prior: the rate",
            "elbo_terms(…).kl_to_prior",
            averages["kl_to_prior"],
            "closed form" if closed else DRAWS,
            "exact" if closed else "estimate",
        ),
        Term("ELBO", "the first minus the second", "elbo_terms(…).elbo", averages["elbo"], elbo, "lower bound"),
        Term(
            f"L_{bound.num_particles}",
            "importance-weighted bound",
            "estimate_log_evidence(…).log_evidence",
            averages["importance_weighted_bound"],
            bound.estimator,
            bound.note.partition(":")[0] or "estimate",
        ),
        Term(
            "log p(x)",
            "log evidence",
            evidence,
            averages["log_evidence"],
            result.estimator,
            averages["log_evidence"].note.partition(":")[0] or "estimate, low in expectation",
        ),
        Term(
            "log p(x) − ELBO",
            "inference gap: KL(q(z|x) ‖ p(z|x))",
            "evaluate(…).inference_gap",
            averages["inference_gap"],
            f"log p(x) {result.estimator}, minus the ELBO",
            "estimate" if annealed else "lower bound",
        ),
    ]


def _references(contents: ReportContents) -> list[Term]:
    """The exact evidence or its quadrature, where the ladder ends in one."""
    functions = {
        "exact": ("log evidence, exact", "compare(…).rungs"),
        "quadrature": ("log evidence by quadrature", "quadrature_log_evidence(…).log_evidence"),
    }
    return [
        Term("log p(x)", *functions[rung.name], rung.average, rung.estimator, "exact" if not rung.note else rung.note)
        for rung in contents.comparison.rungs
        if rung.name in functions
    ]


def _gaps(contents: ReportContents) -> list[Term]:
    gap = contents.gap
    if isinstance(gap, Missing):
        return []
    averages = gap.averages()
    if "approximation_gap" not in averages:
        return []
    estimator = f"log p(x): {gap.estimator}; q* found for each x"
    return [
        Term(
            "log p(x) − ELBO(q*)",
            "approximation gap: the family of q",
            "inference_gap(…).approximation_gap",
            averages["approximation_gap"],
            estimator,
            "estimate, at most",
        ),
        Term(
            "ELBO(q*) − ELBO(q)",
            "amortization gap: the encoder",
            "inference_gap(…).amortization_gap",
            averages["amortization_gap"],
            "same draws for both; q* found for each x",
            "estimate, at least",
        ),
    ]


def _aggregate(contents: ReportContents) -> list[Term]:
    found = contents.aggregate
    if isinstance(found, Missing):
        return []
    averages = found.averages()
    words = {
        "index_code_mutual_information": ("I(n; z)", "mutual information of observation and code"),
        "marginal_kl_to_prior": ("KL(q(z) ‖ p(z))", "KL of the aggregate posterior to the prior"),
        "total_correlation": ("KL(q(z) ‖ Π q(z_d))", "total correlation"),
        "dimensionwise_kl": ("Σ KL(q(z_d) ‖ p(z_d))", "dimension-wise KL"),
    }
    mixture = "draws from q against the mixture over all N"
    return [
        Term(
            symbol,
            text,
            f"aggregate_posterior_terms(…).{name}",
            averages[name],
            mixture,
            averages[name].note or "estimate",
        )
        for name, (symbol, text) in words.items()
        if name in averages
    ]


def terms_section(contents: ReportContents) -> Section:
    """The table, and what it says first."""
    rows = terms(contents)
    averages = contents.evaluation.averages()
    table = Table(
        ("symbol", "value", "± Monte Carlo", "± data", "function", "what it is", "K", "N", "estimator", "reads as"),
        [
            (
                term.symbol,
                value_cell(term.average.value),
                error_cell(term.average.monte_carlo_error),
                error_cell(term.average.data_error),
                f"bv.{term.function}",
                term.words,
                f"{term.average.num_particles:,}" if term.average.num_particles else "–",
                f"{term.average.num_observations:,}",
                term.estimator,
                term.reads,
            )
            for term in rows
        ],
        conditions(
            contents,
            "as in the table",
            contents.num_observations,
            estimator="as in the table",
            error="Monte Carlo, from finite K, and data, from finite N, apart",
        ).replace(f"N = {contents.num_observations:,} test observations", "N = as in the table, test observations"),
        numeric=(1, 2, 3, 6, 7),
        code=(4,),
    )
    return Section(
        "terms",
        "The terms of Bayes’ rule",
        "How probable are the data under the model, and what is that number made of?",
        evidence_sentences(contents, averages),
        (table,),
    )


def _these(count: int) -> str:
    return "this one observation" if count == 1 else f"these {count:,} observations"


def evidence_sentences(contents: ReportContents, averages: dict[str, Average]) -> tuple[str, ...]:
    """log p(x), the ELBO's two terms, and how far it falls short."""
    result = contents.evaluation
    evidence, gap = averages["log_evidence"], averages["inference_gap"]
    at_least = "at least " if result.annealed is None and evidence.note else ""
    return (
        f"The model gives {_these(contents.num_observations)} a mean log p(x) of {at_least}"
        f"{average_text(evidence)} nats ({result.estimator}).",
        f"The ELBO is {average_text(averages['elbo'])}: {average_text(averages['expected_log_likelihood'])} of "
        f"reconstruction minus {average_text(averages['kl_to_prior'])} of KL to the prior. It falls short of log p(x) "
        "by "
        f"{at_least}{average_text(gap)} nats, which is the KL from the guide to the exact posterior.",
    )
