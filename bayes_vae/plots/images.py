"""Pictures of observations: reconstructions, draws from the prior, and any number of them side by side."""

from __future__ import annotations

import math

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from bayes_vae.errors import ShapeError
from bayes_vae.plots.colours import COLOURS
from bayes_vae.plots.profiles import draw_profile
from bayes_vae.plots.style import caption, new_figure

__all__ = [
    "as_pictures",
    "draw_pictures",
    "interpolation_figure",
    "is_picture",
    "mosaic",
    "prior_sample_figure",
    "reconstruction_figure",
    "value_range",
]

BETWEEN = 0.84
"""Gray of the lines between pictures."""

MEAN_OR_DRAW = {True: "the mean", False: "a draw"}

LEAST_SIDE = 3
"""Pixels along each side from which an array is a picture."""

PIXELS = 48
"""About so many along a small picture's longer side, so that the lines are thin beside it."""


def as_pictures(x: Tensor) -> np.ndarray:
    """Observations as pictures: (N, H, W) or (N, H, W, 3).

    Colours may come first or last; a vector becomes a strip of one row, and any other shape one row for each
    entry of its first dimension.

    Args:
        x: shape (N, *event).
    """
    event = tuple(x.shape[1:])
    if len(event) == 3 and event[0] in (1, 3):
        x = x.movedim(1, -1)
    elif len(event) == 1:
        x = x.unsqueeze(1)
    elif len(event) != 2 and not (len(event) == 3 and event[-1] in (1, 3)):
        x = x.flatten(2) if event else x.reshape(-1, 1, 1)
    pictures = x.detach().cpu().double().numpy()
    return pictures[..., 0] if pictures.ndim == 4 and pictures.shape[-1] == 1 else pictures


def is_picture(event: tuple[int, ...]) -> bool:
    """Whether an observation of this shape can be looked at.

    >>> is_picture((28, 28)), is_picture((3, 32, 32)), is_picture((5,)), is_picture((1, 784))
    (True, True, False, False)
    """
    if len(event) == 3 and {event[0], event[-1]} & {1, 3}:
        event = event[1:] if event[0] in (1, 3) else event[:-1]
    return len(event) == 2 and min(event) >= LEAST_SIDE


def reconstruction_figure(x: Tensor, means: Tensor, *, data_policy: str, mean: bool = True) -> Figure:
    """Observations above their reconstructions: the mean of p(x given z) for one z drawn from q.

    Args:
        x: observations, shape (N, *event).
        means: mean of p(x given z), one z for each observation, shape (N, *event).
        data_policy: how pixels became observations.
        mean: whether these are means, or draws of x.
    """
    if x.shape != means.shape:
        raise ShapeError(
            f"each observation needs its reconstruction: x is {tuple(x.shape)}, means {tuple(means.shape)}."
        )
    count = len(x)
    if not is_picture(tuple(x.shape[1:])):
        return _profiles_figure(x, means, data_policy, MEAN_OR_DRAW[mean])
    subtitle = (
        caption(1, count, data_policy)
        + f"\nbelow each observation: {MEAN_OR_DRAW[mean]} of p(x|z) for one z drawn from q(z|x)"
    )
    figure = new_figure(max(5.2, 0.85 * count + 1.2), 1.8, "Reconstructions", subtitle)
    axes = draw_pictures(figure.subplots(), torch.cat([x, means]), count, value_range(x))
    axes.set_yticks([0, 1], ["x", f"{'mean' if mean else 'draw'} of\np(x|z)"], fontsize=9.5)
    axes.tick_params(axis="y", length=0)
    for label, term in zip(axes.get_yticklabels(), ("evidence", "likelihood"), strict=True):
        label.set_color(COLOURS[term])
    return figure


def interpolation_figure(means: Tensor, *, data_policy: str) -> Figure:
    """From one observation to another, a row each: means of p(x given z) between the means of q at both ends.

    Args:
        means: shape (P, S, *event).
        data_policy: how pixels became observations.
    """
    rows, columns = means.shape[:2]
    subtitle = (
        caption("–", 2 * rows, data_policy) + "\nmeans of p(x|z); z from the mean of q(z|x) of one x to another's"
    )
    figure = new_figure(max(5.2, 0.75 * columns), 0.75 * rows, "Interpolations", subtitle, space=0.0)
    draw_pictures(figure.add_subplot(), means.flatten(0, 1), columns)
    return figure


def _profiles_figure(x: Tensor, means: Tensor, data_policy: str, which: str) -> Figure:
    """The same of observations that are no images: values by column; ``which`` says mean or draw."""
    count = len(x)
    columns = min(4, count)
    rows = math.ceil(count / columns)
    subtitle = (
        caption(1, count, data_policy) + f"\ndots: an observation; line: {which} of p(x|z) for one z drawn from q(z|x)"
    )
    figure = new_figure(max(5.2, 2.4 * columns), 1.6 * rows, "Reconstructions", subtitle)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flatten()
    for axes, observation, mean in zip(panels, x, means, strict=False):
        draw_profile(axes, observation, mean.unsqueeze(0), names=False)
    for place, axes in enumerate(panels):
        axes.set_visible(place < count)
        axes.label_outer()
    return figure


def draw_pictures(axes: Axes, x: Tensor, columns: int, limits: tuple[float, float] | None = None) -> Axes:
    """Observations side by side, row by row, as one image; a row that is not full ends white.

    Args:
        axes: where to draw; its x axis counts columns and its y axis rows, from the top, whole numbers at the middles.
        x: shape (N, *event).
        columns: how many in a row.
        limits: the values that are white and black; those of ``x``, and at least 0 and 1, when None.
    """
    low, high = value_range(x) if limits is None else limits
    image = mosaic((as_pictures(x) - low) / (high - low), columns)
    rows = math.ceil(len(x) / columns)
    across, down = image.shape[1] / columns, image.shape[0] / rows
    axes.imshow(image, interpolation="none", extent=(-0.5, columns - 0.5, rows - 0.5, -0.5), aspect=down / across)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes


def mosaic(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Pictures side by side with a thin line around each, as colours; zero is white where they are gray.

    Args:
        pictures: shape (N, H, W) or (N, H, W, 3), values in 0…1.
        columns: how many in a row.

    Returns:
        shape (rows · (S H + 2), columns · (S W + 2), 3), uint8; S whole pixels for each of a small picture.
    """
    times = max(1, round(PIXELS / max(pictures.shape[1:3])))
    pictures = pictures.repeat(times, axis=1).repeat(times, axis=2)
    count, height, width = pictures.shape[:3]
    colours = pictures if pictures.ndim == 4 else np.repeat(1 - pictures[..., None], 3, axis=-1)
    rows = math.ceil(count / columns)
    canvas = np.ones((rows, columns, height + 2, width + 2, 3))
    framed = np.full((count, height + 2, width + 2, 3), BETWEEN)
    framed[:, 1:-1, 1:-1] = colours.clip(0, 1)
    canvas.reshape(-1, *canvas.shape[2:])[:count] = framed
    image = canvas.swapaxes(1, 2).reshape(rows * (height + 2), columns * (width + 2), 3)
    return (255 * image).round().astype(np.uint8)


def prior_sample_figure(means: Tensor, *, data_policy: str, mean: bool = True) -> Figure:
    """What the model believes before any observation: means of p(x given z) for z drawn from the prior.

    Args:
        means: shape (N, *event).
        data_policy: how pixels became the observations of training.
        mean: whether these are means, or draws of x.
    """
    subtitle = caption(1, len(means), data_policy)
    subtitle += f"\n{MEAN_OR_DRAW[mean]} of p(x|z), one z each, drawn from the prior p(z)"
    if not is_picture(tuple(means.shape[1:])):
        figure = new_figure(5.2, 2.8, "Draws from the prior", subtitle)
        draw_profile(figure.add_subplot(), means=means, names=False)
        return figure
    columns = math.ceil(math.sqrt(len(means)))
    rows = math.ceil(len(means) / columns)
    figure = new_figure(max(4.6, 0.7 * columns), 0.7 * rows, "Draws from the prior", subtitle)
    draw_pictures(figure.subplots(), means, columns)
    return figure


def value_range(x: Tensor) -> tuple[float, float]:
    """Black and white: 0 and 1 where the values that are not missing allow it."""
    x = x[~x.isnan()]
    return min(0.0, float(x.min())), max(1.0, float(x.max()))
