"""Bayes' rule as a row of pictures: prior times likelihood over evidence is the posterior, and the guide beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from bayes_vae.errors import ShapeError
from bayes_vae.estimators.grid import BayesRuleOnGrid
from bayes_vae.plots.colours import COLOURS, GREY
from bayes_vae.plots.images import as_pictures, is_picture
from bayes_vae.plots.profiles import draw_profile
from bayes_vae.plots.style import caption, new_figure
from bayes_vae.vocabulary.number_text import signed
from bayes_vae.vocabulary.symbols import dimension_symbol, mathtext

__all__ = ["bayes_rule_figure", "draw_density", "highest_density_levels"]

MASSES = (0.95, 0.5)
"""The lines of a density hold so much of its mass."""

MOST_HIDDEN = 1e-4
"""The part of prior, posterior and guide that the picture may crop away on each side."""


def bayes_rule_figure(rule: BayesRuleOnGrid, row: int = 0, x: Tensor | None = None) -> Figure:
    """Five panels for one observation: prior × likelihood ÷ evidence = exact posterior, and the guide beside it.

    Args:
        rule: every term on one grid.
        row: which of its observations.
        x: that observation, shape (*event,), to show with its evidence; None shows the figure alone.
    """
    if not 0 <= row < rule.num_observations:
        raise ShapeError(f"row must be one of the {rule.num_observations} observations of the grid, got {row}.")
    figure = new_figure(11.6, 3.0, "Bayes’ rule for one observation", _subtitle(rule, row), space=0.0)
    widths = [4, 0.42, 4, 0.42, 2.4, 0.42, 4, 0.42, 4]
    places = figure.add_gridspec(1, len(widths), width_ratios=widths)
    prior, times, likelihood, over, evidence, equals, posterior, nearly, guide = (
        figure.add_subplot(places[column]) for column in range(len(widths))
    )
    for axes, sign in ((times, "×"), (over, "÷"), (equals, "="), (nearly, "≈")):
        _write_sign(axes, sign)
    draw_density(prior, rule, rule.log_prior, "prior", "prior p(z)")
    draw_density(likelihood, rule, rule.log_likelihood[row], "likelihood", "likelihood p(x|z)", lines=False)
    _draw_evidence(evidence, float(rule.log_evidence[row]), x)
    draw_density(posterior, rule, rule.log_posterior[row], "exact_posterior", "exact posterior p(z|x)")
    draw_density(guide, rule, rule.log_guide[row], "variational_posterior", "guide q(z|x)")
    _contours(guide, rule, rule.log_posterior[row], COLOURS["exact_posterior"], linestyles=[(0, (3, 1.5))])
    panels = {
        prior: rule.log_prior,
        likelihood: rule.log_likelihood[row],
        posterior: rule.log_posterior[row],
        guide: rule.log_guide[row],
    }
    for axes, log_density in panels.items():
        _mark(axes, rule, row, log_density)
    limits = _limits(rule, row)
    for axes in panels:
        axes.set(xlim=limits[0], ylim=limits[1])
    for axes in (likelihood, posterior, guide):
        axes.set_yticklabels([])
        axes.set_ylabel("")
    return figure


def draw_density(
    axes: Axes, rule: BayesRuleOnGrid, log_density: Tensor, term: str, title: str, *, lines: bool = True
) -> Axes:
    """One function of z on the grid, from white at zero to its term's colour at its own largest value.

    Args:
        axes: where to draw.
        rule: the grid.
        log_density: shape (G, G), nats.
        term: name of the term in :data:`bayes_vae.plots.colours.COLOURS`.
        title: of the panel.
        lines: whether to draw those that hold 50 % and 95 % of the mass.
    """
    colour = COLOURS[term]
    height = (log_density - log_density.max()).exp()
    first, second = (axis.cpu().numpy() for axis in (rule.first_axis, rule.second_axis))
    axes.pcolormesh(first, second, height.T.cpu().numpy(), cmap=_map_of(colour), vmin=0, vmax=1, rasterized=True)
    if lines:
        _contours(axes, rule, log_density, _darker(colour))
    axes.set_title(title, fontsize=10.5, color=colour)
    axes.set(xlabel=mathtext(dimension_symbol(0)), ylabel=mathtext(dimension_symbol(1)), aspect="equal")
    axes.spines[:].set(color="#cccccc", linewidth=0.8)
    axes.tick_params(colors=GREY, labelsize=8, length=2.5)
    return axes


def _mark(axes: Axes, rule: BayesRuleOnGrid, row: int, log_density: Tensor) -> None:
    """A dot where the posterior is highest, and the term's value there: the four values add up as the rule says."""
    place = divmod(int(rule.log_posterior[row].argmax()), rule.num_points)
    axes.plot(float(rule.first_axis[place[0]]), float(rule.second_axis[place[1]]), "o", color="black", markersize=2.5)
    value = f"log at the dot: {signed(float(log_density[place]))}"
    axes.text(0.04, 0.04, value, transform=axes.transAxes, fontsize=8.5, color=COLOURS["evidence"])


def highest_density_levels(log_density: Tensor, masses: Sequence[float] = MASSES) -> list[float]:
    """Heights above which a density holds so much of its mass, the largest mass first.

    Args:
        log_density: on an even grid, shape (G, G); its scale does not matter.
        masses: between 0 and 1, falling.

    Returns:
        log heights, rising.
    """
    ordered = log_density.flatten().sort(descending=True).values.double()
    held = (ordered - ordered.logsumexp(0)).exp().cumsum(0)
    places = torch.searchsorted(held, torch.tensor(masses, dtype=held.dtype, device=held.device))
    return [float(ordered[place]) for place in places.clamp(max=len(ordered) - 1)]


def _contours(axes: Axes, rule: BayesRuleOnGrid, log_density: Tensor, colour: str, **style: Any) -> None:
    levels = sorted(set(highest_density_levels(log_density)))
    grid = log_density.clamp(min=float(log_density.max()) - 60).T.cpu().numpy()
    first, second = (axis.cpu().numpy() for axis in (rule.first_axis, rule.second_axis))
    axes.contour(first, second, grid, levels=levels, colors=[colour], linewidths=1, **{"linestyles": "solid", **style})


def _draw_evidence(axes: Axes, log_evidence: float, x: Tensor | None) -> None:
    """A number: the whole plane's sum. The observation, which everyday Bayes calls evidence, is named as such below."""
    colour = COLOURS["evidence"]
    axes.set_title("evidence p(x)", fontsize=10.5, color=colour)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_box_aspect(1 if x is None else 4 / 2.4)  # as tall as the panels beside it
    words, height = f"log p(x) =\n{signed(log_evidence)} nats", 0.5 if x is None else 0.86
    axes.text(0.5, height, words, ha="center", va="center", fontsize=9.5, color=colour, transform=axes.transAxes)
    if x is None:
        return
    inset = axes.inset_axes((0.12, 0.0, 0.76, 0.52))
    if is_picture(tuple(x.shape)):
        inset.imshow(as_pictures(x.unsqueeze(0))[0], cmap="gray_r", interpolation="nearest")
    else:
        draw_profile(inset, x, names=False).set_xlabel("")
    inset.set(xticks=[], yticks=[])
    inset.spines[:].set(color="#cccccc", linewidth=0.8)
    inset.set_title("of the observation x", fontsize=9, color=GREY)


def _write_sign(axes: Axes, sign: str) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, sign, ha="center", va="center", fontsize=20, color=GREY, transform=axes.transAxes)


def _subtitle(rule: BayesRuleOnGrid, row: int) -> str:
    points = f"0 (a grid of {rule.num_points} × {rule.num_points})"
    gap = float(rule.inference_gap[row])
    lines = [
        "colour: from zero to each panel’s own largest value · lines: 50 % and 95 % of the mass · "
        "dashed at the right: the exact posterior again",
        "the dot: where the exact posterior is highest, and there log p(z) + log p(x|z) − log p(x) = log p(z|x)",
    ]
    words = f"KL(q(z|x) ‖ p(z|x)) = {gap:.3f} nats: what the ELBO lacks of log p(x)"
    return caption(points, 1, rule.provenance.data_policy, words) + "\n" + "\n".join(lines)


def _limits(rule: BayesRuleOnGrid, row: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """A square that holds all but a ten-thousandth of prior, posterior and guide on each side."""
    axes = (rule.first_axis, rule.second_axis)
    densities = (rule.log_prior, rule.log_posterior[row], rule.log_guide[row])
    ends = []
    for side, axis in enumerate(axes):
        spans = [_span(density.logsumexp(1 - side), axis) for density in densities]
        ends.append((min(low for low, _ in spans), max(high for _, high in spans)))
    half = max(high - low for low, high in ends) / 2
    first, second = (((low + high) / 2 - half, (low + high) / 2 + half) for low, high in ends)
    return first, second


def _span(log_marginal: Tensor, axis: Tensor) -> tuple[float, float]:
    held = log_marginal.softmax(0).cumsum(0)
    inside = torch.nonzero((held > MOST_HIDDEN) & (held < 1 - MOST_HIDDEN)).flatten().tolist() or [0, len(axis) - 1]
    return float(axis[inside[0]]), float(axis[min(inside[-1] + 1, len(axis) - 1)])


def _map_of(colour: str) -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list(colour, ["white", colour])


def _darker(colour: str) -> str:
    red, green, blue = (int(255 * 0.62 * part) for part in to_rgb(colour))
    return f"#{red:02x}{green:02x}{blue:02x}"
