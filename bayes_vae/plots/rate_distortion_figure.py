"""Rate–distortion curves of fixed models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayes_vae.errors import SettingsError
from bayes_vae.estimators.elbo import ElboTerms
from bayes_vae.estimators.rate_distortion_curve import CurvePoint, RateDistortion
from bayes_vae.plots.colours import LABEL_COLOURS
from bayes_vae.plots.style import caption, new_figure, no_formula, plain_axes

__all__ = ["curve_caption", "draw_rate_distortion", "rate_distortion_figure"]

APART = 0.06
"""Least distance of two names along the distortion, as a part of the axis."""


def rate_distortion_figure(
    curves: Mapping[str, RateDistortion], encoders: Mapping[str, ElboTerms] | None = None
) -> Figure:
    """Curves of one or several models on the same observations, by name.

    Args:
        curves: name of a model → its curve.
        encoders: name of a model → the ELBO's terms of its own guide, a point on or above its curve.
    """
    if not curves:
        raise SettingsError("a figure of curves needs at least one: pass {name: rate_distortion(...)}.")
    title, said = "What the decoder can do at each rate", curve_caption(curves, encoders)
    figure = new_figure(7.2, 4.4, title, said)
    draw_rate_distortion(figure.add_subplot(), curves, encoders)
    return figure


def curve_caption(curves: Mapping[str, RateDistortion], encoders: Mapping[str, ElboTerms] | None = None) -> str:
    """What the curves were measured under, and what their signs mean; a line each."""
    first = next(iter(curves.values()))
    origin = first.provenance
    lines = [
        caption(first.num_chains, first.num_observations, origin.data_policy, f"seed {origin.seed}"),
        "bars: Monte-Carlo error · hollow: chains disagree · the data error is shared along a curve and left out",
    ]
    if encoders:
        lines.append("squares: the model's own q, with the KL as its rate; above the curve by what q does not reach")
    return "\n".join(lines)


def draw_rate_distortion(
    axes: Axes, curves: Mapping[str, RateDistortion], encoders: Mapping[str, ElboTerms] | None = None
) -> Axes:
    """Draw the curves, each point with its Monte-Carlo errors and some with their β."""
    widest: tuple[float, Sequence[CurvePoint], str] = (-math.inf, (), "")
    for number, (name, curve) in enumerate(curves.items()):
        colour = LABEL_COLOURS[number % len(LABEL_COLOURS)]
        points = curve.curve()
        rates = [point.rate.value for point in points]
        distortions = [point.distortion.value for point in points]
        axes.plot(rates, distortions, color=colour, linewidth=1.2, zorder=1, label=no_formula(name))
        if max(distortions) - min(distortions) > widest[0]:
            widest = max(distortions) - min(distortions), points, colour
        for point in points:
            settled = point.rate.reading.settled
            axes.errorbar(
                point.rate.value,
                point.distortion.value,
                xerr=point.rate.monte_carlo_error if settled else None,
                yerr=point.distortion.monte_carlo_error if settled else None,
                marker="o",
                markersize=5,
                markerfacecolor=colour if settled else "white",
                color=colour,
                capsize=2,
                zorder=2,
            )
        if encoders and name in encoders:
            terms = encoders[name].averages()
            place = terms["kl_to_prior"].value, -terms["expected_log_likelihood"].value
            axes.plot(
                *place,
                "s",
                color=colour,
                markersize=7,
                markeredgecolor="black",
                zorder=3,
                label=no_formula(f"{name}, its q"),
            )
    _name_betas(axes, *widest[1:])
    axes.set(xlabel="rate: KL to the prior, nats", ylabel="distortion: −E[log p(x|z)], nats")
    axes.legend(frameon=False, fontsize=9)
    return plain_axes(axes)


def _name_betas(axes: Axes, points: Sequence[CurvePoint], colour: str) -> None:
    """Write β beside the points, from the last on, but for those next to one that has its β."""
    low, high = axes.get_ylim()
    apart, below = APART * (high - low), -math.inf
    for point in reversed(points):
        if point.distortion.value < below + apart:
            continue
        below, place = point.distortion.value, (point.rate.value, point.distortion.value)
        text = f"β = {point.beta:g}"
        axes.annotate(text, place, (6, 5), textcoords="offset points", fontsize=8, color=colour)
