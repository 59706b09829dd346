"""What the KL compares: each q with the prior; and what a KL along the batch would compare instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.distributions import Normal

from bayes_vae.plots.colours import COLOURS, GREY
from bayes_vae.plots.style import caption, new_figure, plain_axes

__all__ = ["Company", "draw_codes_of_a_batch", "draw_companies", "draw_single_posteriors", "kl_comparison_figure"]

SHOWN = 5
"""Observations whose q is drawn."""


class Company(NamedTuple):
    """One observation in a batch with others.

    Attributes:
        words: who the others are.
        size: of the batch.
        own: the observation's KL to the prior, nats.
        along_the_batch: KL of mean and deviation of the batch's codes to N(0, 1), summed over dimensions, nats.
    """

    words: str
    size: int
    own: float
    along_the_batch: float


def kl_comparison_figure(
    loc: Tensor, scale: Tensor, companies: Sequence[Company], kl: Tensor, *, data_policy: str
) -> Figure:
    """Single q's beside the prior in one dimension; all codes beside it; one image's KL in every company.

    Args:
        loc, scale: of q(z given x_n), each (N, D).
        companies: one observation in several batches.
        kl: of each observation to the prior, shape (N,), nats.
        data_policy: how pixels became observations.
    """
    subtitle = caption("0 (closed form)", len(loc), data_policy, "KL weight 1")
    figure = new_figure(10.6, 3.2, "What the KL compares", subtitle, space=0.04)
    single, batch, company = figure.subplots(1, 3, width_ratios=[1, 1, 1.15])
    scale_first = int(scale.mean(0).argmin())  # the dimension in which the q's are narrowest
    draw_single_posteriors(single, loc[:SHOWN, scale_first], scale[:SHOWN, scale_first], scale_first)
    draw_codes_of_a_batch(batch, loc[:, scale_first], scale_first)
    batch.set_xlim(single.get_xlim())
    draw_companies(company, companies, kl)
    return figure


def draw_single_posteriors(axes: Axes, loc: Tensor, scale: Tensor, dimension: int) -> Axes:
    """Each q(z_d given x_n), and the prior that it is compared with.

    Args:
        axes: where to draw.
        loc, scale: of some q's in this dimension, each (N,).
        dimension: d, from 0 on.
    """
    loc, scale = loc.double().cpu(), scale.double().cpu()
    reach = max(3.5, float((loc.abs() + 3 * scale).max()))
    z = torch.linspace(-reach, reach, 801, dtype=torch.float64)
    prior = Normal(0.0, 1.0).log_prob(z).exp()
    axes.fill_between(z, prior, color=COLOURS["prior"], alpha=0.35, linewidth=0, label="prior p(z)")
    for mean, deviation in zip(loc, scale, strict=True):
        axes.plot(z, Normal(mean, deviation).log_prob(z).exp(), color=COLOURS["variational_posterior"], linewidth=1.3)
    axes.plot([], [], color=COLOURS["variational_posterior"], linewidth=1.3, label="q(z|x), one curve an image")
    axes.set_title("the KL: each q with the prior", fontsize=10)
    return _dress(axes, dimension, "density")


def draw_codes_of_a_batch(axes: Axes, codes: Tensor, dimension: int) -> Axes:
    """The mistake: all codes of a batch as one sample, and the normal of its mean and deviation.

    Args:
        axes: where to draw.
        codes: means of q in this dimension, shape (N,).
        dimension: d, from 0 on.
    """
    codes = codes.double().cpu()
    z = torch.linspace(-4, 4, 401, dtype=torch.float64)
    prior = Normal(0.0, 1.0).log_prob(z).exp()
    axes.fill_between(z, prior, color=COLOURS["prior"], alpha=0.35, linewidth=0, label="prior p(z)")
    axes.hist(codes, bins=30, density=True, color="#c9c9c9", label="codes of all images")
    moments = Normal(codes.mean(), codes.std()).log_prob(z).exp()
    axes.plot(z, moments, color=GREY, linewidth=1.3, linestyle="--", label="their mean and deviation")
    axes.set_title("the mistake: the batch with the prior", fontsize=10)
    return _dress(axes, dimension, "density")


def draw_companies(axes: Axes, companies: Sequence[Company], kl: Tensor) -> Axes:
    """One observation's KL in several batches, and the number along each batch.

    Args:
        axes: where to draw.
        companies: the batches.
        kl: of every observation, shape (N,), nats, whose mean is a line.
    """
    rows = range(len(companies))
    axes.plot([company.own for company in companies], rows, "o", color=COLOURS["kl"], label="the image’s KL")
    along = [company.along_the_batch for company in companies]
    axes.plot(along, rows, "x", color=GREY, markersize=6, markeredgewidth=1.6, label="along the batch")
    mean = float(kl.double().mean())
    axes.axvline(mean, color=COLOURS["kl"], linewidth=0.9, linestyle=":", label="mean KL of all images")
    axes.set_yticks(rows, [f"{company.words} ({company.size})" for company in companies])
    axes.set_ylim(len(companies) - 0.5, -0.5)
    axes.set_xlim(0, 1.12 * max(mean, *(company.own for company in companies), *(v for v in along if v == v)))
    axes.set_xlabel("nats")
    axes.set_title("one image in several batches", fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, columnspacing=1)
    return plain_axes(axes)


def _dress(axes: Axes, dimension: int, words: str) -> Axes:
    axes.set_xlabel(f"$z_{{{dimension}}}$")
    axes.set_ylabel(words)
    axes.set_ylim(0, 1.35 * axes.get_ylim()[1])
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return plain_axes(axes)
