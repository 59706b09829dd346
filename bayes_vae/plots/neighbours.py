"""Codes of several pairs, and what neighbours have in common: overlap, the cost of a swap, and the decoder between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from bayes_vae.plots.colours import COLOURS, GREY
from bayes_vae.plots.latents import draw_latent_means
from bayes_vae.plots.style import caption, new_figure, plain_axes

__all__ = ["Neighbours", "draw_by_likeness", "draw_largest_steps", "neighbours_figure"]

LINES = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"))
"""Line and marker of each pair."""


class Neighbours(NamedTuple):
    """What was measured of one pair; each figure with its standard error over the observations.

    Attributes:
        name: of the pair.
        codes: means of q, shape (N, D).
        purity: of the nearest codes, the share with the same label.
        largest_step: of the decoder along lines between two codes, in units of the mean step.
        swap: what decoding from another's q costs, by likeness of the two, from the most like; shape (2, bins), nats.
        overlap: of the two q, likewise; None where z is not drawn from q.
    """

    name: str
    codes: Tensor
    purity: tuple[float, float]
    largest_step: tuple[float, float]
    swap: Tensor
    overlap: Tensor | None


def neighbours_figure(pairs: Sequence[Neighbours], labels: Tensor, *, num_particles: int, data_policy: str) -> Figure:
    """The codes of each pair by label; overlap and cost of a swap by likeness; how evenly each decoder changes.

    Args:
        pairs: measured alike.
        labels: of the observations, shape (N,), which no pair has seen.
        num_particles: draws from each q for the cost of a swap.
        data_policy: how pixels became observations.
    """
    subtitle = caption(num_particles, len(labels), data_policy, "test images")
    subtitle += "\ncodes: means of q(z|x); colours: labels, which no pair has seen; circles: the prior’s 1σ and 2σ"
    figure = new_figure(11.0, 5.8, "Why similar inputs are neighbours", subtitle, space=0.05)
    grid = figure.add_gridspec(2, 1, height_ratios=(1, 1))
    above, below = grid[0].subgridspec(1, len(pairs)), grid[1].subgridspec(1, 3)
    for column, pair in enumerate(pairs):
        axes = draw_latent_means(figure.add_subplot(above[column]), pair.codes, labels)
        for part in (axes.get_legend(), *(text for text in axes.texts if text.get_text().startswith("prior"))):
            if part is not None:
                part.remove()
        value, error = (100 * part for part in pair.purity)
        axes.set_title(f"{pair.name}\nsame label nearby: {value:.0f} ± {error:.0f} %", fontsize=9)
    draw_by_likeness(figure.add_subplot(below[0]), {pair.name: pair.overlap for pair in pairs}, "overlap of two q")
    draw_by_likeness(figure.add_subplot(below[1]), {pair.name: pair.swap for pair in pairs}, "cost of a swap, nats")
    draw_largest_steps(figure.add_subplot(below[2]), pairs)
    return figure


def draw_by_likeness(axes: Axes, values: dict[str, Tensor | None], words: str) -> Axes:
    """A figure of two observations by how like they are.

    Args:
        axes: where to draw.
        values: name of a pair → mean and error of each tenth of the others, shape (2, bins), or None.
        words: what the figure is.
    """
    for (name, figures), (style, marker) in zip(values.items(), LINES, strict=False):
        if figures is not None:
            places = range(1, figures.shape[1] + 1)
            line: dict[str, Any] = {
                "linestyle": style,
                "marker": marker,
                "markersize": 4,
                "linewidth": 1.2,
                "capsize": 2,
            }
            colour = "black" if style == "-" else GREY
            axes.errorbar(places, figures[0], figures[1], color=colour, label=name, **line)
    axes.set_xlabel("tenths of the other images, the most like first")
    axes.set_ylabel(words)
    axes.set_ylim(0, None)
    axes.legend(frameon=False, fontsize=8.5)
    return plain_axes(axes)


def draw_largest_steps(axes: Axes, pairs: Sequence[Neighbours]) -> Axes:
    """The largest step of each decoder along a line between two codes; one is even.

    Args:
        axes: where to draw.
        pairs: measured alike.
    """
    values, errors = zip(*(pair.largest_step for pair in pairs), strict=True)
    rows = range(len(pairs))
    axes.barh(rows, values, xerr=errors, height=0.5, color=COLOURS["likelihood"], ecolor="black", capsize=3)
    axes.axvline(1, color=GREY, linewidth=0.9, linestyle=":")
    axes.set_yticks(rows, [pair.name for pair in pairs])
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    axes.set_xlabel("largest ÷ mean step of the decoder\n(dotted: steps all alike)")
    return plain_axes(axes)
