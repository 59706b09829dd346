"""What the ELBO loses, observation by observation, and what the KL to the prior is made of."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from bayes_vae.estimators.aggregate_posterior import AggregatePosteriorTerms
from bayes_vae.estimators.gaps import InferenceGap
from bayes_vae.plots.colours import COLOURS
from bayes_vae.plots.style import caption, new_figure, plain_axes
from bayes_vae.terms.averages import Average
from bayes_vae.vocabulary.conditions import PER_OBSERVATION
from bayes_vae.vocabulary.number_text import dash, with_error
from bayes_vae.vocabulary.symbols import TERMS, dimension_symbol, mathtext

__all__ = [
    "aggregate_figure",
    "draw_aggregate_parts",
    "draw_gap_parts",
    "draw_kl_per_dimension",
    "gap_figure",
    "kl_per_dimension_figure",
]

GAPS = {
    "inference_gap": (TERMS["inference_gap"].symbol, "#5f5f5f"),
    "approximation_gap": (TERMS["approximation_gap"].words, "#8c8c8c"),
    "amortization_gap": (TERMS["amortization_gap"].words, "#b4b4b4"),
}
PARTS = {
    "kl_to_prior": (f"mean {TERMS['kl_to_prior'].symbol}", COLOURS["kl"]),
    "index_code_mutual_information": (TERMS["index_code_mutual_information"].words, "#a8528a"),
    "marginal_kl_to_prior": (TERMS["marginal_kl_to_prior"].words, "#d99cbf"),
    "total_correlation": (TERMS["total_correlation"].words, "#d99cbf"),
    "dimensionwise_kl": (TERMS["dimensionwise_kl"].words, "#e8c3d8"),
}
"""Name in the code → words and colour: tints of the sum's own, since no part is another term of Bayes' rule."""

MOST_NAMED = 16
"""Latent dimensions up to which each has its number below its bar."""


def gap_figure(gap: InferenceGap) -> Figure:
    """The inference gap, and its two parts where it is split, averaged over the observations."""
    policy = gap.provenance.data_policy
    subtitle = caption(gap.num_particles, gap.num_observations, policy, f"KL weight 1 · log p(x): {gap.estimator}")
    figure = new_figure(7.0, 1.8, "What the ELBO lacks of log p(x)", subtitle)
    draw_gap_parts(figure.add_subplot(), gap)
    return figure


def aggregate_figure(terms: AggregatePosteriorTerms) -> Figure:
    """What the mean KL to the prior is made of."""
    policy = terms.provenance.data_policy
    subtitle = caption(terms.num_particles, terms.num_observations, policy, "KL weight 1")
    figure = new_figure(7.0, 2.2, "What the mean KL to the prior is made of", subtitle)
    draw_aggregate_parts(figure.add_subplot(), terms)
    return figure


def kl_per_dimension_figure(terms: AggregatePosteriorTerms) -> Figure:
    """Mean KL of each latent dimension, the largest first; dimensions that are not active are hollow."""
    policy = terms.provenance.data_policy
    subtitle = caption("0 (closed form)", terms.num_observations, policy, "KL weight 1")
    figure = new_figure(7.0, 2.8, "KL by latent dimension", subtitle)
    draw_kl_per_dimension(figure.add_subplot(), terms.kl_per_dimension, terms.active)
    return figure


def draw_gap_parts(axes: Axes, gap: InferenceGap) -> Axes:
    """Bars with the standard error of each mean.

    Args:
        axes: where to draw.
        gap: from :func:`bayes_vae.inference_gap`.
    """
    return _bars(axes, gap.averages(), GAPS)


def draw_aggregate_parts(axes: Axes, terms: AggregatePosteriorTerms) -> Axes:
    """Bars with the standard error of each mean.

    Args:
        axes: where to draw.
        terms: from :func:`bayes_vae.aggregate_posterior_terms`.
    """
    averages = terms.averages()
    if "total_correlation" in averages:  # the marginal KL by its two parts
        del averages["marginal_kl_to_prior"]
    return _bars(axes, averages, PARTS)


def _bars(axes: Axes, known: dict[str, Average], names: dict[str, tuple[str, str]]) -> Axes:
    """The first is the sum; each of the others starts where the one above it ends, so that they add up to it."""
    start, averages = 0.0, {name: known[name] for name in names if name in known}
    largest = max(abs(average.value) for average in averages.values())
    for row, (name, average) in enumerate(averages.items()):
        words, colour = names[name]
        left = 0.0 if row == 0 else start
        axes.barh(row, average.value, left=left, height=0.42, color=colour, linewidth=0)
        error = average.known_error
        end = left + average.value
        if error > 0:
            axes.errorbar(end, row, xerr=error, color="black", capsize=3, elinewidth=1, linewidth=0)
        text = dash(with_error(average.value, error))
        axes.text(0, row - 0.26, f"{words}: {text}", fontsize=9, va="bottom")
        start += average.value if row else 0.0
    axes.set_ylim(len(averages) - 0.65, -0.75)
    axes.set_xlim(min(0.0, -0.02 * largest), 1.12 * largest)
    axes.set_yticks([])
    axes.set_xlabel(PER_OBSERVATION)
    plain_axes(axes).spines["left"].set_visible(False)
    return axes


def draw_kl_per_dimension(axes: Axes, kl: Tensor, active: Tensor | None = None) -> Axes:
    """Mean KL of each dimension with its error over the data, the largest first.

    Args:
        axes: where to draw.
        kl: of each observation and dimension, shape (N, D), nats.
        active: which dimensions are active, shape (D,); the others are hollow.
    """
    means = kl.double().mean(0).cpu()
    order = means.argsort(descending=True, stable=True)
    heights, count = means[order].tolist(), len(order)
    errors = (kl.double().std(0) / len(kl) ** 0.5).cpu()[order].tolist() if len(kl) > 1 else None
    filled = [True] * count if active is None else active.cpu()[order].tolist()
    colour = COLOURS["kl"]
    faces = [colour if fill else "white" for fill in filled]
    axes.bar(range(count), heights, width=0.8, color=faces, edgecolor=colour, linewidth=0.9)
    if errors is not None:
        axes.errorbar(range(count), heights, yerr=errors, fmt="none", ecolor="black", elinewidth=0.9)
    if count <= MOST_NAMED:
        axes.set_xticks(range(count), [mathtext(dimension_symbol(place)) for place in order.tolist()])
        axes.set_xlabel("latent dimension, the largest KL first")
    else:
        axes.set_xlabel(f"the {count} latent dimensions, the largest KL first")
    axes.set_ylabel("mean KL, nats")
    axes.set_ylim(0, None)
    axes.margins(x=0.02)
    return plain_axes(axes)
