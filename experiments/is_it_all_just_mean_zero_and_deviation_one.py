"""The KL pulls every q(z|x) to mean zero and deviation one. So are all q the same?

No. The KL is one of two forces. The other, the expected log likelihood, pulls the mean of q to where the decoder draws
x and makes q narrow. Training stops where the two cancel. Each q then differs from the prior; only all q mixed together
come close to it.

On the digits, seed 0: with weight 1 a single q is 1.920 ± 0.024 nats from the prior and their mixture 0.031; without
the KL deviations shrink (0.0001, from 0.40) and means spread (3.2, from 0.94); with weight 1000 every q is the prior
and says nothing about x. Takes about 45 seconds on one core; ``--data mnist`` about five minutes.

The script uses a two-dimensional z and shows three things: training with the KL alone in effect (weight 1000), without
it (weight 0), and with weight 1; what the mean KL is made of, where the mixture q(z) of all q is called the aggregate
posterior; and both forces on one q, as gradients with respect to its means and log deviations.
"""

from typing import Any, Literal, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from torch import Tensor
from torch.distributions import Normal, kl_divergence

import bayes_vae as bv
from bayes_vae.experiments.study import observe, print_answer, resolve_device, told, trained_pair, write_figure
from bayes_vae.plots.colours import COLOURS, GREY
from bayes_vae.plots.gap_figures import PARTS
from bayes_vae.plots.images import draw_pictures
from bayes_vae.plots.style import caption, new_figure, plain_axes
from bayes_vae.settings import PairSettings
from bayes_vae.vocabulary.number_text import signed

NETWORKS = PairSettings(latent_dim=2, hidden_dims=(200, 200))
EPOCHS = {"digits": 60, "mnist": 10}
KL_WEIGHTS = (0.0, 1.0, 1000.0)
NUM_POINTS = {"digits": 201, "mnist": 801}
NUM_OBSERVATIONS, NUM_PARTICLES, STEPS = 1000, 10, 200
SHOWN = 120  # of the figure: observations whose q is drawn
LONGEST = 1.0  # length of the longest arrow in units of the axes; others go with the square root of their gradient's
CORNERS = ((5, -11), (6, 5), (-11, -11))  # where the numbers stand beside their points


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
    parts: bv.AggregatePosteriorTerms

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


def main(
    data: Literal["digits", "mnist"] = "digits",
    epochs: int | None = None,
    num_observations: int = NUM_OBSERVATIONS,
    num_particles: int = NUM_PARTICLES,
    seed: int = 0,
    device: str = "auto",
    out: str | None = None,
) -> dict[str, float]:
    """Train with three weights, take the mean KL apart, and measure both forces on one q.

    Args:
        data: digits or mnist.
        epochs: passes over the training images; 60 for the digits and 10 for MNIST when not given.
        num_observations: training images whose q make up the mixture.
        num_particles: draws from each q.
        seed: of the weights, the batches and the draws.
        device: cpu, cuda, or auto.
        out: a folder for the figure, or a path that ends in .png; none is drawn when not given.
    """
    print_answer(__doc__)
    where = resolve_device(device)
    data_set = bv.load_data(data, policy="static")
    x, about = observe(data_set.train, range(num_observations), seed, where)
    rows, forces = [], []
    for weight in KL_WEIGHTS:
        training: dict[str, Any] = {"epochs": epochs or EPOCHS[data], "kl_weight": weight, "seed": seed}
        model, guide = trained_pair(NETWORKS, data_set, device=where, last_epoch=True, **training)
        parts = bv.aggregate_posterior_terms(model, guide, x, num_particles, **about)
        with torch.no_grad():
            q = guide.variational_posterior(x)
        loc, scale = q.mean.double().cpu(), q.stddev.double().cpu()
        rows.append(Weighed(weight, loc, scale, parts))
        print(line(rows[-1]), flush=True)
        if weight == 1:
            first = {**about, "index": about["index"][:1]}
            rule = bv.bayes_rule_on_grid(model, guide, x[:1], num_points=NUM_POINTS[data], **first)
            forces = balance(rule, loc[0], scale[0])

    print("\nForces on one q: gradients of E_q log p(x|z) and of −KL with respect to means and log deviations")
    for force in forces:
        numbers = [" ".join(f"{v:+8.3f}" for v in part.tolist()) for part in (force.likelihood, force.kl)]
        print(f"  {force.words:<26}likelihood {numbers[0]}   −KL {numbers[1]}   sum {force.sum_norm:.2g}")
    print(f"\n{answer(rows, forces)}")

    if out is not None:
        figure = draw(rows, forces, x[0].cpu(), num_particles, data_set.policy)
        write_figure(figure, out, "is_it_all_just_mean_zero_and_deviation_one")
    averages = {row.kl_weight: row.parts.averages() for row in rows}
    return {
        **{f"kl_to_prior_at_{weight:g}": found["kl_to_prior"].value for weight, found in averages.items()},
        **{f"mixture_kl_at_{weight:g}": found["marginal_kl_to_prior"].value for weight, found in averages.items()},
        **{f"deviation_at_{row.kl_weight:g}": row.deviation for row in rows},
        **{f"spread_at_{row.kl_weight:g}": row.spread for row in rows},
        "forces_at_the_optimum": forces[-1].sum_norm,
    }


def balance(rule: bv.BayesRuleOnGrid, loc: Tensor, scale: Tensor) -> list[Force]:
    """Both forces on three q of one image: the prior, one too far out and too narrow, and the best one.

    Args:
        rule: the image's terms on a grid over z, where E_q log p(x|z) is a sum.
        loc, scale: the encoder's q, each (2,), from which the best is climbed to.
    """
    likelihood = rule.log_likelihood[0].cpu()
    axes = [axis.cpu() for axis in (rule.first_axis, rule.second_axis)]

    def terms(means: Tensor, log_deviations: Tensor) -> tuple[Tensor, Tensor]:
        """E_q log p(x|z) and −KL(q to p(z)) of the normal with these means and log deviations."""
        q = Normal(means, log_deviations.exp())
        weights = [(q.log_prob(axis[:, None])[:, d]).softmax(0) for d, axis in enumerate(axes)]
        return weights[0] @ likelihood @ weights[1], -kl_divergence(q, Normal(0.0, 1.0)).sum()

    best = [part.clone().requires_grad_() for part in (loc, scale.log())]
    optimizer = torch.optim.LBFGS(best, lr=0.5, max_iter=STEPS, tolerance_grad=1e-7, tolerance_change=1e-12)

    def closure() -> Tensor:
        optimizer.zero_grad()
        likelihood_term, kl_term = terms(*best)
        negative_elbo = -(likelihood_term + kl_term)
        negative_elbo.backward()
        return negative_elbo

    optimizer.step(closure)
    row, column = divmod(int(likelihood.argmax()), rule.num_points)
    mode = torch.stack([axes[0][row], axes[1][column]])
    places = {
        "the prior": [torch.zeros_like(loc), torch.zeros_like(loc)],
        "too far, too narrow": [1.6 * mode, torch.full_like(loc, 0.15).log()],
        "the best q": best,
    }
    forces = []
    for words, parts in places.items():
        at = [part.detach().clone().requires_grad_() for part in parts]
        likelihood_force, kl_force = (torch.cat(torch.autograd.grad(terms(*at)[term], at)) for term in (0, 1))
        forces.append(Force(words, at[0].detach(), at[1].detach().exp(), likelihood_force, kl_force))
    return forces


def line(row: Weighed) -> str:
    """One weight's figures."""
    averages = row.parts.averages()
    information, mixture = averages["index_code_mutual_information"], averages["marginal_kl_to_prior"]
    return (
        f"weight {row.kl_weight:<5g} means spread over {row.spread:7.3f}, mean deviation {row.deviation:.2g}; "
        f"KL of each q {told(averages['kl_to_prior'])} = information {told(information)} + KL of the mixture "
        f"{told(mixture)}"
    )


def answer(rows: list[Weighed], forces: list[Force]) -> str:
    """The sentence that the numbers bear out."""
    none, one, large = (min(rows, key=lambda row: abs(row.kl_weight - weight)) for weight in KL_WEIGHTS)
    averages = one.parts.averages()
    each, mixture = averages["kl_to_prior"], averages["marginal_kl_to_prior"]
    same = each.value < 0.1
    close = mixture.value < each.value / 3
    whole = "" if same else f", {'but' if close else 'and'} the mixture {'only ' if close else ''}{told(mixture)}"
    collapsed = large.parts.averages()["kl_to_prior"].value
    free = (
        f"without the KL deviations {'shrink' if none.deviation < one.deviation else 'do not shrink'} "
        f"({none.deviation:.1g}, from {one.deviation:.2f}) and means "
        f"{'spread' if none.spread > one.spread else 'do not spread'} ({none.spread:.1f}, from {one.spread:.1f})"
    )
    best = forces[-1]
    cancel = best.sum_norm < 0.01 * float(best.kl.norm())
    return (
        f"{'Yes' if same else 'No'}: with weight 1 a single q is {told(each)} nats from the prior{whole}; with "
        f"{large.kl_weight:g} each q is {'the prior' if collapsed < 0.1 else 'not the prior'} ({collapsed:.3f} nats); "
        f"{free}. On the best q of one image the two forces, of {float(best.kl.norm()):.2f} each, "
        f"{'cancel' if cancel else 'do not cancel'}: their sum is {best.sum_norm:.1g}."
    )


def draw(rows: list[Weighed], forces: list[Force], x: Tensor, num_particles: int, data_policy: str) -> Figure:
    """Single q for each weight; what the mean KL is made of; and both forces on three q of one observation."""
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
    """An ellipse of one deviation for each q, and the prior's circle."""
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


def draw_parts_by_weight(axes: Axes, rows: list[Weighed]) -> Axes:
    """The mean KL of single q to the prior as the sum of two parts, a bar for each weight."""
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


def draw_forces(axes: Axes, forces: list[Force], which: slice) -> Axes:
    """Both gradients as arrows at each q: on its means, or on its log deviations."""
    means = which.start == 0
    longest = max(float(part[which].norm()) for force in forces for part in (force.likelihood, force.kl))
    seen: list[Tensor] = []
    for number, force in enumerate(forces, start=1):
        place = (force.loc if means else force.scale.log()).double()
        for term, gradient in (("likelihood", force.likelihood), ("kl", force.kl)):
            size = float(gradient[which].norm())
            end = place + LONGEST * gradient[which] / max(size * longest, 1e-300) ** 0.5
            arrow = {"arrowstyle": "-|>", "color": COLOURS[term], "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", point(end), point(place), arrowprops=arrow)
            seen.append(end)
        if means:
            width, height = (2 * value for value in force.scale.tolist())
            ellipse = Ellipse(
                point(place), width, height, fill=False, color=COLOURS["variational_posterior"], linewidth=1.2
            )
            axes.add_patch(ellipse)
            seen += [place - force.scale, place + force.scale]
        axes.plot(*place.tolist(), "o", color="black", markersize=3, zorder=4)
        corner = CORNERS[(number - 1) % len(CORNERS)]
        axes.annotate(f"{number}", point(place), corner, textcoords="offset points", fontsize=9)
        seen.append(place)
    low, high = torch.stack(seen).amin(0), torch.stack(seen).amax(0)
    half = 0.57 * float((high - low).max())
    first, second = ((middle - half, middle + half) for middle in ((low + high) / 2).tolist())
    axes.set(xlim=first, ylim=second, aspect="equal")
    axes.set(xlabel="mean $m_0$" if means else "log deviation $\\log s_0$")
    axes.set(ylabel="mean $m_1$" if means else "log deviation $\\log s_1$")
    words = " · ".join(f"{number} {force.words}" for number, force in enumerate(forces, start=1))
    what = "means" if means else "log deviations"
    axes.set_title(f"gradients on the {what}", fontsize=9.5, color=GREY)
    for term, label in (("likelihood", "of $E_q$ log p(x|z)"), ("kl", "of −KL(q(z|x) ‖ p(z))")):
        axes.plot([], [], color=COLOURS[term], linewidth=1.8, label=label)
    axes.plot([], [], " ", label=words)
    axes.plot([], [], " ", label="length of an arrow: the gradient’s square root")
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=1)
    return plain_axes(axes)


def point(place: Tensor) -> tuple[float, float]:
    """The two coordinates, as Matplotlib takes them."""
    return float(place[0]), float(place[1])


if __name__ == "__main__":
    main(out="figures")
