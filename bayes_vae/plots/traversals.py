"""What the latent dimensions do: the decoder along single dimensions, and over a grid of two."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from bayes_vae.plots.colours import GREY
from bayes_vae.plots.images import draw_pictures
from bayes_vae.plots.style import caption, new_figure

__all__ = ["draw_manifold", "draw_traversals", "manifold_figure", "traversal_figure"]


def traversal_figure(
    means: Tensor, quantiles: Sequence[float], names: Sequence[str], *, data_policy: str, note: str = ""
) -> Figure:
    """One row for each latent dimension: means of p(x given z) as that dimension runs over the prior's quantiles.

    Args:
        means: shape (D, Q, *event).
        quantiles: of the prior, Q numbers between 0 and 1.
        names: of the D dimensions.
        data_policy: how pixels became the observations of training.
        note: what the other dimensions are held at.
    """
    subtitle = caption("0 (means need no draws)", 1, data_policy, note)
    size = 0.62
    figure = new_figure(max(5.2, size * len(quantiles) + 1), size * len(names) + 0.5, "Along each dimension", subtitle)
    draw_traversals(figure.add_subplot(), means, quantiles, names)
    return figure


def manifold_figure(
    means: Tensor, quantiles: Sequence[float], names: Sequence[str], *, data_policy: str, note: str = ""
) -> Figure:
    """Means of p(x given z) over a grid of two latent dimensions, at the prior's quantiles.

    Args:
        means: shape (Q, Q, *event); the first index is the first dimension's, drawn to the right.
        quantiles: of the prior, Q numbers between 0 and 1.
        names: of the two dimensions.
        data_policy: how pixels became the observations of training.
        note: what the other dimensions are held at.
    """
    subtitle = caption("0 (means need no draws)", 1, data_policy, note)
    figure = new_figure(6.2, 6.0, "The decoder over two dimensions", subtitle)
    draw_manifold(figure.add_subplot(), means, quantiles, names)
    return figure


def draw_traversals(axes: Axes, means: Tensor, quantiles: Sequence[float], names: Sequence[str]) -> Axes:
    """One row for each latent dimension, from its low quantiles at the left to its high ones.

    Args:
        axes: where to draw.
        means: shape (D, Q, *event).
        quantiles: of the prior, Q numbers between 0 and 1.
        names: of the D dimensions.
    """
    draw_pictures(axes, means.flatten(0, 1), len(quantiles))
    _name_quantiles(axes.set_xticks, quantiles, every=1 if len(quantiles) <= 9 else 2)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("quantile of the prior", color=GREY, fontsize=9)
    return _quiet(axes)


def draw_manifold(axes: Axes, means: Tensor, quantiles: Sequence[float], names: Sequence[str]) -> Axes:
    """The first dimension to the right, the second upwards.

    Args:
        axes: where to draw.
        means: shape (Q, Q, *event).
        quantiles: of the prior, Q numbers between 0 and 1.
        names: of the two dimensions.
    """
    upwards = means.transpose(0, 1).flip(0)
    draw_pictures(axes, upwards.flatten(0, 1), len(quantiles))
    every = max(1, len(quantiles) // 6)
    _name_quantiles(axes.set_xticks, quantiles, every)
    last = len(quantiles) - 1
    shown = range(0, len(quantiles), every)
    axes.set_yticks([last - place for place in shown], [f"{quantiles[place]:.2g}" for place in shown])
    axes.set_xlabel(f"{names[0]}, quantile of the prior", color=GREY, fontsize=9)
    axes.set_ylabel(f"{names[1]}, quantile of the prior", color=GREY, fontsize=9)
    return _quiet(axes)


def _name_quantiles(set_ticks: object, quantiles: Sequence[float], every: int) -> None:
    shown = range(0, len(quantiles), every)
    set_ticks(list(shown), [f"{quantiles[place]:.2g}" for place in shown])  # type: ignore[operator]


def _quiet(axes: Axes) -> Axes:
    axes.tick_params(length=0, colors=GREY, labelsize=8.5)
    return axes
