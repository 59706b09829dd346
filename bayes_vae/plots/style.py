"""How every figure looks: its size, its title and caption, and how it becomes a file."""

from __future__ import annotations

import io
import re

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.textpath import text_to_path

from bayes_vae.plots.colours import GREY
from bayes_vae.vocabulary.conditions import conditions

__all__ = ["caption", "new_figure", "no_formula", "plain_axes", "save_figure"]

DOTS_PER_INCH = 150
TITLE_INCHES = 0.62
SUBTITLE_POINTS, LEFT_INCHES = 8.5, 0.1

WORD = re.compile(r"(?:\$[^$]*\$|\S)+")
"""What a line is not broken in: a word, or a formula with what touches it."""


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
        subtitle: from :func:`caption`; further lines after a newline; lines wider than the figure are wrapped.
        space: between subplots, as a part of their size.
    """
    subtitle = "\n".join(_wrapped(line, width - 2 * LEFT_INCHES) for line in subtitle.split("\n"))
    top = TITLE_INCHES + 0.17 * subtitle.count("\n")
    rect = (0, 0, 1, height / (height + top))
    layout = ConstrainedLayoutEngine(rect=rect, w_pad=0.03, h_pad=0.03, wspace=space, hspace=space)
    figure = Figure(figsize=(width, height + top), layout=layout)
    left, inch = LEFT_INCHES / width, 1 / (height + top)
    figure.text(left, 1 - 0.1 * inch, title, fontsize=12, fontweight="bold", va="top")
    figure.text(left, 1 - 0.34 * inch, subtitle, fontsize=SUBTITLE_POINTS, color=GREY, va="top", linespacing=1.4)
    return figure


def _wrapped(line: str, inches: float) -> str:
    """A line of a subtitle, broken between words where it is wider than that."""
    lines, space, end = [""], _inches("x x") - _inches("xx"), 0.0
    for word in WORD.findall(line):
        width = _inches(word)
        if lines[-1] and end + space + width > inches:
            lines.append(word)
            end = width
        else:
            end += width + (space if lines[-1] else 0.0)
            lines[-1] = f"{lines[-1]} {word}".lstrip()
    return "\n".join(lines)


def _inches(text: str) -> float:
    """Width of some text in a subtitle."""
    font = FontProperties(size=SUBTITLE_POINTS)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath="$" in text)[0]) / 72


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
