"""Pictures of several pairs side by side: reconstructed, drawn from the prior, and on the way between two codes."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from torch import Tensor

from bayes_vae.plots.colours import COLOURS
from bayes_vae.plots.images import draw_pictures, value_range
from bayes_vae.plots.style import caption, new_figure

__all__ = ["point_and_distribution_figure"]


def point_and_distribution_figure(x: Tensor, pairs: Mapping[str, Mapping[str, Tensor]], *, data_policy: str) -> Figure:
    """One column for each pair, one row for each kind of picture, the observations on top.

    Args:
        x: observations, shape (N, *event).
        pairs: name of a pair → what is shown → means of p(x given z), shape (N, *event).
        data_policy: how pixels became observations.
    """
    subtitle = caption(1, len(x), data_policy) + "\nbelow the observations: means of p(x|z)"
    kinds = list(next(iter(pairs.values())))
    figure = new_figure(9.0, 0.62 * (len(kinds) + 1) + 0.3, "A point, and a distribution", subtitle, space=0.03)
    grid = figure.subplots(len(kinds) + 1, len(pairs), squeeze=False)
    for column, (name, shown) in enumerate(pairs.items()):
        for row, (kind, pictures) in enumerate({"observed": x, **shown}.items()):
            axes = draw_pictures(grid[row, column], pictures, len(pictures), value_range(x))
            if row == 0:
                axes.set_title(name, fontsize=10)
            if column == 0:
                colour = {"observed": COLOURS["evidence"], "from the prior": COLOURS["prior"]}.get(
                    kind, COLOURS["likelihood"]
                )
                axes.set_ylabel(kind, rotation=0, ha="right", va="center", fontsize=9, color=colour)
    return figure
