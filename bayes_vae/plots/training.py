"""Training by term: the ELBO, its two terms, and the weight of the KL, by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bayes_vae.plots.colours import COLOURS, GREY
from bayes_vae.plots.style import caption, new_figure, plain_axes

__all__ = ["draw_term_by_epoch", "training_figure"]

PANELS = {
    "elbo": ("ELBO", "elbo"),
    "expected_log_likelihood": (r"$E_q \log\, p(x\mid z)$", "likelihood"),
    "kl_to_prior": (r"$\mathrm{KL}(q(z\mid x)\,\|\,p(z))$", "kl"),
}

History = Sequence[Mapping[str, float]]


def training_figure(
    history: History, *, num_particles: int | str, num_observations: int | str, data_policy: str
) -> Figure:
    """The ELBO and its two terms by epoch, in training and validation.

    Args:
        history: one row for each epoch, as in :class:`bayes_vae.runs.Run`.
        num_particles: K of the training steps.
        num_observations: training images, or words for both splits.
        data_policy: how pixels became observations.
    """
    weighted = any(row["kl_weight"] != 1 for row in history)
    note = "KL weight in training as shown, 1 in validation" if weighted else "KL weight 1"
    subtitle = caption(num_particles, num_observations, data_policy, note)
    figure = new_figure(9.6, 3.0 + 0.9 * weighted, "Training, term by term", subtitle)
    grid = figure.add_gridspec(1 + weighted, 3, height_ratios=[3.0, 0.8][: 1 + weighted])
    for column, term in enumerate(PANELS):
        draw_term_by_epoch(figure.add_subplot(grid[0, column]), history, term)
    if weighted:
        _draw_kl_weight(figure.add_subplot(grid[1, 2]), history)
    return figure


def draw_term_by_epoch(axes: Axes, history: History, term: str) -> Axes:
    """One term by epoch: validation solid, training dashed, the best epoch of the validation ELBO marked.

    Args:
        axes: where to draw.
        history: one row for each epoch.
        term: "elbo", "expected_log_likelihood" or "kl_to_prior".
    """
    name, colour_name = PANELS[term]
    colour = COLOURS[colour_name]
    epochs = [row["epoch"] for row in history]
    validation = [row[f"validation_{term}"] for row in history]
    training = [row[f"train_{term}"] for row in history]
    marker = "o" if len(epochs) == 1 else ""
    axes.plot(
        epochs, training, color=colour, linestyle=(0, (3, 2)), linewidth=1.3, marker=marker, label="training"
    )
    axes.plot(epochs, validation, color=colour, linewidth=2, marker=marker, label="validation")
    best = max(range(len(history)), key=lambda row: history[row]["validation_elbo"])
    axes.plot(
        epochs[best],
        validation[best],
        "o",
        color=colour,
        markersize=6,
        label=f"best epoch: {validation[best]:.2f}",
    )
    axes.set_title(name, fontsize=10.5, color=colour, loc="left")
    axes.set_ylabel("nats per observation" if term == "elbo" else "")
    axes.legend(frameon=False, fontsize=8, loc="best", labelcolor=GREY)
    return _epoch_axis(axes)


def _draw_kl_weight(axes: Axes, history: History) -> Axes:
    axes.plot([row["epoch"] for row in history], [row["kl_weight"] for row in history], color=COLOURS["kl"])
    axes.set_ylim(bottom=0)
    axes.set_ylabel("KL weight")
    return _epoch_axis(axes)


def _epoch_axis(axes: Axes) -> Axes:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    return plain_axes(axes)
