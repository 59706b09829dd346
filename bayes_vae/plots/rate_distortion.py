"""Rate against distortion over the weights of the KL, and what each weight does to ELBO and log p(x)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from bayes_vae.plots.colours import COLOURS, GREY
from bayes_vae.plots.images import draw_pictures
from bayes_vae.plots.style import caption, new_figure, plain_axes
from bayes_vae.terms.averages import Average

__all__ = ["RateDistortion", "draw_curve", "draw_figures_by_weight", "rate_distortion_figure"]


@dataclass(frozen=True)
class RateDistortion:
    """One pair for each weight of the KL in training, all measured at weight 1.

    Attributes:
        kl_weights: of training, rising.
        rate: mean KL to the prior of each.
        expected_log_likelihood: minus the distortion of each.
        elbo: of each, at weight 1.
        log_evidence: of each.
        active: active latent dimensions of each.
    """

    kl_weights: tuple[float, ...]
    rate: tuple[Average, ...]
    expected_log_likelihood: tuple[Average, ...]
    elbo: tuple[Average, ...]
    log_evidence: tuple[Average, ...]
    active: tuple[int, ...]


def rate_distortion_figure(curve: RateDistortion, samples: Tensor, *, num_particles: int, data_policy: str) -> Figure:
    """The curve, ELBO and log p(x) by weight, and draws from each model.

    Args:
        curve: what was measured.
        samples: means of p(x given z) for z from the prior, shape (weights, S, *event).
        num_particles: K behind each ELBO.
        data_policy: how pixels became observations.
    """
    subtitle = caption(num_particles, curve.elbo[0].num_observations, data_policy, "measured at KL weight 1")
    columns = len(curve.kl_weights)
    figure = new_figure(9.4, 5.6, "What the weight of the KL does", subtitle)
    grid = figure.add_gridspec(2, 1, height_ratios=(1.5, 1))
    above, below = grid[0].subgridspec(1, 2), grid[1].subgridspec(1, columns)
    draw_curve(figure.add_subplot(above[0]), curve)
    draw_figures_by_weight(figure.add_subplot(above[1]), curve)
    for column, (weight, pictures) in enumerate(zip(curve.kl_weights, samples, strict=True)):
        axes = draw_pictures(figure.add_subplot(below[column]), pictures, 2)
        axes.set_title(f"β = {weight:g}", fontsize=9, color=GREY)
        if column == 0:
            axes.set_ylabel("draws from\nthe prior", fontsize=9, color=COLOURS["prior"])
    return figure


def draw_curve(axes: Axes, curve: RateDistortion) -> Axes:
    """Distortion against rate; along each grey line the ELBO is the same.

    Args:
        axes: where to draw.
        curve: what was measured.
    """
    rate = np.array([average.value for average in curve.rate])
    distortion = -np.array([average.value for average in curve.expected_log_likelihood])
    axes.plot(rate, distortion, color=COLOURS["kl"], marker="o", markersize=4.5, linewidth=1.2, zorder=3)
    low, high = 0.0, 1.15 * rate.max()
    for first, words in _labels(curve.kl_weights, rate / high, distortion / np.ptp(distortion)):
        at = rate[first], distortion[first]
        axes.annotate(f"β = {words}", at, (6, 5), textcoords="offset points", fontsize=8.5)
    best = max(average.value for average in curve.elbo)
    axes.plot([low, high], [-best - low, -best - high], color=COLOURS["elbo"], linewidth=1, label="the best ELBO")
    for worse in (5, 10, 20):
        axes.plot([low, high], [-best + worse - low, -best + worse - high], color="#c9c9c9", linewidth=0.7)
    axes.plot([], [], color="#c9c9c9", linewidth=0.7, label="5, 10, 20 nats less")
    height = distortion.max() - distortion.min()
    axes.set(xlim=(-0.02 * high, high), ylim=(distortion.min() - 0.4 * height, distortion.max() + 0.4 * height))
    axes.set_xlabel("rate: KL to the prior, nats")
    axes.set_ylabel("distortion: −E log p(x|z), nats")
    axes.legend(frameon=False, fontsize=8.5, loc="upper right")
    return plain_axes(axes)


def _labels(kl_weights: tuple[float, ...], across: np.ndarray, up: np.ndarray) -> list[tuple[int, str]]:
    """Where a label stands and what it says; neighbours that lie on each other share one."""
    found: list[tuple[int, str]] = []
    for place, weight in enumerate(kl_weights):
        if found and abs(across[place] - across[found[-1][0]]) + abs(up[place] - up[found[-1][0]]) < 0.12:
            found[-1] = (found[-1][0], f"{found[-1][1]}, {weight:g}")
        else:
            found.append((place, f"{weight:g}"))
    return found


def draw_figures_by_weight(axes: Axes, curve: RateDistortion) -> Axes:
    """ELBO and log p(x) at weight 1 of what each weight trained, with the active dimensions.

    Args:
        axes: where to draw.
        curve: what was measured.
    """
    for name, words in (("log_evidence", "log p(x), annealed"), ("elbo", "ELBO, at weight 1")):
        averages: tuple[Average, ...] = getattr(curve, name)
        colour = COLOURS["evidence" if name == "log_evidence" else "elbo"]
        values, errors = [a.value for a in averages], [a.total_error for a in averages]
        axes.errorbar(curve.kl_weights, values, errors, color=colour, marker="o", markersize=4, capsize=3, label=words)
    axes.set_xscale("log")
    axes.set_xticks(curve.kl_weights, [f"{w:g}\n{a}" for w, a in zip(curve.kl_weights, curve.active, strict=True)])
    axes.minorticks_off()
    axes.set_xlabel("weight β in training, above the active dimensions")
    axes.set_ylabel("nats per observation")
    axes.legend(frameon=False, fontsize=8.5, loc="lower center")
    return plain_axes(axes)
