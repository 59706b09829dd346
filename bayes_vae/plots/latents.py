"""Where the guide puts the observations: the means of q(z given x), coloured by label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from torch import Tensor

from bayes_vae.plots.colours import COLOURS, GREY, LABEL_COLOURS
from bayes_vae.plots.style import caption, new_figure, no_formula, plain_axes
from bayes_vae.vocabulary.symbols import dimension_symbol, mathtext

__all__ = ["draw_latent_means", "latent_figure", "principal_components"]


def latent_figure(
    means: Tensor, labels: Tensor | None = None, *, names: Sequence[str] = (), data_policy: str
) -> Figure:
    """The means of q(z given x), one dot for each observation.

    Args:
        means: shape (N, D).
        labels: shape (N,), or None.
        names: what the labels 0, 1, 2, … stand for; empty for the numbers themselves.
        data_policy: how pixels became observations.
    """
    subtitle = caption("0 (means need no draws)", len(means), data_policy)
    figure = new_figure(6.2, 5.0, "Means of the guide q(z|x)", subtitle)
    draw_latent_means(figure.add_subplot(), means, labels, names or None)
    return figure


def draw_latent_means(
    axes: Axes, means: Tensor, labels: Tensor | None = None, names: Sequence[str] | None = None
) -> Axes:
    """Two dimensions with the prior's 1σ and 2σ circles; of more, the first two principal components.

    Args:
        axes: where to draw.
        means: means of q(z given x), shape (N, D).
        labels: shape (N,), or None; up to ten whole numbers get colours of their own.
        names: what the labels 0, 1, … stand for; the numbers themselves when None.
    """
    points, shares = principal_components(means.detach().cpu().double())
    if means.shape[1] == 1:
        points = np.stack([points[:, 0], np.linspace(-1, 1, len(points))], 1)
        axes.set(xlabel="z", ylabel="observations, in order", yticks=[])
    elif shares is None:
        axes.set(xlabel=mathtext(dimension_symbol(0)), ylabel=mathtext(dimension_symbol(1)))
        _draw_prior(axes)
    else:
        first, second = (f"principal component of the means ({share:.0%} of their variance)" for share in shares)
        axes.set(xlabel=f"first {first}", ylabel=f"second {second}")
    _scatter(axes, points, labels, names, name_classes=means.shape[1] > 1)
    if means.shape[1] > 1:
        axes.set_aspect("equal", adjustable="datalim")
    return plain_axes(axes)


def principal_components(means: Tensor) -> tuple[np.ndarray, tuple[float, float] | None]:
    """The points to draw, shape (N, min(D, 2)), and for D > 2 the share of the variance on each axis.

    Args:
        means: shape (N, D); with D of at most 2 they come back as they are.
    """
    if means.shape[1] <= 2:
        return means.numpy(), None
    centred = means - means.mean(0)
    _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
    directions = directions[:2]
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    variance = singular.square()
    shares = (variance / variance.sum().clamp(min=1e-300)).tolist()
    points = torch.zeros(len(means), 2, dtype=means.dtype)
    points[:, : len(directions)] = centred @ (directions * largest.sign()).T
    return points.numpy(), (shares[0], shares[1] if len(shares) > 1 else 0.0)


def _draw_prior(axes: Axes) -> None:
    for radius in (1, 2):
        axes.add_patch(Circle((0, 0), radius, fill=False, color=COLOURS["prior"], linewidth=1.4, zorder=3))
        axes.text(
            0,
            radius,
            f"prior, {radius}σ",
            color=COLOURS["prior"],
            fontsize=8.5,
            ha="center",
            va="bottom",
            zorder=4,
        ).set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _scatter(
    axes: Axes, points: np.ndarray, labels: Tensor | None, names: Sequence[str] | None, *, name_classes: bool
) -> None:
    size = max(3.0, min(18.0, 9000 / len(points)))
    style: dict[str, Any] = {"s": size, "alpha": 0.75, "linewidths": 0, "rasterized": True}
    if labels is None:
        axes.scatter(points[:, 0], points[:, 1], color=COLOURS["variational_posterior"], **style)
        return
    numbers = labels.detach().cpu().numpy()
    classes = np.unique(numbers)
    if len(classes) > len(LABEL_COLOURS):
        dots = axes.scatter(points[:, 0], points[:, 1], cmap="viridis", **style | {"c": numbers})
        axes.figure.colorbar(dots, ax=axes, label="label", shrink=0.7)
        return
    for colour, label in zip(LABEL_COLOURS, classes, strict=False):
        chosen = points[numbers == label]
        axes.scatter(chosen[:, 0], chosen[:, 1], color=colour, label=_name(label, names), **style)
    if name_classes:
        _name_classes(axes, points, numbers, classes, names)
    _legend(axes, size)


def _name(label: float, names: Sequence[str] | None) -> str:
    """The text of a label; what could be read as a formula is not."""
    place = int(label)
    known = names is not None and place == label and 0 <= place < len(names)
    return f"{label:g}" if names is None or not known else no_formula(names[place])


def _name_classes(
    axes: Axes, points: np.ndarray, labels: np.ndarray, classes: np.ndarray, names: Sequence[str] | None
) -> None:
    """Write each label where its points lie."""
    medians = np.stack([np.median(points[labels == label], 0) for label in classes])
    medians = _apart(medians, 0.05 * float(np.ptp(points, axis=0).max()))
    for colour, label, (x, y) in zip(LABEL_COLOURS, classes, medians.tolist(), strict=False):
        style: dict[str, Any] = {"color": colour, "fontsize": 13, "fontweight": "bold", "zorder": 5}
        text = axes.text(x, y, _name(label, names), ha="center", va="center", **style)
        text.set_path_effects([withStroke(linewidth=3, foreground="white")])


def _apart(places: np.ndarray, distance: float) -> np.ndarray:
    """Push places that are closer than ``distance`` away from each other."""
    for _ in range(50):
        arrows = places[:, None] - places[None]
        gaps = np.linalg.norm(arrows, axis=-1, keepdims=True)
        pushes = np.where((gaps < distance) & (gaps > 0), arrows / np.maximum(gaps, 1e-12) * (distance - gaps) / 2, 0)
        places = places + pushes.sum(1)
    return places


def _legend(axes: Axes, dot_size: float) -> None:
    legend = axes.legend(
        title="label",
        frameon=False,
        fontsize=9,
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        markerscale=(40 / dot_size) ** 0.5,
        handletextpad=0.1,
        labelcolor=GREY,
    )
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
