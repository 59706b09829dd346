"""How far each observation's importance estimate can be trusted: k̂ against its threshold, and the effective sample."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from torch import Tensor

from bayes_vae.errors import SettingsError
from bayes_vae.estimators.importance.estimate import LogEvidenceEstimate
from bayes_vae.plots.colours import COLOURS, GREY, LABEL_COLOURS
from bayes_vae.plots.style import caption, new_figure, plain_axes
from bayes_vae.vocabulary.number_text import dash, thousands
from bayes_vae.vocabulary.readings import ESTIMATE, Reading, words
from bayes_vae.vocabulary.symbols import TERMS

__all__ = ["draw_effective_sample_size", "draw_pareto_k", "pareto_k_figure", "places_by_k"]

CONVERGED, LOWER_BOUND = COLOURS["evidence"], LABEL_COLOURS[2]
"""The colours of the two readings."""

LEAST_RANGE = (0.0, 1.0)
"""The axis of k̂ shows at least this much."""

Order = Literal["sorted", "index"]


def pareto_k_figure(estimate: LogEvidenceEstimate, *, order: Order = "sorted") -> Figure:
    """k̂ of every observation with the threshold above which L_K is a lower bound, and the effective sample below it.

    Args:
        estimate: from :func:`bayes_vae.estimate_log_evidence`, or of :func:`bayes_vae.compare`.
        order: "sorted" by k̂, or "index", as the observations came.

    Raises:
        SettingsError: another order.
    """
    if order not in ("sorted", "index"):
        raise SettingsError(f"order must be 'sorted' or 'index', got {order!r}.")
    policy, seed = estimate.provenance.data_policy, estimate.provenance.seed
    seeded = estimate.estimator if seed is None else f"seed {seed}"
    counts = caption(_particles(estimate), estimate.num_observations, policy, seeded)
    title = "How far each estimate of log p(x) can be trusted"
    figure = new_figure(8.2, 4.8, title, f"{counts}\n{_summary(estimate)}")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    places = places_by_k(estimate.pareto_k) if order == "sorted" else torch.arange(estimate.num_observations)
    draw_pareto_k(upper, estimate, places)
    draw_effective_sample_size(lower, estimate, places)
    by = "observations, sorted by k̂" if order == "sorted" else "observations, in the order given"
    lower.set_xlabel(by)
    return figure


def draw_pareto_k(axes: Axes, estimate: LogEvidenceEstimate, places: Tensor) -> Axes:
    """k̂ at each place; triangles at the edges stand for −∞ (a perfect guide) and +∞, crosses for none.

    Args:
        axes: where to draw.
        estimate: K weights of each of N observations.
        places: where each observation stands, shape (N,).
    """
    k = estimate.pareto_k.cpu()
    finite = k[torch.isfinite(k)]
    low = min(LEAST_RANGE[0], *finite.tolist(), LEAST_RANGE[0]) - 0.08
    high = max(LEAST_RANGE[1], *finite.tolist(), LEAST_RANGE[1]) + 0.08
    axes.set_ylim(low, high)
    _draw_thresholds(axes, estimate)
    edge = 0.025 * (high - low)
    kinds = [
        ("o", torch.isfinite(k), k, ""),
        ("v", k == -torch.inf, k.new_full(k.shape, low + edge), "−∞: equal weights"),
        ("^", k == torch.inf, k.new_full(k.shape, high - edge), "+∞: no tail to fit"),
        ("x", k.isnan(), k.new_full(k.shape, low + edge), "no k̂"),
    ]
    ok = estimate.converged.cpu()
    readings = (
        (ESTIMATE, ok, CONVERGED),
        (Reading("lower_bound_not_converged", 1, 1), ~ok, LOWER_BOUND),
    )
    for marker, which, values, special in kinds:
        for reading, theirs, colour in readings:
            chosen = which & theirs
            if bool(chosen.any()):
                label = f"{special or words(reading)} ({thousands(int(chosen.sum()))})"
                style: dict[str, Any] = {"s": _dot(estimate), "linewidths": 1.0 if marker == "x" else 0}
                axes.scatter(
                    places[chosen], values[chosen], marker=marker, color=colour, label=label, zorder=3, **style
                )
    axes.set_ylabel(f"{TERMS['pareto_k'].symbol}, {TERMS['pareto_k'].words}")
    axes.legend(
        frameon=False,
        fontsize=8.5,
        labelcolor=GREY,
        loc="lower left",
        bbox_to_anchor=(-0.02, 0.99),
        ncols=4,
        handletextpad=0.1,
        columnspacing=1.2,
        markerscale=_legend_scale(estimate),
    )
    return plain_axes(axes)


def draw_effective_sample_size(axes: Axes, estimate: LogEvidenceEstimate, places: Tensor) -> Axes:
    """Effective sample size at each place, between one and K, by reading.

    Args:
        axes: where to draw.
        estimate: K weights of each of N observations.
        places: where each observation stands, shape (N,).
    """
    size, ok = estimate.effective_sample_size.cpu(), estimate.converged.cpu()
    for chosen, colour in ((ok, CONVERGED), (~ok, LOWER_BOUND)):
        axes.scatter(places[chosen], size[chosen], color=colour, s=_dot(estimate), linewidths=0, zorder=3)
    most = estimate.num_particles
    axes.axhline(most, color=GREY, linewidth=0.9, linestyle=(0, (3, 2)))
    _write_at_line(axes, f"K = {thousands(most)}", most)
    axes.set_ylim(0.8, 2.2 * most)
    axes.set_yscale("log")
    axes.set_ylabel("effective sample size")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: thousands(round(value))))
    axes.set_xlim(-0.5 - 0.01 * len(size), len(size) - 0.5 + 0.01 * len(size))
    axes.tick_params(which="minor", color=GREY)
    return plain_axes(axes)


def _draw_thresholds(axes: Axes, estimate: LogEvidenceEstimate) -> None:
    """The line, or band where K differs, that decides; and the one below which the weights' variance is finite."""
    known = estimate.pareto_k_thresholds
    low, high = float(known.min()), float(known.max())
    if not np.isfinite(high):
        return
    axes.axhspan(max(low, axes.get_ylim()[0]), high, color=GREY, alpha=0.2, linewidth=0, zorder=0)
    words = f"{high:.2f}" if low == high else f"{low:.2f} to {high:.2f}"
    marks: dict[str, tuple[float, Any, float]] = {f"threshold {words}": (high, "solid", 1.2)}
    bottom, top = axes.get_ylim()
    if high - 0.5 > 0.07 * (top - bottom):
        marks["finite variance"] = (0.5, (0, (1, 2)), 0.9)
    for words, (value, style, width) in marks.items():
        axes.axhline(value, color=GREY, linewidth=width, linestyle=style, zorder=1)
        _write_at_line(axes, words, value)


def _write_at_line(axes: Axes, words: str, value: float) -> None:
    """To the right of the axes, at the height of a line."""
    place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    axes.annotate(words, (1, value), (4, 0), ha="left", va="center", fontsize=8, color=GREY, linespacing=0.95, **place)


def places_by_k(pareto_k: Tensor) -> Tensor:
    """The place of each observation, from 0, when they are sorted by k̂; those that have none at the end."""
    k = pareto_k.cpu()
    places = torch.empty(len(k), dtype=torch.int64)
    places[torch.where(k.isnan(), torch.inf, k).argsort(stable=True)] = torch.arange(len(k))
    return places


def _dot(estimate: LogEvidenceEstimate) -> float:
    """Area of a dot in square points."""
    return float(np.clip(4000 / estimate.num_observations, 3, 30))


def _legend_scale(estimate: LogEvidenceEstimate) -> float:
    return max(1.0, math.sqrt(16 / _dot(estimate)))


def _particles(estimate: LogEvidenceEstimate) -> int | str:
    least, most = int(estimate.particles.min()), estimate.num_particles
    return most if least == most else f"{thousands(least)} to {thousands(most)}"


def _summary(estimate: LogEvidenceEstimate) -> str:
    """The share above the threshold and the medians."""
    count, failed, missed = estimate.num_observations, int((~estimate.vouched).sum()), int(estimate.missed.sum())
    size = float(estimate.effective_sample_size.median())
    middle = f"median effective sample {size:,.0f}" if size >= 100 else f"median effective sample {size:.3g}"
    known = estimate.pareto_k[~estimate.pareto_k.isnan()]
    if not len(known):
        return f"no k̂ (fewer than 30 particles, or discrete latents): every figure reads as a lower bound · {middle}"
    k = float(known.median())
    typical = dash(f"{k:.2f}" if np.isfinite(k) else "−∞" if k < 0 else "∞")
    more = f", the prior finds more for {thousands(missed)}" if missed else ""
    if not failed:
        return f"k̂ at most its threshold for all {thousands(count)}{more} · median k̂ {typical}, {middle}"
    share = f"{thousands(failed)} of {thousands(count)} ({100 * failed / count:.3g}%)"
    return f"k̂ above its threshold for {share}{more}: lower bounds, not converged · median k̂ {typical}, {middle}"
