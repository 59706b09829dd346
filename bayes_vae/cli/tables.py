"""Results as tables for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bayes_vae.cli.output import error_text, table, value_text

__all__ = ["ladder_table", "terms_table", "trust_text"]

ERRORS = ("value", "± Monte Carlo", "± data")

STARTS = {
    "fitted normal": "a normal fitted to each observation, from the guide's",
    "guide": "the guide",
    "prior": "the prior",
}
"""Where annealing starts, in words."""

Figures = Mapping[str, Any]


def terms_table(terms: Mapping[str, Figures]) -> str:
    """Symbol, name, value and errors of each term, and how it reads."""
    rows = [[term["symbol"], term["name"], *_numbers(term), _reading(term)] for term in terms.values()]
    return table(["symbol", "name", *ERRORS, "reads as"], rows, right=(2, 3, 4))


def ladder_table(rungs: Sequence[Figures]) -> str:
    """The rungs from the ELBO up."""
    rows = [[rung["name"], *_numbers(rung), f"{rung['seconds']:.1f}", _short(rung["note"])] for rung in rungs]
    return table(["rung", *ERRORS, "seconds", ""], rows, right=(1, 2, 3, 4))


def _numbers(figures: Figures) -> list[str]:
    errors = [error_text(figures[name]) for name in ("monte_carlo_error", "data_error")]
    return [value_text(figures["value"]), *errors]


def _reading(term: Figures) -> str:
    if term["note"]:
        return _short(term["note"])
    if term["name"] in ("elbo", "importance_weighted_bound"):
        return "lower bound on log p(x)"
    if term["name"] == "inference_gap":
        return "KL(q(z|x) ‖ p(z|x))"
    return "estimate" if term["monte_carlo_error"] else "closed form"


def _short(note: str) -> str:
    return note.partition(":")[0].partition(";")[0]


def reliability_text(reliability: Figures) -> str:
    """One or two lines: effective sample size, k̂, and the last doubling step."""
    particles = reliability["num_particles"]
    size = f"effective sample size {reliability['effective_sample_size_median']:.1f} of {particles:,} (median)"
    share = reliability["pareto_k_share_above"]
    tail = reliability["note"].partition(": ")[2]
    if share is not None:
        tail = f"k̂ above {reliability['pareto_k_threshold']:.2f} for {share:.0%} of the observations"
    step = f"the last doubling gained {value_text(reliability['doubling_step'])}"
    half = particles // 2
    return f"How far to trust L_{particles}: {size}; {tail};\n{step} (L_{particles} − L_{half})."


def annealing_text(annealing: Figures) -> str:
    """One line on the annealed chains, or why there are none."""
    if annealing["note"]:
        return f"{annealing['note'].capitalize()}."
    step = annealing["doubling_step"]
    doubling = "" if math.isnan(step) else f"; the last doubling gained {value_text(step)}"
    start = STARTS[annealing["start"]]
    return (
        f"Annealed from {start}: {annealing['num_temperatures']} temperatures, {annealing['num_chains']} chains,\n"
        f"acceptance {annealing['acceptance']:.2f}, spread over the chains {annealing['spread']:.2f} nats{doubling}."
    )


def conditions(term: Figures, data: str) -> str:
    """What every figure of a table was measured under."""
    return (
        f"Nats per observation. K = {term['num_particles']:,}, N = {term['num_observations']:,} test images of {data}, "
        f"data policy {term['data_policy']}, KL weight {term['kl_weight']:g}, seed {term['seed']}."
    )


def trust_text(result: Figures, term: Figures) -> str:
    """What stands below a table: how the annealing went, how far to trust L_K, and the conditions."""
    below = [annealing_text(result["annealing"]), reliability_text(result["reliability"])]
    return "\n".join([*below, conditions(term, result["data"]["name"])])
