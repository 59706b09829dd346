"""The two forces on each q(z given x): where the likelihood pulls it, where the KL does, and where they balance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from torch import Tensor

from bayes_vae.estimators.aggregate_terms import AggregatePosteriorTerms
from bayes_vae.plots.colours import COLOURS, GREY
from bayes_vae.plots.gaps import PARTS
from bayes_vae.plots.images import draw_pictures
from bayes_vae.plots.style import caption, new_figure, plain_axes, signed

__all__ = ["Force", "Weighed", "draw_forces", "draw_parts_by_weight", "draw_posteriors", "two_forces_figure"]

SHOWN = 120
"""Observations whose q is drawn."""

LONGEST = 1.0
"""Length of the longest arrow, in units of the axes; the others' lengths go with the square root of the gradient's."""

CORNERS = ((5, -11), (6, 5), (-11, -11))
"""Where the numbers stand beside their points."""


class Weighed(NamedTuple):
    """A pair trained with one weight of the KL.

    Attributes:
        kl_weight: of training.
        loc, scale: means and deviations of q(z given x_n), each (N, 2).
        parts: of the mean KL to the prior.
    """

    kl_weight: float
    loc: Tensor
    scale: Tensor
    parts: AggregatePosteriorTerms

    @property
    def deviation(self) -> float:
        """Geometric mean of the deviations of single q."""
        return float(self.scale.log().mean().exp())

    @property
    def spread(self) -> float:
        """Root mean square of the means, over observations and dimensions."""
        return float(self.loc.square().mean().sqrt())


class Force(NamedTuple):
    """The gradients of both terms of the ELBO at one q of one observation.

    Attributes:
        words: which q.
        loc, scale: its means and deviations, each (2,).
        likelihood: gradient of E_q log p(x given z) with respect to the two means, then the two log deviations, (4,).
        kl: the same of −KL(q to p(z)).
    """

    words: str
    loc: Tensor
    scale: Tensor
    likelihood: Tensor
    kl: Tensor

    @property
    def sum_norm(self) -> float:
        """Length of the sum of both gradients: zero at an optimum of the ELBO."""
        return float((self.likelihood + self.kl).norm())


def two_forces_figure(
    rows: Sequence[Weighed], forces: Sequence[Force], x: Tensor, *, num_particles: int, data_policy: str
) -> Figure:
    """Single q for each weight; what the mean KL is made of; and both forces on three q of one observation.

    Args:
        rows: one for each weight of the KL.
        forces: on some q of one observation, the best one last.
        x: that observation, shape (*event,).
        num_particles: draws from each q behind the parts of the mean KL.
        data_policy: how pixels became observations.
    """
    subtitle = caption(num_particles, len(rows[0].loc), data_policy, "training images")
    figure = new_figure(10.4, 6.6, "Two forces on every q(z|x)", subtitle, space=0.05)
    grid = figure.add_gridspec(2, 3, height_ratios=(1, 1.05))
    for column, row in enumerate(rows):
        draw_posteriors(figure.add_subplot(grid[0, column]), row)
    draw_parts_by_weight(figure.add_subplot(grid[1, 0]), rows)
    means = draw_forces(figure.add_subplot(grid[1, 1]), forces, slice(0, 2))
    draw_forces(figure.add_subplot(grid[1, 2]), forces, slice(2, 4))
    picture = means.inset_axes((0.0, 0.8, 0.2, 0.2))
    draw_pictures(picture, x.unsqueeze(0), 1)
    return figure


def draw_posteriors(axes: Axes, row: Weighed) -> Axes:
    """An ellipse of one deviation for each q, and the prior's circle.

    Args:
        axes: where to draw.
        row: one weight.
    """
    loc, scale = row.loc[:SHOWN], row.scale[:SHOWN]
    for mean, deviation in zip(loc.tolist(), scale.tolist(), strict=True):
        width, height = (2 * value for value in deviation)
        axes.add_patch(
            Ellipse((mean[0], mean[1]), width, height, fill=False, color=COLOURS["variational_posterior"], lw=0.8)
        )
    axes.plot(*loc.T, ".", color=COLOURS["variational_posterior"], markersize=2)
    for radius in (1, 2):
        axes.add_patch(Ellipse((0, 0), 2 * radius, 2 * radius, fill=False, color=COLOURS["prior"], lw=1.8, zorder=3))
    reach = max(2.6, 1.05 * float((loc.abs() + scale).max()))
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel="$z_0$", ylabel="$z_1$")
    words = {0: "without the KL", 1: "weight 1"}.get(int(row.kl_weight), f"weight {row.kl_weight:g}")
    axes.set_title(f"{words}: each q (1σ), the prior (1σ, 2σ)", fontsize=9.5, color=GREY)
    return plain_axes(axes)


def draw_parts_by_weight(axes: Axes, rows: Sequence[Weighed]) -> Axes:
    """The mean KL of single q to the prior as the sum of two parts, a bar for each weight.

    Args:
        axes: where to draw.
        rows: one for each weight.
    """
    for place, row in enumerate(rows):
        averages, left = row.parts.averages(), 0.0
        for name in ("index_code_mutual_information", "marginal_kl_to_prior"):
            value = max(0.0, averages[name].value)
            axes.barh(
                place, value, left=left, height=0.4, color=PARTS[name][1], label=PARTS[name][0] if not place else ""
            )
            left += value
        total = averages["kl_to_prior"]
        axes.errorbar(left, place, xerr=total.total_error, color="black", capsize=3, elinewidth=1)
        names = ("kl_to_prior", "index_code_mutual_information", "marginal_kl_to_prior")
        whole, *pieces = (signed(round(averages[name].value, 2) + 0.0) for name in names)
        words = f"weight {row.kl_weight:g}: {whole} = {pieces[0]} + {pieces[1]}"
        axes.text(0, place - 0.25, words, fontsize=8.5, va="bottom")
    axes.set_ylim(len(rows) - 0.55, -0.8)
    axes.set_yticks([])
    axes.set_xlabel("mean KL of single q to the prior, nats")
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=1)
    plain_axes(axes).spines["left"].set_visible(False)
    return axes


def draw_forces(axes: Axes, forces: Sequence[Force], which: slice) -> Axes:
    """Both gradients as arrows at each q: on its means, or on its log deviations.

    Args:
        axes: where to draw.
        forces: on some q of one observation.
        which: slice(0, 2) for the means, slice(2, 4) for the log deviations.
    """
    means = which.start == 0
    longest = max(float(part[which].norm()) for force in forces for part in (force.likelihood, force.kl))
    seen: list[Tensor] = []
    for number, force in enumerate(forces, start=1):
        place = (force.loc if means else force.scale.log()).double()
        for term, gradient in (("likelihood", force.likelihood), ("kl", force.kl)):
            size = float(gradient[which].norm())
            end = place + LONGEST * gradient[which] / max(size * longest, 1e-300) ** 0.5
            arrow = {"arrowstyle": "-|>", "color": COLOURS[term], "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", _point(end), _point(place), arrowprops=arrow)
            seen.append(end)
        if means:
            width, height = (2 * value for value in force.scale.tolist())
            ellipse = Ellipse(
                _point(place), width, height, fill=False, color=COLOURS["variational_posterior"], linewidth=1.2
            )
            axes.add_patch(ellipse)
            seen += [place - force.scale, place + force.scale]
        axes.plot(*place.tolist(), "o", color="black", markersize=3, zorder=4)
        corner = CORNERS[(number - 1) % len(CORNERS)]
        axes.annotate(f"{number}", _point(place), corner, textcoords="offset points", fontsize=9)
        seen.append(place)
    low, high = torch.stack(seen).amin(0), torch.stack(seen).amax(0)
    half = 0.57 * float((high - low).max())
    first, second = ((middle - half, middle + half) for middle in ((low + high) / 2).tolist())
    axes.set(xlim=first, ylim=second, aspect="equal")
    axes.set(xlabel="mean $m_1$" if means else "log deviation $\\log s_1$")
    axes.set(ylabel="mean $m_2$" if means else "log deviation $\\log s_2$")
    words = " · ".join(f"{number} {force.words}" for number, force in enumerate(forces, start=1))
    what = "means" if means else "log deviations"
    axes.set_title(f"gradients on the {what}", fontsize=9.5, color=GREY)
    for term, label in (("likelihood", "of $E_q$ log p(x|z)"), ("kl", "of −KL(q(z|x) ‖ p(z))")):
        axes.plot([], [], color=COLOURS[term], linewidth=1.8, label=label)
    axes.plot([], [], " ", label=words)
    axes.plot([], [], " ", label="length of an arrow: the gradient’s square root")
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=1)
    return plain_axes(axes)


def _point(place: Tensor) -> tuple[float, float]:
    return float(place[0]), float(place[1])
