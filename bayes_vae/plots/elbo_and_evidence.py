"""ELBO and log p(x), image by image: how far apart, for which images, and by whose fault."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from bayes_vae.estimators.gaps import InferenceGap
from bayes_vae.plots.colours import COLOURS, GREY
from bayes_vae.plots.gaps import GAPS
from bayes_vae.plots.images import draw_pictures
from bayes_vae.plots.style import caption, new_figure, plain_axes

__all__ = ["draw_elbo_below_evidence", "draw_gap_by_rank", "elbo_and_evidence_figure"]

GROUPS, SHOWN = 5, 8
"""Groups of images by log p(x), and pictures of each end."""


def elbo_and_evidence_figure(gap: InferenceGap, x: Tensor) -> Figure:
    """The ELBO of each image below its log p(x); the gap's parts from likely to unlikely images; and the ends.

    Args:
        gap: of N observations.
        x: the observations, shape (N, *event).
    """
    policy = gap.provenance.data_policy
    subtitle = caption(gap.num_particles, gap.num_observations, policy, f"KL weight 1 · log p(x): {gap.estimator}")
    figure = new_figure(9.0, 4.6, "How far the ELBO is below log p(x)", subtitle)
    grid = figure.add_gridspec(2, 2, height_ratios=(3.2, 1))
    draw_elbo_below_evidence(figure.add_subplot(grid[0, 0]), gap)
    draw_gap_by_rank(figure.add_subplot(grid[0, 1]), gap)
    order = gap.inference_gap.cpu().argsort()
    for column, (rows, words) in enumerate(((order[:SHOWN], "smallest gaps"), (order.flip(0)[:SHOWN], "largest gaps"))):
        axes = draw_pictures(figure.add_subplot(grid[1, column]), x[rows], SHOWN)
        axes.set_title(f"the {len(rows)} images with the {words}", fontsize=9, color=GREY, loc="left")
    return figure


def draw_elbo_below_evidence(axes: Axes, gap: InferenceGap) -> Axes:
    """A dot for each image; how far it lies below the line is its gap.

    Args:
        axes: where to draw.
        gap: from :func:`bayes_vae.inference_gap`.
    """
    evidence, elbo = gap.log_evidence.cpu(), gap.elbo.cpu()
    ends = [float(elbo.min()), float(evidence.max())]
    axes.plot(ends, ends, color=COLOURS["evidence"], linewidth=1)
    axes.annotate("ELBO = log p(x)", (ends[1], ends[1]), (-6, -2), textcoords="offset points", ha="right", fontsize=8.5)
    axes.scatter(evidence, elbo, s=12, color=COLOURS["elbo"], alpha=0.6, linewidths=0)
    axes.set_xlabel("log p(x), nats")
    axes.set_ylabel("ELBO, nats")
    return plain_axes(axes)


def draw_gap_by_rank(axes: Axes, gap: InferenceGap) -> Axes:
    """Mean gap of groups of images, from the likely to the unlikely, its two parts stacked where they are known.

    Args:
        axes: where to draw.
        gap: from :func:`bayes_vae.inference_gap`.
    """
    groups = gap.log_evidence.cpu().argsort(descending=True).chunk(GROUPS)
    names = ["inference_gap"] if gap.split is None else ["approximation_gap", "amortization_gap"]
    bottom = torch.zeros(len(groups), dtype=torch.float64)
    for name in names:
        words, colour = GAPS[name]
        heights = torch.stack([getattr(gap, name).cpu()[rows].double().mean() for rows in groups])
        axes.bar(range(len(groups)), heights, bottom=bottom, width=0.7, color=colour, label=words)
        bottom = bottom + heights
    errors = [float(gap.inference_gap.cpu()[rows].double().std() / len(rows) ** 0.5) for rows in groups]
    axes.errorbar(range(len(groups)), bottom, yerr=errors, fmt="none", ecolor="black", elinewidth=0.9, capsize=3)
    labels = [f"{float(gap.log_evidence.cpu()[rows].mean()):.0f}".replace("-", "−") for rows in groups]
    axes.set_xticks(range(len(groups)), labels)
    axes.set_xlabel("mean log p(x) of each fifth of the images, nats")
    axes.set_ylabel("mean gap, nats")
    axes.set_ylim(0, 1.3 * float(bottom.max()))
    axes.legend(frameon=False, fontsize=8.5, loc="upper left")
    return plain_axes(axes)
