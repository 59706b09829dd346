"""The tables of a comparison as text, for the command line and for reports: from its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bayes_vae.vocabulary.conditions import PER_OBSERVATION, conditions
from bayes_vae.vocabulary.number_text import capitalized, error_text, share, thousands, value_text
from bayes_vae.vocabulary.readings import Reading, words

__all__ = ["cells_of", "conditions_of"]

Figures = Mapping[str, Any]

Cells = tuple[list[str], list[list[str]]]
"""Names of the columns, and rows."""

TOLD = {"better": "yes", "cannot tell": "no", "may reverse": "no: may be higher"}


def cells_of(result: Figures) -> tuple[Cells, Cells]:
    """The models best first, and the differences of the others to the best.

    Args:
        result: from ``ModelComparison.as_json``.
    """
    best, *others = result["models"]
    return _models(result["models"]), _differences(best["name"], others)


def conditions_of(result: Figures) -> str:
    """What the figures were measured under.

    Args:
        result: as above, with "data" and "seed" beside.
    """
    rows = f"{result['num_observations']:,} test observations of {result['data']['name']}"
    beside = {"unit": capitalized(PER_OBSERVATION), "seed": result["seed"]}
    return conditions(None, rows, result["data_policy"], kl_weight=1, **beside)


def _models(models: Sequence[Figures]) -> Cells:
    several = any(each["num_seeds"] > 1 for each in models)
    header = ["model", "log p(x)", "± Monte Carlo", "± data"]
    header += ["spread between seeds"] if several else []
    header += ["ELBO", "gap", "parameters", "seconds", "reads as"]
    rows = []
    for each in models:
        seeds = [_spread(each)] if several else []
        count = each["num_parameters"]
        row = [
            each["name"],
            _value(each["log_evidence"]),
            _error(each["monte_carlo_error"]),
            _error(each["data_error"]),
        ]
        row += [*seeds, _value(each["elbo"]), _value(each["inference_gap"]), "–" if count is None else thousands(count)]
        seconds = "–" if each["seconds"] is None else f"{each['seconds']:.1f}"
        rows.append([*row, seconds, words(Reading(**each["reading"]))])
    return header, rows


def _spread(each: Figures) -> str:
    return f"{_error(each['spread_between_seeds'])} ({each['num_seeds']})" if each["num_seeds"] > 1 else "– (1)"


def _differences(best: str, others: Sequence[Figures]) -> Cells:
    several = any(each["difference_seed_error"] is not None for each in others)
    header = ["model", f"difference to {best}", "± Monte Carlo", "± data"]
    header += [*(["± seeds"] if several else []), "better for", "told apart"]
    rows = []
    for each in others:
        seeds = [_error(each["difference_seed_error"])] if several else []
        errors = [_error(each[f"difference_{name}_error"]) for name in ("monte_carlo", "data")]
        row = [each["name"], _value(-each["difference"]), *errors, *seeds, share(each["better_for"])]
        rows.append([*row, TOLD[each["verdict"]]])
    return header, rows


def _value(value: float | None) -> str:
    return "–" if value is None else value_text(value)


def _error(error: float | None) -> str:
    return "–" if error is None else error_text(error)
