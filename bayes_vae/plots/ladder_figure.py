"""The ladder from the ELBO to the tightest bound on log p(x)."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from bayes_vae.estimators.ladder import Comparison
from bayes_vae.estimators.rungs.rung import Rung
from bayes_vae.plots.colours import COLOURS, GREY
from bayes_vae.plots.style import caption, new_figure, plain_axes
from bayes_vae.vocabulary.conditions import PER_OBSERVATION
from bayes_vae.vocabulary.number_text import short_error, signed, thousands
from bayes_vae.vocabulary.readings import words
from bayes_vae.vocabulary.symbols import mathtext

__all__ = ["draw_ladder", "ladder_figure"]

LINES = {"annealed": (0, (1, 2)), "converged": (0, (3, 1.5))}
OTHER_LINES = (0, (6, 3))
"""Line styles of the rungs that have no place on the axis of particles."""

LETTERS = 14
"""In a line of the words below a dot."""

NAMES = 0.4
"""Room for the names below the dots, as a part of the height of what is drawn."""

APART = 0.075
"""Least distance of the lines' names, as a part of the height."""


def ladder_figure(comparison: Comparison) -> Figure:
    """The rungs by number of particles, with Monte-Carlo error bars, and how far to trust the last one."""
    policy = comparison.provenance.data_policy
    subtitle = caption(comparison.num_particles, comparison.num_observations, policy, "KL weight 1")
    lines = [subtitle, mathtext(comparison.sentence()), _reliability(comparison)]
    figure = new_figure(7.6, 3.9, "From the ELBO up to log p(x)", "\n".join(lines))
    draw_ladder(figure.add_subplot(), comparison)
    return figure


def draw_ladder(axes: Axes, comparison: Comparison) -> Axes:
    """Draw the rungs of a comparison; the annealed and the exact evidence, where they are, are lines."""
    bounds = [rung for rung in comparison.rungs if rung.nested]
    lines = [rung for rung in comparison.rungs if not rung.nested]
    particles = [rung.num_particles for rung in bounds]
    axes.plot(particles, [rung.average.value for rung in bounds], color=GREY, linewidth=1, zorder=1)
    for rung in bounds:
        _draw_rung(axes, rung)
    axes.set_xscale("log")
    axes.set_xticks(particles, [thousands(count) for count in particles])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="particles k of the bound $L_k$", ylabel=PER_OBSERVATION)
    axes.margins(x=0.1, y=0.18)
    for rung in lines:
        _draw_line(axes, rung)
    low, high = axes.get_ylim()
    axes.set_ylim(low - NAMES * (high - low), high)  # the names stand below everything that is drawn
    _name_lines(axes, lines)
    return plain_axes(axes)


def _draw_rung(axes: Axes, rung: Rung) -> None:
    """A dot, its name and value at the foot; a hollow one with words where the bound has not converged."""
    average = rung.average
    colour = COLOURS["elbo" if rung.name == "ELBO" else "evidence"]
    error = average.monte_carlo_error
    bar: dict[str, Any] = {"yerr": error, "capsize": 3, "elinewidth": 1.4} if error == error else {}
    face = colour if rung.reading.settled else "white"
    dot: dict[str, Any] = {"marker": "o", "markersize": 7, "markerfacecolor": face, "markeredgewidth": 1.6}
    axes.errorbar(rung.num_particles, average.value, color=colour, zorder=2, **dot, **bar)
    _write(axes, mathtext(f"{rung.name}\n{signed(average.value)}"), rung.num_particles, 52, colour)
    if not rung.reading.settled:
        _write(axes, fill(words(rung.reading), LETTERS), rung.num_particles, 26, colour, style="italic")


def _draw_line(axes: Axes, rung: Rung) -> None:
    """A line with its Monte-Carlo error as a band."""
    average, colour = rung.average, COLOURS["evidence"]
    value, error = average.value, average.monte_carlo_error
    axes.axhline(value, color=colour, linewidth=1.2, linestyle=LINES.get(rung.name, OTHER_LINES), zorder=0)
    if error == error:
        axes.axhspan(value - error, value + error, color=colour, alpha=0.12, linewidth=0, zorder=0)


def _name_lines(axes: Axes, rungs: Sequence[Rung]) -> None:
    """The lines' names and values at the right, apart from each other, each with a stroke to its line."""
    values = [rung.average.value for rung in rungs]
    low, high = axes.get_ylim()
    heights = [(value - low) / (high - low) for value in values]
    for rung, value, height in zip(rungs, values, spread_apart(heights, APART), strict=True):
        axes.annotate(
            f"{rung.name} {signed(value)}",
            (1, value),
            (1.03, height),
            xycoords=axes.get_yaxis_transform(),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            color=COLOURS["evidence"],
            arrowprops={"arrowstyle": "-", "linewidth": 0.7, "color": GREY, "shrinkA": 1, "shrinkB": 0},
        )


def spread_apart(heights: Sequence[float], least: float) -> list[float]:
    """Heights moved until neighbours are at least so far apart, their mean kept.

    >>> [round(height, 3) for height in spread_apart([0.5, 0.52], 0.1)]
    [0.46, 0.56]
    """
    order = sorted(range(len(heights)), key=heights.__getitem__)
    placed: list[float] = []
    for which in order:
        placed.append(max(heights[which], placed[-1] + least) if placed else heights[which])
    shift = (sum(placed) - sum(heights)) / max(1, len(heights))
    moved = dict(zip(order, (height - shift for height in placed), strict=True))
    return [moved[which] for which in range(len(heights))]


def _write(axes: Axes, text: str, particles: int, points: float, colour: str, **style: Any) -> None:
    """Write below so many points above the foot of the axes."""
    style = {"ha": "center", "va": "top", "fontsize": 9, "color": colour, **style}
    foot = axes.get_xaxis_transform()
    note = axes.annotate(text, (particles, 0), (0, points), xycoords=foot, textcoords="offset points", **style)
    note.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _reliability(comparison: Comparison) -> str:
    """The share of observations whose k̂ is too large, and the errors that the bars leave out."""
    estimate = comparison.estimate
    data_error = comparison.rungs[0].average.data_error
    bars = f"bars: Monte-Carlo error; data error ± {short_error(data_error)} nats, shared by all rungs"
    if bool(estimate.pareto_k.isnan().any()):
        return f"too few particles for a k̂ · {bars}"
    share, missed = (float(rows.double().mean()) for rows in (~estimate.vouched, estimate.missed))
    more = f", the prior finds more for {missed:.0%}" if missed else ""
    return f"k̂ above {estimate.pareto_k_threshold:.2f} for {share:.0%} of the observations{more} · {bars}"
