"""Training by term: the ELBO, its two terms, and the weight of the KL, by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bayes_vae.plots.colours import COLOURS, GREY
from bayes_vae.plots.style import caption, new_figure, plain_axes
from bayes_vae.vocabulary.conditions import PER_OBSERVATION
from bayes_vae.vocabulary.number_text import signed
from bayes_vae.vocabulary.symbols import TERMS, mathtext

__all__ = ["draw_term_by_epoch", "training_figure"]

PANELS = {
    "elbo": (TERMS["elbo"].symbol, "elbo"),
    "expected_log_likelihood": (mathtext(TERMS["expected_log_likelihood"].symbol), "likelihood"),
    "kl_to_prior": (TERMS["kl_to_prior"].symbol, "kl"),
}

ENDINGS = {
    "patience": " · stopped early: the validation ELBO no longer rose",
    "callback": " · stopped by a callback",
    "interrupted": " · interrupted",
}
"""Why training ended → what is said of it beside the figures."""

History = Sequence[Mapping[str, float]]


def training_figure(
    history: History,
    *,
    num_particles: int | str,
    num_observations: int | str,
    data_policy: str,
    ending: str = "all epochs",
) -> Figure:
    """The ELBO and its two terms by epoch, in training and validation.

    Args:
        history: one row for each epoch, as in :class:`bayes_vae.runs.Run`.
        num_particles: K of the training steps.
        num_observations: training images, or words for both splits.
        data_policy: how pixels became observations.
        ending: why training ended, as in :class:`bayes_vae.runs.Run`; said where it ended before its last epoch.
    """
    weighted = any(row["kl_weight"] != 1 for row in history)
    note = "KL weight in training as shown, 1 in validation" if weighted else "KL weight 1"
    subtitle = caption(num_particles, num_observations, data_policy, note + ENDINGS.get(ending, ""))
    columns = len(PANELS) + weighted
    figure = new_figure(9.6 + 2.4 * weighted, 3.0, "Training, term by term", subtitle, space=0.05)
    grid = figure.add_gridspec(1, columns, width_ratios=[3, 3, 3, 2][:columns])
    for column, term in enumerate(PANELS):
        axes = draw_term_by_epoch(figure.add_subplot(grid[column]), history, term)
        if column == 0:
            axes.legend(frameon=False, fontsize=8.5, loc="lower right", labelcolor=GREY)
    if weighted:
        _draw_kl_weight(figure.add_subplot(grid[-1]), history)
    return figure


def draw_term_by_epoch(axes: Axes, history: History, term: str) -> Axes:
    """One term by epoch: validation solid, training dashed, the epoch of the best validation ELBO marked.

    Args:
        axes: where to draw.
        history: one row for each epoch.
        term: "elbo", "expected_log_likelihood" or "kl_to_prior".
    """
    name, colour = PANELS[term][0], COLOURS[PANELS[term][1]]
    epochs = [row["epoch"] for row in history]
    validation = [row[f"validation_{term}"] for row in history]
    training = [row[f"train_{term}"] for row in history]
    best = max(range(len(history)), key=lambda row: history[row]["validation_elbo"])
    dash: dict[str, Any] = {"linestyle": (0, (3, 2)), "linewidth": 1.3}
    if len(epochs) == 1:
        dash = {"marker": "o", "markerfacecolor": "white", "linestyle": ""}
    axes.plot(epochs, training, color=colour, label="training", **dash)
    axes.plot(epochs, validation, color=colour, linewidth=2, label="validation")
    dot: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 6, "clip_on": False}
    axes.plot(epochs[best], validation[best], color=colour, label="best epoch, validation", **dot)
    axes.set_title(name, fontsize=10.5, color=colour, loc="left")
    axes.set_title(f"best epoch: {signed(validation[best])}", fontsize=9, color=GREY, loc="right")
    axes.set_ylabel(PER_OBSERVATION)
    return _epoch_axis(axes, history)


def _draw_kl_weight(axes: Axes, history: History) -> Axes:
    weights = [row["kl_weight"] for row in history]
    axes.plot([row["epoch"] for row in history], weights, "o-", color=COLOURS["kl"], linewidth=2, markersize=3)
    axes.set_title("KL weight in training", fontsize=10.5, color=COLOURS["kl"], loc="left")
    axes.set_ylim(0, 1.05 * max(*weights, 1.0))
    axes.set_ylabel("weight (no unit)")
    return _epoch_axis(axes, history)


def _epoch_axis(axes: Axes, history: History) -> Axes:
    axes.set_xlim(history[0]["epoch"] - 0.5, history[-1]["epoch"] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.set_xlabel("epoch")
    return plain_axes(axes)
