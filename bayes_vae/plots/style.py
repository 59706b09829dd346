"""How every figure looks: its size, its title and caption, and how it becomes a file."""

from __future__ import annotations

import io

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from bayes_vae.plots.colours import GREY
from bayes_vae.vocabulary.conditions import conditions

__all__ = ["caption", "new_figure", "no_formula", "plain_axes", "save_figure"]

DOTS_PER_INCH = 150
TITLE_INCHES = 0.62


def no_formula(name: str) -> str:
    r"""A name that somebody chose, as Matplotlib draws it letter by letter.

    >>> no_formula("a$b$")
    'a\\$b\\$'
    """
    return name.replace("$", r"\$")


def caption(num_particles: int | str, num_observations: int | str, data_policy: str, note: str = "") -> str:
    """What stands under every title: K, N, how pixels became observations, and a note.

    >>> caption(5000, 500, "stochastic")
    'K = 5,000 · N = 500 · data policy: stochastic'
    """
    return conditions(num_particles, num_observations, data_policy, note)


def new_figure(width: float, height: float, title: str, subtitle: str, *, space: float = 0.02) -> Figure:
    """A figure with its title and subtitle at the left, and the rest left free.

    Args:
        width: inches.
        height: inches, without the title's lines, which come on top.
        title: what is shown.
        subtitle: from :func:`caption`; further lines after a newline.
        space: between subplots, as a part of their size.
    """
    lines = subtitle.count("\n") + 1
    top = TITLE_INCHES + 0.17 * (lines - 1)
    rect = (0, 0, 1, height / (height + top))
    layout = ConstrainedLayoutEngine(rect=rect, w_pad=0.03, h_pad=0.03, wspace=space, hspace=space)
    figure = Figure(figsize=(width, height + top), layout=layout)
    left, inch = 0.1 / width, 1 / (height + top)
    figure.text(left, 1 - 0.1 * inch, title, fontsize=12, fontweight="bold", va="top")
    figure.text(left, 1 - 0.34 * inch, subtitle, fontsize=8.5, color=GREY, va="top", linespacing=1.4)
    return figure


def plain_axes(axes: Axes) -> Axes:
    """Take away the frame's upper and right side and quieten the rest."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=GREY, labelsize=8.5)
    axes.xaxis.label.set_fontsize(9.5)
    axes.yaxis.label.set_fontsize(9.5)
    return axes


def save_figure(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
