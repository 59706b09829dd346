"""ELBO and log p(x) of one model under several guides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from matplotlib.figure import Figure

from bayes_vae.plots.colours import COLOURS
from bayes_vae.plots.style import caption, new_figure, plain_axes
from bayes_vae.terms.averages import Average, with_error

__all__ = ["better_guides_figure"]


class GuideRow(Protocol):
    """What is drawn of one guide."""

    @property
    def guide(self) -> str:
        """Its name."""

    @property
    def elbo(self) -> Average:
        """Averaged over the observations."""

    @property
    def log_evidence(self) -> Average:
        """Annealed from this guide, averaged likewise."""

    @property
    def gap(self) -> float:
        """Mean of log p(x) − ELBO."""

    @property
    def gap_error(self) -> float:
        """Its standard error."""


def better_guides_figure(rows: Sequence[GuideRow], *, num_particles: int, data_policy: str) -> Figure:
    """A line from the ELBO up to log p(x) for each guide: its length is the gap.

    Args:
        rows: one for each guide.
        num_particles: K behind each ELBO.
        data_policy: how pixels became observations.
    """
    count = rows[0].elbo.num_observations
    subtitle = caption(num_particles, count, data_policy, "KL weight 1 · one model, held fixed; Monte-Carlo errors")
    figure = new_figure(7.6, 0.55 * len(rows) + 0.9, "ELBO and evidence of one model under several guides", subtitle)
    axes = plain_axes(figure.add_subplot())
    for place, row in enumerate(rows):
        elbo, evidence = row.elbo, row.log_evidence
        axes.plot([elbo.value, evidence.value], [place, place], color=COLOURS["variational_posterior"], linewidth=5)
        for average, colour in ((elbo, COLOURS["elbo"]), (evidence, COLOURS["evidence"])):
            axes.errorbar(average.value, place, xerr=average.monte_carlo_error, color=colour, marker="o", markersize=6)
        text = f"gap {with_error(row.gap, row.gap_error)}"
        axes.annotate(text, ((elbo.value + evidence.value) / 2, place), (0, 7), textcoords="offset points", ha="center")
    axes.plot([], [], "o", color=COLOURS["elbo"], label="ELBO")
    axes.plot([], [], "o", color=COLOURS["evidence"], label="log p(x), annealed from this guide")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left", ncols=2, bbox_to_anchor=(0, 1.12))
    axes.set_yticks(range(len(rows)), [row.guide for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.7)
    axes.set_xlabel("nats per observation")
    return figure
