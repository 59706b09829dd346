"""The report of several runs: which explains the test set better, how sure that is, and how their settings differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bayes_vae.estimators.comparison_table import cells_of, conditions_of
from bayes_vae.estimators.model_comparison import NO_PROBABILITIES, ModelComparison
from bayes_vae.plots import draw_differences, draw_log_evidences
from bayes_vae.report.drawing import draw
from bayes_vae.report.page import page_of
from bayes_vae.report.page_elements import Drawings, Section, Table
from bayes_vae.runs.designs import designs_of
from bayes_vae.vocabulary.number_text import change

__all__ = ["comparison_page"]


def comparison_page(found: ModelComparison, result: Mapping[str, Any], runs: Sequence[str]) -> str:
    """One self-contained HTML file on several runs.

    Args:
        found: their comparison.
        result: the same in JSON types, with "data" and "seed" beside.
        runs: the folders.
    """
    told = conditions_of(result)
    listed = [_evidence(found, result, told), _differences(found, result, told), _settings(found, runs)]
    names = [each.name for each in found.contenders]
    return page_of(
        listed,
        [each.sentence() for each in found.differences],
        name=" · ".join(names),
        title=f"{' and '.join(names[:2])}{' and others' if len(names) > 2 else ''}: compared by log p(x)",
        kind="Comparison of variational autoencoders",
        conditions=told,
    )


def _evidence(found: ModelComparison, result: Mapping[str, Any], told: str) -> Section:
    """log p(x) and ELBO of each model."""
    header, rows = cells_of(result)[0]
    values = "; ".join(f"{each.name} {change(each.average.value)}" for each in found.contenders)
    picture = draw(lambda axes: draw_log_evidences(axes, found), 5.4, _height(found), f"log p(x) in nats: {values}.")
    caption = "Dots: log p(x), hollow where it has not converged, and the ELBO; the line between is the inference gap."
    return Section(
        "evidence",
        "log p(x) of each model",
        "How well does each model explain the test observations, and how far does its ELBO fall short of that?",
        (found.about_seeds(),) if found.about_seeds() else (),
        (Drawings((picture,), caption), Table(header, rows, told, tuple(range(1, len(header) - 1)))),
    )


def _differences(found: ModelComparison, result: Mapping[str, Any], told: str) -> Section:
    """How far each lies behind the best."""
    header, rows = cells_of(result)[1]
    values = "; ".join(f"{each.other.name} {change(-each.average.value)}" for each in found.differences)
    picture = draw(lambda axes: draw_differences(axes, found), 5.4, _height(found), f"Differences in nats: {values}.")
    caption = (
        f"log p(x) minus that of {found.contenders[0].name}. Thick bars: Monte-Carlo error; thin: with the data error "
        "and that of the seeds; the errors are paired, observation by observation."
    )
    return Section(
        "differences",
        "Differences to the best",
        "Which differences can be told from zero?",
        (*(each.sentence() for each in found.differences), NO_PROBABILITIES),
        (Drawings((picture,), caption), Table(header, rows, told, tuple(range(1, len(header) - 1)))),
    )


def _height(found: ModelComparison) -> float:
    return 1.2 + 0.55 * len(found.contenders)


def _settings(found: ModelComparison, runs: Sequence[str]) -> Section:
    """The settings that are not the same in all."""
    designs = designs_of(runs)
    settings = {name: _flat(group[0].config["settings"]) for name, group in designs.items()}
    keys = list(dict.fromkeys(key for each in settings.values() for key in each))
    texts = {name: [json.dumps(each.get(key)) for key in keys] for name, each in settings.items()}
    varied = [place for place, key in enumerate(keys) if len({row[place] for row in texts.values()}) > 1]
    names = [each.name for each in found.contenders]
    rows = [[keys[place], *(texts[name][place] for name in names)] for place in varied]
    question = "What was trained differently?"
    if not rows:
        return Section("settings", "Settings", question, missing="the runs store no settings that differ.")
    several = " A difference cannot be attributed to a single one of them." if len(rows) > 1 else ""
    sentence = f"{len(rows)} of {len(keys)} settings differ, besides the seed.{several}"
    return Section(
        "settings",
        "Settings",
        question,
        (sentence,),
        (Table(["setting", *names], rows, "From the first seed of each."),),
    )


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Setting → value, of the pair and the training but for the seed."""
    return {
        f"{section}.{name}": value
        for section, values in settings.items()
        if section != "data" and isinstance(values, dict)
        for name, value in values.items()
        if name not in ("seed", "device")
    }
