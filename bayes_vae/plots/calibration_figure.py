"""Is the guide calibrated: rank histograms by dimension, and coverage against its nominal value."""

from __future__ import annotations

import math
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from bayes_vae.estimators.calibration import GuideCalibration
from bayes_vae.estimators.rank_tests import binomial_interval
from bayes_vae.plots.colours import COLOURS, GREY
from bayes_vae.plots.style import new_figure, plain_axes
from bayes_vae.vocabulary.conditions import conditions
from bayes_vae.vocabulary.number_text import thousands
from bayes_vae.vocabulary.symbols import mathtext

__all__ = ["calibration_figure", "draw_coverage", "draw_ranks"]

MOST_PANELS, COLUMNS = 8, 4
"""Dimensions whose histogram is shown (of more, the worst), and in one row."""

BAND = 0.99
"""Part of the bars of a calibrated guide that the grey band holds."""

COLOUR = COLOURS["variational_posterior"]
LETTERS_IN_INCH = 16
"""Of the lines under the title."""

OUTSIDE = "#8a5a00"
"""Bars that leave the band: the guide's colour, darker."""


def calibration_figure(result: GuideCalibration) -> Figure:
    """Histograms of the ranks over the band of a calibrated guide, and the coverage of its central intervals.

    Up to eight dimensions are shown in their order, of more the eight worst, the worst first.
    """
    count = len(result.names)
    shown = list(range(count)) if count <= MOST_PANELS else result.worst_first[:MOST_PANELS]
    columns = min(COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    sizes = [2.9 if columns == 1 else 1.9] * columns
    width = sum(sizes) + 4.6
    subtitle = "\n".join(line for text in _subtitle(result) for line in wrap(text, int(LETTERS_IN_INCH * width)))
    figure = new_figure(width, 3.4 if rows == 1 else 4.6, _title(result), subtitle, space=0.03)
    grid = figure.add_gridspec(rows, columns + 2, width_ratios=[*sizes, 0.25, 3.4])
    tallest = int(result.counts[shown].max())
    for place, dimension in enumerate(shown):
        row, column = divmod(place, columns)
        axes = draw_ranks(figure.add_subplot(grid[row, column]), result, dimension)
        axes.set_ylim(0, 1.08 * max(tallest, _band(result)[1]))
        if column:
            axes.set_yticklabels([])
            axes.set_ylabel("")
        if place + columns < len(shown):
            axes.set_xticklabels([])
            axes.set_xlabel("")
    draw_coverage(figure.add_subplot(grid[:, -1]), result)
    return figure


def draw_ranks(axes: Axes, result: GuideCalibration, dimension: int) -> Axes:
    """Histogram of one dimension's ranks; bars that leave the band of a uniform one are dark.

    Args:
        axes: where to draw.
        result: from :func:`bayes_vae.calibrate_guide`.
        dimension: which, from 0.
    """
    counts = result.counts[dimension].cpu().numpy()
    low, high = _band(result)
    width = (result.num_draws + 1) // result.num_bins
    colours = [COLOUR if low <= value <= high else OUTSIDE for value in counts]
    axes.axhspan(low, high, color=GREY, alpha=0.2, linewidth=0, zorder=0)
    axes.bar(np.arange(result.num_bins) * width, counts, width, align="edge", color=colours, edgecolor="white", lw=0.6)
    for edge in (low, high):
        axes.axhline(edge, color="black", linewidth=0.7, alpha=0.6)
    axes.axhline(result.num_observations / result.num_bins, color="black", linewidth=0.7, linestyle=(0, (3, 2)))
    axes.set_xlim(0, result.num_draws + 1)
    axes.set_xticks([0, (result.num_draws + 1) // 2, result.num_draws + 1], ["0", "", thousands(result.num_draws)])
    axes.set(xlabel="rank of the true z", ylabel="observations in a bin")
    reading = result.readings[dimension]
    style: dict[str, Any] = {"color": OUTSIDE, "fontweight": "bold"} if reading else {"color": GREY}
    axes.set_title(f"{mathtext(result.names[dimension])}\n{reading}", fontsize=8.5, loc="left", pad=4, **style)
    return plain_axes(axes)


def draw_coverage(axes: Axes, result: GuideCalibration) -> Axes:
    """How often q's central intervals hold the true z, against how often they should.

    Args:
        axes: where to draw.
        result: from :func:`bayes_vae.calibrate_guide`.
    """
    levels = np.array(result.levels)
    each, each_error = (part.cpu().numpy() for part in (result.coverage, result.coverage_error))
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=(0, (3, 2)), zorder=1)
    dims = len(result.names)
    offsets = np.linspace(-0.012, 0.012, dims) if dims > 1 else np.zeros(1)
    style: dict[str, Any] = {"fmt": "o", "color": GREY, "markersize": 2.5, "linewidth": 0, "zorder": 2}
    for d in range(dims) if dims > 1 else ():
        label = f"each of {dims} dimensions" if d == 0 else None
        bars: dict[str, Any] = {"yerr": each_error[:, d], "elinewidth": 0.6} if dims <= MOST_PANELS else {}
        axes.errorbar(levels + offsets[d], each[:, d], alpha=0.6, label=label, **style, **bars)
    pooled, error = (part.cpu().numpy() for part in (result.pooled_coverage, result.pooled_coverage_error))
    whole: dict[str, Any] = {
        "fmt": "o",
        "color": OUTSIDE,
        "markerfacecolor": COLOUR,
        "markersize": 6,
        "capsize": 3,
        "zorder": 3,
    }
    label = "all dimensions" if dims > 1 else mathtext(result.names[0])
    axes.errorbar(levels, pooled, yerr=error, label=label, **whole)
    lowest = min(float(levels.min()), float(each.min())) - 0.06
    axes.set(xlim=(max(0.0, levels.min() - 0.06), 1.01), ylim=(max(0.0, lowest), 1.01))
    axes.set_xticks(levels, [f"{100 * level:.3g}" for level in levels])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    axes.set(xlabel="nominal coverage of q’s central interval (%)", ylabel="intervals that hold the true z (%)")
    text: dict[str, Any] = {"transform": axes.transAxes, "fontsize": 8.5, "color": GREY, "style": "italic"}
    axes.text(0.03, 0.97, "above the line: too wide", va="top", **text)
    axes.text(0.97, 0.03, "below: too narrow, or shifted", ha="right", **text)
    axes.legend(frameon=False, fontsize=8.5, labelcolor=GREY, loc="upper left", bbox_to_anchor=(0, 0.93))
    return plain_axes(axes)


def _band(result: GuideCalibration) -> tuple[int, int]:
    return binomial_interval(result.num_observations, 1 / result.num_bins, BAND)


def _title(result: GuideCalibration) -> str:
    return "The guide passes its calibration test" if result.calibrated else "The guide is not calibrated"


def _subtitle(result: GuideCalibration) -> list[str]:
    origin = result.provenance
    band, draws = "band: 99 % of a calibrated guide’s bars", f"{result.num_draws} draws of q(z|x)"
    counts = (draws, result.num_observations)
    lines = [conditions(*counts, origin.data_policy, band, seed=origin.seed, draws="L"), result.sentence()]
    if len(result.names) > MOST_PANELS:
        lines.append(f"shown: the {MOST_PANELS} worst of {len(result.names)} dimensions, the worst first")
    return lines
