"""Observations that are no images, such as rows of a table: a value by column, and the decoder's mean beside it."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from bayes_vae.plots.colours import COLOURS
from bayes_vae.plots.style import plain_axes

__all__ = ["draw_profile"]

MOST_DOTS = 40
"""Columns up to which each is a dot; more are a line."""


def draw_profile(axes: Axes, x: Tensor | None = None, means: Tensor | None = None, *, names: bool = True) -> Axes:
    """Values by column: the observation as dots or a line, and means of p(x given z) as lines.

    Args:
        axes: where to draw.
        x: one observation, shape (*event,), or None.
        means: shape (S, *event), or None.
        names: whether to name both in a legend.
    """
    several = 0 if means is None else len(means)
    for row in range(several):
        assert means is not None
        style: dict[str, Any] = {
            "color": COLOURS["likelihood"],
            "alpha": 0.9 if several == 1 else 0.45,
        }
        axes.plot(
            means[row].detach().cpu().flatten(), label="mean of p(x|z)" if row == 0 else None, linewidth=1.2, **style
        )
    if x is not None:
        values = x.detach().cpu().flatten()
        line = "o" if len(values) <= MOST_DOTS else "-"
        axes.plot(values, line, color=COLOURS["evidence"], markersize=3, linewidth=0.9, label="observation x")
    axes.set_xlabel("column")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if names:
        axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return plain_axes(axes)
