"""The terms of one observation, where z has too many dimensions for Bayes' rule to be drawn on a grid."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from bayes_vae.estimators.evaluation import Evaluation
from bayes_vae.plots.colours import COLOURS, GREY
from bayes_vae.plots.gap_figures import GAPS, draw_kl_per_dimension
from bayes_vae.plots.images import draw_pictures, is_picture, value_range
from bayes_vae.plots.profiles import draw_profile
from bayes_vae.plots.style import caption, new_figure, plain_axes
from bayes_vae.vocabulary.number_text import signed
from bayes_vae.vocabulary.symbols import TERMS, mathtext

__all__ = ["draw_log_weights", "draw_terms", "one_observation_figure"]

LEAST_BINS, MOST_BINS = 5, 40
"""Of the histogram of log weights."""


def one_observation_figure(
    evaluation: Evaluation,
    log_weights: Tensor,
    x: Tensor,
    reconstructions: Tensor | None = None,
    kl_per_dimension: Tensor | None = None,
) -> Figure:
    """One observation and its reconstructions, its terms, the weights of q's draws, and the KL of each dimension.

    Args:
        evaluation: of this one observation.
        log_weights: log p(x, z) − log q(z given x) at q's draws, shape (K,), nats.
        x: the observation, shape (*event,).
        reconstructions: means of p(x given z) for draws from q, shape (S, *event), or None.
        kl_per_dimension: shape (D,), nats; None where prior or guide does not factorize.
    """
    policy, particles = evaluation.provenance.data_policy, evaluation.terms.num_particles
    words = f"KL weight 1 · log p(x): {evaluation.estimator}"
    first = 1 if is_picture(tuple(x.shape)) else 2.3
    widths = [first, 2.3, 2.3, 2.3] if kl_per_dimension is not None else [first, 2.3, 2.3]
    subtitle = caption(particles, 1, policy, words)
    figure = new_figure(1.5 * sum(widths), 3.0, "The terms of one observation", subtitle, space=0.04)
    panels = figure.subplots(1, len(widths), width_ratios=widths)
    shown = x.unsqueeze(0) if reconstructions is None else torch.cat([x.unsqueeze(0), reconstructions])
    if is_picture(tuple(x.shape)):
        draw_pictures(panels[0], shown.cpu(), 1, value_range(x))
        words = "observation x" if reconstructions is None else "observation x, and\nbelow means of p(x|z)"
        panels[0].set_title(words, fontsize=9, color=GREY)
    else:
        draw_profile(panels[0], x, reconstructions)
    draw_terms(panels[1], evaluation)
    draw_log_weights(panels[2], log_weights, float(evaluation.terms.elbo), float(evaluation.log_evidence))
    if kl_per_dimension is not None:
        draw_kl_per_dimension(panels[3], kl_per_dimension.unsqueeze(0))
        panels[3].set_ylabel(f"{TERMS['kl_to_prior'].symbol}, nats")
    return figure


def draw_terms(axes: Axes, evaluation: Evaluation) -> Axes:
    """From E_q log p(x given z) down by the KL to the ELBO, and from there up by the gap to log p(x).

    Args:
        axes: where to draw.
        evaluation: of one observation.
    """
    terms = evaluation.terms
    likelihood, kl = float(terms.expected_log_likelihood), float(terms.kl_to_prior)
    elbo, evidence = float(terms.elbo), float(evaluation.log_evidence)
    gap, gap_error = evidence - elbo, float(evaluation.averages()["inference_gap"].monte_carlo_error)
    within = ", zero within error" if evaluation.averages()["inference_gap"].reading.equal else ""
    names = ("expected_log_likelihood", "kl_to_prior", "log_evidence")
    symbols = [mathtext(TERMS[name].symbol) for name in names]
    bars = (
        (0.0, likelihood, "likelihood", f"{symbols[0]}: {signed(likelihood)}"),
        (likelihood, -kl, "kl", f"minus {symbols[1]}: {signed(-kl)}"),
        (0.0, elbo, "elbo", f"the ELBO, their sum: {signed(elbo)}"),
        (elbo, gap, "gap", f"the gap, KL(q(z|x) ‖ p(z|x)): {signed(gap)}{within}"),
        (0.0, evidence, "evidence", f"{symbols[2]}: {signed(evidence)}"),
    )
    colours = {**COLOURS, "gap": GAPS["inference_gap"][1]}
    for row, (left, width, term, words) in enumerate(bars):
        axes.barh(row, width, left=left, height=0.4, color=colours[term], linewidth=0)
        axes.text(0, row - 0.25, words, fontsize=8.5, va="bottom", ha="right" if evidence < 0 else "left")
    if gap_error == gap_error:
        axes.errorbar(evidence, 3, xerr=gap_error, color="black", capsize=3, elinewidth=1)
    axes.axvline(0, color=GREY, linewidth=0.7)
    axes.set_ylim(len(bars) - 0.6, -0.75)
    axes.use_sticky_edges = False  # bars may end short of the frame
    axes.margins(x=0.04)
    axes.set_yticks([])
    axes.set_xlabel("nats")
    plain_axes(axes).spines["left"].set_visible(False)
    return axes


def draw_log_weights(axes: Axes, log_weights: Tensor, elbo: float, log_evidence: float) -> Axes:
    """How log p(x, z) − log q(z given x) is spread over q's draws: the ELBO is its mean.

    Args:
        axes: where to draw.
        log_weights: shape (K,), nats.
        elbo: their mean.
        log_evidence: what log of the mean weight tends to.
    """
    values = log_weights.double().cpu()
    values = values[values.isfinite()]
    bins = max(LEAST_BINS, min(MOST_BINS, int(len(values) ** 0.5)))
    axes.hist(values, bins=bins, color=COLOURS["variational_posterior"], alpha=0.75)
    for value, term, words in ((elbo, "elbo", "ELBO: their mean"), (log_evidence, "evidence", "log p(x)")):
        axes.axvline(value, color=COLOURS[term], linewidth=1.4, label=words)
    axes.set_xlabel(f"{TERMS['log_importance_weights'].symbol} at q’s draws, nats")
    axes.set_ylabel("draws")
    axes.set_ylim(0, 1.08 * axes.get_ylim()[1])
    axes.legend(frameon=False, fontsize=8.5, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return plain_axes(axes)
