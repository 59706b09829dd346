"""The ladder from the ELBO to the tightest bound on log p(x)."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayes_vae.ladder import Comparison
from bayes_vae.plots.colours import COLOURS, GREY
from bayes_vae.plots.style import caption, new_figure, plain_axes, thousands

__all__ = ["draw_ladder", "ladder_figure"]


def ladder_figure(comparison: Comparison) -> Figure:
    """The rungs by number of particles, with Monte-Carlo error bars, and how far to trust the last one."""
    subtitle = caption(
        comparison.num_particles,
        comparison.num_observations,
        comparison.provenance.data_policy,
        "KL weight 1",
    )
    lines = [subtitle, comparison.sentence(), _reliability(comparison)]
    figure = new_figure(7.6, 3.9, "From the ELBO up to log p(x)", "\n".join(lines))
    draw_ladder(figure.add_subplot(), comparison)
    return figure


def draw_ladder(axes: Axes, comparison: Comparison) -> Axes:
    """Draw the rungs of a comparison; the exact evidence, where there is one, is a line."""
    bounds = [rung for rung in comparison.rungs if rung.name != "exact"]
    particles = [rung.num_particles for rung in bounds]
    averages = [rung.average for rung in bounds]
    axes.plot(particles, [average.value for average in averages], color=GREY, linewidth=1, zorder=1)
    for rung, average in zip(bounds, averages, strict=True):
        colour = COLOURS["elbo" if rung.name == "ELBO" else "evidence"]
        face = "white" if rung.note else colour
        error = 0.0 if math.isnan(average.monte_carlo_error) else average.monte_carlo_error
        axes.errorbar(
            rung.num_particles,
            average.value,
            error,
            color=colour,
            marker="o",
            markersize=7,
            markerfacecolor=face,
            markeredgewidth=1.6,
            capsize=3,
            elinewidth=1.4,
            zorder=2,
        )
        _name_rung(axes, rung.name, rung.num_particles, average.value, colour)
    _draw_top(axes, comparison)
    axes.set_xscale("log")
    axes.set_xticks(particles, [thousands(count) for count in particles])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="particles k of the bound $L_k$", ylabel="nats per observation")
    axes.margins(x=0.1, y=0.16)
    return plain_axes(axes)


def _name_rung(axes: Axes, name: str, particles: int, value: float, colour: str) -> None:
    label = f"$L_{{{particles}}}$" if name.startswith("L_") else name
    axes.annotate(
        f"{label}\n{value:.2f}",
        (particles, value),
        (0, 9),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=9,
        color=colour,
    )


def _draw_top(axes: Axes, comparison: Comparison) -> None:
    """The exact evidence as a line, or the mark of a last rung that has not converged."""
    top = comparison.rungs[-1]
    value = top.average.value
    if top.name == "exact":
        axes.axhline(value, color=COLOURS["evidence"], linewidth=1.2, linestyle=(0, (6, 3)), zorder=0)
        axes.annotate(
            f"exact log p(x)  {value:.2f}",
            (0.01, value),
            (0, 4),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            fontsize=9,
            color=COLOURS["evidence"],
        )
    elif top.note:
        axes.annotate(
            "lower bound,\nnot converged",
            (top.num_particles, value),
            (0, -14),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=8.5,
            color=COLOURS["evidence"],
            style="italic",
        )


def _reliability(comparison: Comparison) -> str:
    """The share of observations whose k̂ is too large, and the errors that the bars leave out."""
    estimate = comparison.estimate
    data_error = comparison.rungs[0].average.data_error
    bars = f"bars: Monte-Carlo error; data error ± {data_error:.2g} nats, nearly the same for all rungs"
    if bool(estimate.pareto_k.isnan().any()):
        return f"too few particles for a k̂ · {bars}"
    share = float((~estimate.converged).double().mean())
    return f"k̂ above {estimate.pareto_k_threshold:.2f} for {share:.0%} of the observations · {bars}"
