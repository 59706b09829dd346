"""The sections on the latent codes: the aggregate posterior, KL by dimension, and whether the guide is calibrated."""

from __future__ import annotations

from functools import partial

from bayes_vae.errors import NotDefinedError
from bayes_vae.plots import draw_aggregate_parts, draw_coverage, draw_kl_per_dimension, draw_ranks
from bayes_vae.report.contents import Missing, ReportContents
from bayes_vae.report.drawing import draw
from bayes_vae.report.page_elements import Drawings, Section
from bayes_vae.report.words import average_text, conditions
from bayes_vae.terms.averages import Average
from bayes_vae.vocabulary.conditions import conditions as conditions_line
from bayes_vae.vocabulary.number_text import count_of, dash, joined, share
from bayes_vae.vocabulary.symbols import TERMS, dimension_symbol

__all__ = ["aggregate_section", "calibration_section", "kl_section"]

HISTOGRAMS = 4
"""Dimensions whose ranks are shown: the worst."""

AGGREGATE = ("index_code_mutual_information", "total_correlation", "dimensionwise_kl")

RANKS = (
    "Ranks, and how to read the bars: for each simulated observation the true z is known, and its rank is the "
    "number of draws from q that lie below it. A bar counts the observations whose rank falls into its bin. Level "
    "bars: q is calibrated. High at both ends: q is too narrow. High in the middle: q is too wide. Rising or "
    "falling: q lies too low or too high. The grey band holds 99 % of a calibrated guide’s bars; bars outside it "
    "are dark."
)


def aggregate_section(contents: ReportContents) -> Section:
    """What the mean KL to the prior is made of."""
    title = "The aggregate posterior"
    question = "Do the codes of all data together look like the prior, and how much do they say about x?"
    found = contents.aggregate
    if isinstance(found, Missing):
        return Section("aggregate", title, question, missing=found.reason)
    averages = found.averages()
    information, marginal = averages["index_code_mutual_information"], averages["marginal_kl_to_prior"]
    largest = found.largest_mutual_information
    capped = information.value > 0.95 * largest
    cap = (
        f"That is close to log N = {largest:.2f}, the most that {found.num_observations:,} observations can show, so "
        f"the split says little here: {_more(contents)}."
        if capped
        else f"{count_of(found.num_observations, 'observation')} could show up to log N = {largest:.2f}."
    )
    parts = [f"{TERMS[name].words} {average_text(averages[name])}" for name in AGGREGATE if name in averages]
    drawing = draw(
        partial(draw_aggregate_parts, terms=found),
        4.6,
        2.7,
        f"Bars: mean KL {average_text(averages['kl_to_prior'])} nats, of which {joined(parts)}.",
    )
    caption = conditions(
        contents,
        found.num_particles,
        found.num_observations,
        estimator="draws from q against the exact mixture over all N",
        error="Monte Carlo and data in quadrature",
    )
    return Section(
        "aggregate",
        title,
        question,
        (
            f"Of the mean KL of {average_text(averages['kl_to_prior'])} nats, {average_text(information)} tell "
            f"observations apart and {average_text(marginal)} are the difference between q(z), the mean of q(z|x) "
            f"over the data, and the prior{_halves(averages)}.",
            cap,
        ),
        (Drawings((drawing,), caption),),
    )


def _more(contents: ReportContents) -> str:
    """What would show more."""
    sizes, setting = contents.data.get("sizes", {}), "--num-encoded" if contents.config else "num_encoded"
    return f"raise {setting}" if sizes.get("test", 0) > contents.settings.num_encoded else "there are no more test rows"


def _halves(averages: dict[str, Average]) -> str:
    """The two parts of the marginal KL, where they are known."""
    if "total_correlation" not in averages:
        return ", by dependence between dimensions or within them, which this guide does not tell apart"
    return (
        f": {average_text(averages['total_correlation'])} by dependence between dimensions and "
        f"{average_text(averages['dimensionwise_kl'])} dimension by dimension"
    )


def kl_section(contents: ReportContents) -> Section:
    """Mean KL by dimension, and which are active."""
    title, question = "KL by latent dimension", "How many dimensions does the model use?"
    found = contents.aggregate
    if isinstance(found, Missing):
        return Section("kl-per-dimension", title, question, missing=found.reason)
    try:
        kl, used = found.mean_kl_per_dimension, found.active.tolist()
    except NotDefinedError as error:
        return Section("kl-per-dimension", title, question, missing=str(error))
    order = kl.argsort(descending=True, stable=True)
    count, active = len(kl), sum(used)
    idle = [dimension_symbol(place) for place, in_use in enumerate(used) if not in_use]
    named = f" ({', '.join(idle)} {'is' if len(idle) == 1 else 'are'} not)" if 0 < len(idle) <= 8 else ""
    fifth = max(1, count // 5)
    top = float(kl[order[:fifth]].sum() / kl.sum()) if float(kl.sum()) > 0 else 0.0
    carries = "the largest carries" if fifth == 1 else f"the {fifth} largest carry"
    are = "is" if 1 in (active, count) else "are"
    drawing = draw(
        partial(draw_kl_per_dimension, kl=found.kl_per_dimension, active=found.active),
        4.6,
        2.5,
        f"Bars of the mean KL of {count_of(count, 'dimension')}, from {float(kl.max()):.2f} to {float(kl.min()):.2f} "
        f"nats; {active} active.",
    )
    caption = conditions(
        contents,
        "0 (closed form)",
        found.num_observations,
        estimator="closed form; active where the variance of q’s means exceeds 0.01, hollow where not",
        error="data",
    )
    return Section(
        "kl-per-dimension",
        title,
        question,
        (
            f"{active:,} of {count_of(count, 'dimension')} {are} active{named}; the mean KL of a "
            f"dimension is {float(kl.min()):.2f} to {float(kl.max()):.2f} nats, and {carries} {share(top)} of the "
            f"{float(kl.sum()):.2f} in all.",
        ),
        (Drawings((drawing,), caption),),
    )


def calibration_section(contents: ReportContents) -> Section:
    """Ranks of the true z among the guide's draws, on simulated data."""
    title = "Is the guide calibrated?"
    question = "On data simulated from the model, does q put the true z where it lies?"
    found = contents.calibration
    if isinstance(found, Missing):
        return Section("calibration", title, question, missing=found.reason)
    shown = found.worst_first[:HISTOGRAMS]
    ranks = tuple(
        draw(
            partial(draw_ranks, result=found, dimension=dimension),
            3.3,
            2.2,
            f"Histogram of the ranks of {found.names[dimension]}: {found.readings[dimension]}.",
        )
        for dimension in shown
    )
    nominal = ", ".join(
        f"{level:.0%} intervals hold {held:.1%}"
        for level, held in zip(found.levels, found.pooled_coverage.tolist(), strict=True)
    )
    coverage = draw(partial(draw_coverage, result=found), 4.2, 3.0, f"Coverage against its nominal value: {nominal}.")
    caption = conditions_line(
        f"{found.num_draws} draws",
        f"{count_of(found.num_observations, 'observation')} simulated from the model",
        found.provenance.data_policy,
        f"estimator: simulation-based calibration, the {len(shown)} worst of {count_of(len(found.names), 'dimension')} "
        "shown",
        "errors: binomial.",
        unit="Shares and ranks, no unit",
        kl_weight=found.provenance.kl_weight,
        seed=found.provenance.seed,
        draws="L",
    )
    return Section(
        "calibration",
        title,
        question,
        (dash(found.sentence()),),
        (
            Drawings(
                ranks,
                RANKS,
                "half",
            ),
            Drawings((coverage,), caption),
        ),
    )
