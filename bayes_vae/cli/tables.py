"""Results as tables for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bayes_vae.cli.output import table
from bayes_vae.vocabulary.conditions import PER_OBSERVATION
from bayes_vae.vocabulary.conditions import conditions as conditions_line
from bayes_vae.vocabulary.number_text import capitalized, error_text, value_text
from bayes_vae.vocabulary.readings import Reading, why_not_converged, words

__all__ = ["bits_text", "conditions", "evidence_lines", "ladder_table", "terms_table", "trust_text"]

ERRORS = ("value", "± Monte Carlo", "± data")

STARTS = {
    "fitted normal": "a normal fitted to each observation, from the guide's",
    "mixture of normals": "normals fitted to the modes of each observation, from the guide and from draws of the prior",
    "guide": "the guide",
    "prior": "the prior",
}
"""Where annealing starts, in words."""

Figures = Mapping[str, Any]


def terms_table(terms: Mapping[str, Figures]) -> str:
    """Symbol, name, value and errors of each term, and how it reads."""
    rows = [[term["symbol"], term["name"], *_numbers(term), words(reading_of(term))] for term in terms.values()]
    return table(["symbol", "name", *ERRORS, "reads as"], rows, right=(2, 3, 4))


def bits_text(bits: Figures | None) -> list[str]:
    """A line with log p(x) in bits per dimension; none where there are no bits."""
    if bits is None:
        return []
    value, monte_carlo, data = (f"{bits[name]:.4f}" for name in ("value", "monte_carlo_error", "data_error"))
    error = "" if math.isnan(bits["monte_carlo_error"]) else f" ± {monte_carlo} Monte Carlo"
    return [
        f"{value} bits per dimension{error} ± {data} data, from log p(x): an upper bound where log p(x) is a lower one."
    ]


def parts_text(result: Figures) -> list[str]:
    """A line for each group of columns, or observed site, and for each latent site, where there are several."""
    parts = [part for key in ("groups", "latent_sites") for part in result.get(key, {}).values()]
    if not parts:
        return []
    rows = [[part["symbol"], *_numbers(part)] for part in parts]
    return ["", table(["of which", *ERRORS], rows, right=(1, 2, 3))]


def evidence_lines(evidence: Figures) -> list[str]:
    """What a table is too narrow for: for how many observations log p(x) did not meet its estimator's criterion."""
    reading = reading_of(evidence)
    return [] if reading.settled else ["", f"log p(x), {evidence['estimator']}: {reading}."]


def ladder_table(rungs: Sequence[Figures]) -> str:
    """The rungs from the ELBO up."""
    rows = [[rung["name"], *_numbers(rung), f"{rung['seconds']:.1f}", words(reading_of(rung))] for rung in rungs]
    return table(["rung", *ERRORS, "seconds", "reads as"], rows, right=(1, 2, 3, 4))


def _numbers(figures: Figures) -> list[str]:
    errors = [error_text(figures[name]) for name in ("monte_carlo_error", "data_error")]
    return [value_text(figures["value"]), *errors]


def reading_of(figures: Figures) -> Reading:
    """How a figure reads, from its JSON."""
    return Reading(**figures["reading"])


def reliability_text(reliability: Figures) -> str:
    """One or two lines: effective sample size, k̂, and the last doubling step."""
    particles = reliability["num_particles"]
    size = f"effective sample size {reliability['effective_sample_size_median']:.1f} of {particles:,} (median)"
    share = reliability["pareto_k_share_above"]
    if share is None:
        tail = why_not_converged(reading_of(reliability))
    else:
        tail = f"k̂ above {reliability['pareto_k_threshold']:.2f} for {share:.0%} of the observations"
        missed = reliability["share_missed"]
        tail += f"; draws of the prior find more of p(x) for {missed:.0%}" if missed else ""
    step = f"the last doubling gained {value_text(reliability['doubling_step'])}"
    half = particles // 2
    return f"How far to trust L_{particles}: {size}; {tail};\n{step} (L_{particles} − L_{half})."


def annealing_text(annealing: Figures) -> str:
    """One line on the annealed chains, or why there are none."""
    if "start" not in annealing:
        return f"{capitalized(annealing['note'])}."
    step = annealing["doubling_step"]
    doubling = "" if math.isnan(step) else f"; the last doubling gained {value_text(step)}"
    start = STARTS[annealing["start"]]
    return (
        f"Annealed from {start}: {annealing['num_temperatures']} temperatures, {annealing['num_chains']} chains,\n"
        f"acceptance {annealing['acceptance']:.2f}, spread over the chains {annealing['spread']:.2f} nats{doubling}."
    )


def conditions(term: Figures, data: str, what: str = "test observations") -> str:
    """What every figure of a table was measured under."""
    rows, beside = f"{term['num_observations']:,} {what} of {data}", ("kl_weight", "seed", "pixel_seed")
    said = conditions_line(
        term["num_particles"],
        rows,
        term["data_policy"],
        unit=capitalized(PER_OBSERVATION),
        **{name: term[name] for name in beside},
        missing_share=term.get("missing_share", 0.0),
    )
    return f"{said}."


def trust_text(result: Figures, term: Figures) -> str:
    """What stands below a table: how the annealing went, how far to trust L_K, and the conditions."""
    others = [f"{capitalized(why.rstrip('.'))}." for name, why in result["left_out"].items() if name != "annealed"]
    others += filter(None, [result.get("why_leading", "")])  # a ladder says it in its sentence
    below = [annealing_text(result["annealing"]), *others, reliability_text(result["reliability"])]
    return "\n".join([*below, conditions(term, result["data"]["name"])])
