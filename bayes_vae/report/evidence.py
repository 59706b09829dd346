"""The sections on log p(x): the ladder, how far each estimate can be trusted, and what the ELBO lacks."""

from __future__ import annotations

import math
from functools import partial

from bayes_vae.plots import draw_gap_parts, draw_ladder
from bayes_vae.plots.reliability_figures import draw_pareto_k, places_by_k
from bayes_vae.report.contents import Missing, ReportContents
from bayes_vae.report.drawing import draw
from bayes_vae.report.page_elements import Drawings, Section, Table
from bayes_vae.report.words import average_text, conditions
from bayes_vae.terms.averages import Average
from bayes_vae.vocabulary.number_text import (
    capitalized,
    count_of,
    dash,
    error_text,
    estimate_text,
    first_of,
    joined,
    share,
    value_text,
)
from bayes_vae.vocabulary.readings import sentence, words

__all__ = ["gap_section", "ladder_section", "reliability_section"]

GAPS = ("approximation", "amortization")

MONTE_CARLO = "bars and bands are Monte-Carlo errors"


def ladder_section(contents: ReportContents) -> Section:
    """The rungs as a figure and a table."""
    comparison = contents.comparison
    rungs = list(comparison.table_rows().items())
    listed = ", ".join(f"{name} {estimate_text(average.value)}" for name, average in rungs)
    drawing = draw(
        lambda axes: draw_ladder(axes, comparison).margins(y=0.26), 5.0, 3.6, f"The ladder in nats: {listed}."
    )
    caption = conditions(
        contents,
        comparison.num_particles,
        comparison.num_observations,
        estimator="importance sampling from q, nested groups of one set of draws; the lines as named below",
        error=f"{MONTE_CARLO}; the data error, {error_text(rungs[0][1].data_error)}, is shared by all rungs",
    )
    table = Table(
        ("rung", "value", "± Monte Carlo", "± data", "seconds", "estimator", "reads as"),
        [
            (
                rung.name,
                value_text(average.value),
                error_text(average.monte_carlo_error),
                error_text(average.data_error),
                f"{rung.seconds:.1f}",
                rung.estimator,
                words(average.reading),
            )
            for rung, (_, average) in zip(comparison.rungs, rungs, strict=True)
        ],
        "The same rungs under the same conditions; the bounds share their draws, and so their seconds.",
        numeric=(1, 2, 3, 4),
    )
    why_not = [f"{capitalized(left_out.rstrip('.'))}." for left_out in comparison.left_out.values()]
    return Section(
        "ladder",
        "From the ELBO up to log p(x)",
        "How much tighter do the bounds get with more particles, and have they arrived?",
        (dash(comparison.sentence()), *why_not),
        (Drawings((drawing,), caption), table),
    )


def reliability_section(contents: ReportContents) -> Section:
    """k̂ by observation, with the effective sample size and the last doubling step."""
    title, question = "How far each estimate can be trusted", "Is L_K an estimate of log p(x), or only a lower bound?"
    estimate = contents.comparison.estimate
    known = ~estimate.pareto_k.isnan()
    if not bool(known.any()):
        return Section(
            "reliability",
            title,
            question,
            missing=f"there is no k̂. L_{estimate.num_particles}: {sentence(estimate.reading)}.",
        )
    missed = estimate.reading.missed
    failed = estimate.reading.failed - missed
    middle, threshold = float(estimate.pareto_k[known].median()), estimate.pareto_k_threshold
    bound, count = f"L_{estimate.num_particles}", estimate.num_observations
    so = (
        f"there {bound} is a lower bound that has not converged, and it has no standard error"
        if failed
        else f"{bound} reads as an estimate {'elsewhere' if missed else 'everywhere'}"
    )
    more = (
        f" For {missed:,} more, draws of the prior find so much of p(x) where the guide does not draw that {bound} is "
        "too low, whatever k̂ says."
        if missed
        else ""
    )
    above = f"for {share(failed / count)} of the observations ({failed:,} of {count:,})" if failed else "nowhere"
    size, step = float(estimate.effective_sample_size.median()), estimate.averages()["doubling_step"]
    places = places_by_k(estimate.pareto_k)
    drawing = draw(
        lambda axes: draw_pareto_k(axes, estimate, places).set_xlabel("observations, sorted by k̂"),
        4.6,
        2.9,
        f"k̂ of each observation, sorted: median {middle:.2f}, above the threshold {threshold:.2f} {above}.",
    )
    caption = conditions(
        contents,
        estimate.num_particles,
        count,
        estimator="generalized Pareto fit to the largest weights (k̂ has no unit)",
    )
    return Section(
        "reliability",
        title,
        question,
        (
            f"k̂, the tail index of the importance weights, exceeds its threshold {threshold:.2f} {above}: {so}.{more}",
            f"The median effective sample size is {size:.1f} of {count_of(estimate.num_particles, 'draw')}, and the "
            f"last doubling of draws raised the bound by {_step_text(step)} nats.",
        ),
        (Drawings((drawing,), caption),),
    )


def _step_text(step: Average) -> str:
    return average_text(step) if abs(step.value) >= 0.001 else "less than 0.001"


def gap_section(contents: ReportContents) -> Section:
    """The inference gap as approximation and amortization gap."""
    title = "What the ELBO lacks: the family or the encoder"
    question = "Would a richer guide help, or a better trained encoder?"
    gap = contents.gap
    if isinstance(gap, Missing):
        return Section("gap", title, question, missing=gap.reason)
    averages = gap.averages()
    whole = average_text(averages["inference_gap"])
    split = [f"{part} {average_text(averages[f'{part}_gap'])}" for part in GAPS if f"{part}_gap" in averages]
    of_which = f", of which {joined(split)}" if split else ""
    drawing = draw(
        partial(draw_gap_parts, gap=gap), 4.6, 2.1 if split else 1.1, f"Bars: inference gap {whole} nats{of_which}."
    )
    searched = "; best q of the family searched for each observation" if split else ""
    caption = conditions(
        contents,
        gap.num_particles,
        gap.num_observations,
        estimator=f"log p(x): {gap.estimator}{searched}",
        error="Monte Carlo and data in quadrature",
    )
    over, why = first_of(gap.num_observations), capitalized(gap.why_not_split)
    unsplit = f"Over {over} the ELBO lacks {whole} nats of log p(x). {why}"
    first = _split_sentence(averages) if split else unsplit
    return Section(
        "gap",
        title,
        question,
        (first, *(f"Note: {dash(failure)}" for failure in gap.failures)),
        (Drawings((drawing,), caption),),
    )


def _split_sentence(averages: dict[str, Average]) -> str:
    """Whose fault the gap is."""
    whole, family, encoder = (averages[f"{name}_gap"] for name in ("inference", *GAPS))
    difference = encoder.value - family.value
    if abs(difference) <= 2 * math.hypot(encoder.known_error, family.known_error):
        verdict = "neither is clearly the larger."
    elif difference > 0:
        verdict = (
            "most of it is due to the encoder. A larger encoder, or one trained longer, could win that back in the "
            "same family."
        )
    else:
        verdict = "most of it is due to the family. A guide that is not a factorized normal could win that back."
    return (
        f"Over {first_of(whole.num_observations)} the ELBO lacks {average_text(whole)} nats "
        f"of log p(x): {average_text(family)} because the best q of its family does not match the exact posterior, "
        f"{average_text(encoder)} because one encoder serves all observations; {verdict}"
    )
