"""The table of terms: symbol, what it is, the function that computes it, and the value with its errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bayes_vae.parts.registry import rows as rows_of
from bayes_vae.report.contents import Missing, ReportContents
from bayes_vae.report.page_elements import Section, Table
from bayes_vae.report.words import average_text, conditions
from bayes_vae.terms.averages import Average
from bayes_vae.vocabulary.number_text import error_text, value_text
from bayes_vae.vocabulary.readings import words
from bayes_vae.vocabulary.symbols import TERMS, symbol_of

__all__ = ["Term", "terms", "terms_section"]

AGGREGATE = ("index_code_mutual_information", "marginal_kl_to_prior", "total_correlation", "dimensionwise_kl")


@dataclass(frozen=True)
class Term:
    """One row.

    Attributes:
        symbol: as in the formulas.
        words: what it is.
        function: a function of ``bayes_vae`` and the attribute of its result, with (…) for the arguments.
        average: the figure over the data.
        estimator: how it was computed.
    """

    symbol: str
    words: str
    function: str
    average: Average
    estimator: str


def terms(contents: ReportContents) -> list[Term]:
    """Every term that the contents hold."""
    return [
        *_evidence(contents),
        *_parts(contents),
        *_references(contents),
        *_gaps(contents),
        *_aggregate(contents),
    ]


def _term(averages: Mapping[str, Average], name: str, estimator: str, **other: str) -> Term:
    """A row as the vocabulary has it, but for what is given."""
    known = TERMS[name]
    shown = {"symbol": known.symbol, "words": known.words, "function": known.call, **other}
    return Term(**shown, average=averages[name], estimator=estimator)


def _evidence(contents: ReportContents) -> list[Term]:
    result, averages = contents.evaluation, contents.evaluation.averages()
    other = {
        "importance_weighted_bound": {"symbol": f"L_{result.bound.num_particles}"},
        "log_evidence": {"function": result.leading.function},
        "inference_gap": {"function": "evaluate(…).inference_gap"},
    }
    return [_term(averages, name, words, **other.get(name, {})) for name, words in result.estimators.items()]


def _parts(contents: ReportContents) -> list[Term]:
    """The parts of each group of columns or observed site, and of each latent site, where there are several."""
    found, words = contents.evaluation.terms, contents.evaluation.estimators
    groups = [
        Term(
            symbol_of(one.name),
            f"{name}'s part of the expected log likelihood",
            "elbo_terms(…).by_group",
            one,
            words["expected_log_likelihood"],
        )
        for name, one in found.averages_by_group().items()
    ]
    return groups + [
        Term(
            symbol_of(one.name),
            f"{name}'s part of the KL to the prior",
            "elbo_terms(…).kl_by_site",
            one,
            words["kl_to_prior"],
        )
        for name, one in found.averages_by_site().items()
    ]


def _references(contents: ReportContents) -> list[Term]:
    """The other estimates of log p(x) but L_K, which do not lead."""
    result, words = contents.evaluation, {row.name: row.help for row in rows_of("rung")}
    return [
        Term(TERMS["log_evidence"].symbol, words.get(rung.name, rung.name), rung.function, rung.average, rung.estimator)
        for rung in result.rungs
        if not rung.nested and rung is not result.leading
    ]


def _gaps(contents: ReportContents) -> list[Term]:
    gap = contents.gap
    if isinstance(gap, Missing) or gap.split is None:
        return []
    averages, best = gap.averages(), "q* found for each x"
    return [
        _term(averages, "approximation_gap", f"log p(x): {gap.estimator}; {best}"),
        _term(averages, "amortization_gap", f"same draws for both; {best}"),
    ]


def _aggregate(contents: ReportContents) -> list[Term]:
    found = contents.aggregate
    if isinstance(found, Missing):
        return []
    averages, mixture = found.averages(), "draws from q against the mixture over all N"
    return [_term(averages, name, mixture) for name in AGGREGATE if name in averages]


def terms_section(contents: ReportContents) -> Section:
    """The table, and what it says first."""
    rows = terms(contents)
    averages = contents.evaluation.averages()
    table = Table(
        ("symbol", "value", "± Monte Carlo", "± data", "function", "what it is", "K", "N", "estimator", "reads as"),
        [
            (
                term.symbol,
                value_text(term.average.value),
                error_text(term.average.monte_carlo_error),
                error_text(term.average.data_error),
                f"bv.{term.function}",
                term.words,
                f"{term.average.num_particles:,}" if term.average.num_particles else "–",
                f"{term.average.num_observations:,}",
                term.estimator,
                words(term.average.reading),
            )
            for term in rows
        ],
        conditions(
            contents,
            "as in the table",
            f"as in the table, test observations of {contents.data['name']}",
            estimator="as in the table",
            error="Monte Carlo, from finite K, and data, from finite N, apart",
        ),
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
    at_least = "at least " if evidence.reading.kind == "lower_bound_not_converged" else ""
    failed = "" if evidence.reading.settled else f"; {evidence.reading}"
    falls = (
        f"It falls short of log p(x) by {at_least}{average_text(gap)} nats, which is the KL from the guide to the "
        "exact posterior."
    )
    if gap.reading.equal:
        falls = f"It equals log p(x) within error: the difference is {average_text(gap)} nats."
    return (
        f"The model gives {_these(contents.num_observations)} a mean log p(x) of {at_least}"
        f"{average_text(evidence)} nats ({result.estimator}{failed}).",
        f"The ELBO is {average_text(averages['elbo'])}: {average_text(averages['expected_log_likelihood'])} of "
        f"reconstruction minus {average_text(averages['kl_to_prior'])} of KL to the prior. {falls}",
        *([result.why_leading] if result.why_leading else []),
    )
