"""Several models compared: how far each lies behind the best, with paired errors, and its ELBO below its log p(x)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from bayes_vae.estimators.elbo import ElboTerms
from bayes_vae.estimators.model_comparison import Difference, ModelComparison
from bayes_vae.estimators.rate_distortion_curve import RateDistortion
from bayes_vae.plots.colours import COLOURS, GREY, LABEL_COLOURS
from bayes_vae.plots.rate_distortion_figure import curve_caption, draw_rate_distortion
from bayes_vae.plots.style import new_figure, no_formula, plain_axes
from bayes_vae.vocabulary.conditions import PER_OBSERVATION, conditions
from bayes_vae.vocabulary.number_text import change
from bayes_vae.vocabulary.readings import words

__all__ = ["comparison_figure", "draw_differences", "draw_log_evidences"]

ROW = 0.52
"""Inches of a model's row."""

LONGEST_NAME = 28
"""Letters of a name at an axis."""


CURVES = 3.4
"""Inches of the rate–distortion curves below."""


def comparison_figure(
    comparison: ModelComparison,
    curves: Mapping[str, RateDistortion] | None = None,
    encoders: Mapping[str, ElboTerms] | None = None,
) -> Figure:
    """The differences to the best model with their paired errors; at the left, where ELBO and log p(x) of each lie.

    Args:
        comparison: the models.
        curves: name of a model → its rate–distortion curve, drawn below.
        encoders: name of a model → the ELBO's terms of its own guide, a point on or above its curve.
    """
    best, rows = comparison.contenders[0], len(comparison.contenders)
    counts = conditions(_particles(comparison), comparison.num_observations, comparison.data_policy)
    lines = [
        counts,
        "bars: Monte-Carlo error of the mean (thick), with the data error and that of the seeds (thin); hollow: not "
        "converged, a lower bound",
    ]
    height = 1.1 + ROW * rows
    if curves:
        lines.append(f"below: what each decoder can do at each rate. {curve_caption(curves, encoders)}")
    title = "Which model explains the observations better"
    figure = new_figure(9.6, height + (CURVES if curves else 0), title, "\n".join(lines))
    grid = figure.add_gridspec(
        2 if curves else 1, 2, width_ratios=[4, 5], height_ratios=[height, CURVES][: 1 + bool(curves)]
    )
    left = figure.add_subplot(grid[0, 0])
    right = figure.add_subplot(grid[0, 1], sharey=left)
    draw_log_evidences(left, comparison)
    draw_differences(right, comparison)
    right.tick_params(labelleft=False)
    right.set_xlabel(f"log p(x) minus that of {_short(best.name)}, {PER_OBSERVATION}")
    if curves:
        draw_rate_distortion(figure.add_subplot(grid[1, :]), curves, encoders)
    return figure


def draw_log_evidences(axes: Axes, comparison: ModelComparison) -> Axes:
    """Each model's log p(x) with a dot for each seed, and its ELBO; between the two lies the inference gap."""
    for row, each in enumerate(comparison.contenders):
        value = each.average.value
        if each.elbo is not None:
            elbo = float(each.elbo.double().mean())
            axes.plot([elbo, value], [row, row], color=GREY, linewidth=1.2, zorder=1)
            axes.plot(elbo, row, "o", color=COLOURS["elbo"], markersize=6, label="ELBO")
        face = COLOURS["evidence"] if each.reading.settled else "white"
        axes.plot(
            value, row, "o", markersize=6, color=COLOURS["evidence"], markerfacecolor=face, label="log p(x)", zorder=3
        )
        means = [one.average.value for one in each.seeds]
        axes.plot(means, [row] * len(means), "|", color=COLOURS["evidence"], markersize=11, label="seeds")
    _name_rows(axes, comparison)
    axes.set_xlabel(PER_OBSERVATION)
    axes.margins(x=0.1)
    handles, labels = axes.get_legend_handles_labels()
    first = {label: handle for handle, label in reversed(list(zip(handles, labels, strict=True))) if _drawn(handle)}
    axes.legend(
        first.values(), first.keys(), loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=3, frameon=False, fontsize=8.5
    )
    return plain_axes(axes)


def _name_rows(axes: Axes, comparison: ModelComparison) -> None:
    """A row for each model, the best at the top."""
    names = [_short(each.name) for each in comparison.contenders]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _drawn(line: Any) -> bool:
    return len(line.get_xdata()) > 0


def draw_differences(axes: Axes, comparison: ModelComparison) -> Axes:
    """How far each model lies behind the best; the words say what the difference is worth."""
    axes.axvline(0, color=GREY, linewidth=1)
    axes.plot(0, 0, "o", color=COLOURS["evidence"], markersize=7)
    axes.annotate("best", (0, 0), (-9, 0), textcoords="offset points", va="center", ha="right", fontsize=8.5)
    for row, each in enumerate(comparison.differences, start=1):
        _draw_difference(axes, row, each)
    _name_rows(axes, comparison)
    axes.set_xlabel(PER_OBSERVATION)
    axes.margins(x=0.12)
    return plain_axes(axes)


def _draw_difference(axes: Axes, row: int, each: Difference) -> None:
    value, monte_carlo = -each.average.value, each.average.monte_carlo_error
    colour = {"better": COLOURS["evidence"], "cannot tell": GREY, "may reverse": LABEL_COLOURS[2]}[each.verdict]
    if each.known_error > 0:
        axes.errorbar(value, row, xerr=each.known_error, color=colour, elinewidth=1.2, capsize=4)
    if monte_carlo > 0 and not math.isnan(monte_carlo):
        axes.errorbar(value, row, xerr=monte_carlo, color=colour, elinewidth=4)
    face = colour if each.other.reading.settled else "white"
    axes.plot(value, row, "o", color=colour, markerfacecolor=face, markersize=7, markeredgewidth=1.6, zorder=3)
    said = {"better": "", "cannot tell": " · cannot be told apart", "may reverse": f" · {words(each.other.reading)}"}
    axes.annotate(
        f"{change(value)}{said[each.verdict]}",
        (value, row),
        (7, -9),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=8.5,
        color=colour,
    ).set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _particles(comparison: ModelComparison) -> int | str | None:
    """K, or its range; None where nothing was drawn."""
    counts = sorted({each.num_particles for each in comparison.contenders} - {0})
    return None if not counts else counts[0] if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"


def _short(name: str) -> str:
    return no_formula(name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…")
