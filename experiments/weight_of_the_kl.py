"""What does the weight of the KL do?

A weight below 1 buys sharp reconstructions at the price of codes that the prior does not cover. A weight above 1 brings
q closer to the prior and blurs the reconstructions, until the code says nothing. Measured at weight 1 in every case,
the ELBO is best for training with weight 1. With a weight above 1, what is maximized is a looser bound on log p(x);
with a weight below 1 it is not a bound.

On the digits, seed 0: weight 1 has the best ELBO, −24.24 ± 0.25 nats, and the best log p(x), −23.98 ± 0.25; a hundredth
of this weight costs 20.6 nats of ELBO but 1.5 of log p(x): the model is hardly worse, q is; ten times this weight
leaves no active dimension, one whose mean of q varies from image to image. Takes about 80 seconds on one core;
``--data mnist`` about twenty minutes.

The script trains the same VAE with several weights β and measures all of them alike, at weight 1: the rate (KL to the
prior), the distortion (minus E_q log p(x|z)), the ELBO, which is minus their sum, the active dimensions, and log p(x)
by annealing. Every weight gives a point on the curve of rate and distortion, and the slope of the curve there is −β.
The ELBO is constant along lines of slope −1, and the point of weight 1 touches the best of them.
"""

from typing import Literal, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

import bayes_vae as bv
from bayes_vae.experiments.study import observe, print_answer, resolve_device, told, trained_pair, write_figure
from bayes_vae.plots.colours import COLOURS, GREY
from bayes_vae.plots.images import draw_pictures
from bayes_vae.plots.style import caption, new_figure, plain_axes
from bayes_vae.settings import PairSettings
from bayes_vae.terms.averages import Average
from bayes_vae.vocabulary.number_text import with_error

NETWORKS = {
    "digits": PairSettings(latent_dim=8, hidden_dims=(100, 100)),
    "mnist": PairSettings(latent_dim=20, hidden_dims=(200, 200)),
}
EPOCHS = {"digits": 60, "mnist": 15}
KL_WEIGHTS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
NUM_OBSERVATIONS, NUM_PARTICLES, NUM_TEMPERATURES, NUM_SAMPLES = 200, 200, 100, 8


class Row(NamedTuple):
    """What was measured of one weight; every figure at weight 1."""

    kl_weight: float
    rate: Average
    distortion: Average
    elbo: Average
    log_evidence: Average
    active: int


def main(
    data: Literal["digits", "mnist"] = "digits",
    epochs: int | None = None,
    kl_weights: tuple[float, ...] = KL_WEIGHTS,
    num_observations: int = NUM_OBSERVATIONS,
    num_particles: int = NUM_PARTICLES,
    num_temperatures: int = NUM_TEMPERATURES,
    seed: int = 0,
    device: str = "auto",
    out: str | None = None,
) -> dict[str, float]:
    """Train with each weight, measure at weight 1.

    Args:
        data: digits or mnist.
        epochs: passes over the training images; 60 for the digits and 15 for MNIST when not given.
        kl_weights: of training, 1 among them.
        num_observations: test images.
        num_particles: draws from q for each ELBO.
        num_temperatures: steps of annealing.
        seed: of the weights, the batches and the draws.
        device: cpu, cuda, or auto.
        out: a folder for the figure, or a path that ends in .png; none is drawn when not given.
    """
    print_answer(__doc__)
    where = resolve_device(device)
    data_set = bv.load_data(data, policy="static")
    rows, samples = [], []
    for weight in kl_weights:
        training = {"epochs": epochs or EPOCHS[data], "kl_weight": weight}
        model, guide = trained_pair(NETWORKS[data], data_set, seed=seed, device=where, last_epoch=True, **training)
        x, about = observe(data_set.test, range(num_observations), seed, where)
        terms = bv.elbo_terms(model, guide, x, num_particles, **about).averages()
        evidence = bv.annealed_log_evidence(model, guide, x, num_temperatures=num_temperatures, **about)
        parts = bv.aggregate_posterior_terms(model, guide, x, 1, **about)
        rows.append(
            Row(
                weight,
                terms["kl_to_prior"],
                terms["expected_log_likelihood"],
                terms["elbo"],
                evidence.averages()["log_evidence"],
                int(parts.active.sum()),
            )
        )
        samples.append(model.sample(NUM_SAMPLES, seed=seed, mean=True).cpu())
        print(line(rows[-1]), flush=True)

    print(f"\n{answer(rows)}")
    if out is not None:
        write_figure(draw(rows, torch.stack(samples), num_particles, data_set.policy), out, "weight_of_the_kl")
    best = max(rows, key=lambda row: row.elbo.value)
    one = min(rows, key=lambda row: abs(row.kl_weight - 1))
    return {"best_weight": best.kl_weight, "elbo_at_one": one.elbo.value, "log_evidence_at_one": one.log_evidence.value}


def line(row: Row) -> str:
    """One weight's figures."""
    return (
        f"weight {row.kl_weight:<5g} rate {told(row.rate):>14} "
        f"distortion {with_error(-row.distortion.value, row.distortion.total_error):>14} "
        f"ELBO {told(row.elbo):>15} "
        f"log p(x) {told(row.log_evidence):>15} active {row.active}"
    )


def answer(rows: list[Row]) -> str:
    """The sentence that the numbers bear out."""
    best = max(rows, key=lambda row: row.elbo.value)
    likely = max(rows, key=lambda row: row.log_evidence.value)
    small, large = (pick(rows, key=lambda row: row.kl_weight) for pick in (min, max))
    error = max(row.elbo.monte_carlo_error for row in (small, large))
    falls = [row for row in (small, large) if best.elbo.value - row.elbo.value > 5 * error and row is not best]
    costs = " and ".join(
        f"weight {row.kl_weight:g} costs {best.elbo.value - row.elbo.value:.1f} nats of ELBO and "
        f"{likely.log_evidence.value - row.log_evidence.value:.1f} of log p(x) "
        f"({row.rate.value:.1f} nats of rate, {row.active} active dimensions)"
        for row in falls
    )
    if not costs:
        return "Over these weights the ELBO hardly changes."
    return (
        f"The ELBO is best at weight {best.kl_weight:g} ({best.elbo.value:.2f}), log p(x) at weight "
        f"{likely.kl_weight:g} ({likely.log_evidence.value:.2f}); beside them {costs}. {bounds(rows)}"
    )


def bounds(rows: list[Row]) -> str:
    """At which weights what was maximized lies above log p(x)."""
    above = [f"{row.kl_weight:g}" for row in rows if objective(row) > row.log_evidence.value]
    bounds_of = {row.kl_weight: objective(row) for row in rows if objective(row) <= row.log_evidence.value}
    words = [f"lies above log p(x) at weight {', '.join(above)}, so it is no bound there"] if above else []
    if bounds_of:
        best = max(bounds_of, key=lambda weight: bounds_of[weight])
        words.append(f"lies below it at the others, the highest at weight {best:g} ({bounds_of[best]:.2f})")
    return f"What was maximized, E_q log p(x|z) − β KL, {' and '.join(words)}."


def objective(row: Row) -> float:
    """E_q log p(x|z) − β KL: what the training maximized, measured on the test images."""
    return row.distortion.value - row.kl_weight * row.rate.value


def draw(rows: list[Row], samples: Tensor, num_particles: int, data_policy: str) -> Figure:
    """The curve, ELBO and log p(x) by weight, and draws from each model, shape (weights, S, *event)."""
    subtitle = caption(num_particles, rows[0].elbo.num_observations, data_policy, "measured at KL weight 1")
    figure = new_figure(9.4, 5.6, "What the weight of the KL does", subtitle)
    grid = figure.add_gridspec(2, 1, height_ratios=(1.5, 1))
    above, below = grid[0].subgridspec(1, 2), grid[1].subgridspec(1, len(rows))
    draw_curve(figure.add_subplot(above[0]), rows)
    draw_by_weight(figure.add_subplot(above[1]), rows)
    for column, (row, pictures) in enumerate(zip(rows, samples, strict=True)):
        axes = draw_pictures(figure.add_subplot(below[column]), pictures, 2)
        axes.set_title(f"β = {row.kl_weight:g}", fontsize=9, color=GREY)
        if column == 0:
            axes.set_ylabel("draws from\nthe prior", fontsize=9, color=COLOURS["prior"])
    return figure


def draw_curve(axes: Axes, rows: list[Row]) -> Axes:
    """Distortion against rate; along each grey line the ELBO is the same."""
    rate = np.array([row.rate.value for row in rows])
    distortion = -np.array([row.distortion.value for row in rows])
    axes.plot(rate, distortion, color=COLOURS["kl"], marker="o", markersize=4.5, linewidth=1.2, zorder=3)
    low, high = 0.0, 1.15 * rate.max()
    for first, words in place_labels([row.kl_weight for row in rows], rate / high, distortion / np.ptp(distortion)):
        at = rate[first], distortion[first]
        axes.annotate(f"β = {words}", at, (6, 5), textcoords="offset points", fontsize=8.5)
    best = max(row.elbo.value for row in rows)
    axes.plot([low, high], [-best - low, -best - high], color=COLOURS["elbo"], linewidth=1, label="the best ELBO")
    for worse in (5, 10, 20):
        axes.plot([low, high], [-best + worse - low, -best + worse - high], color="#c9c9c9", linewidth=0.7)
    axes.plot([], [], color="#c9c9c9", linewidth=0.7, label="5, 10, 20 nats less")
    height = distortion.max() - distortion.min()
    axes.set(xlim=(-0.02 * high, high), ylim=(distortion.min() - 0.4 * height, distortion.max() + 0.4 * height))
    axes.set_xlabel("rate: KL to the prior, nats")
    axes.set_ylabel("distortion: −E log p(x|z), nats")
    axes.legend(frameon=False, fontsize=8.5, loc="upper right")
    return plain_axes(axes)


def place_labels(kl_weights: list[float], across: np.ndarray, up: np.ndarray) -> list[tuple[int, str]]:
    """Where a label stands and what it says; neighbours that lie on each other share one."""
    found: list[tuple[int, str]] = []
    for place, weight in enumerate(kl_weights):
        if found and abs(across[place] - across[found[-1][0]]) + abs(up[place] - up[found[-1][0]]) < 0.12:
            found[-1] = (found[-1][0], f"{found[-1][1]}, {weight:g}")
        else:
            found.append((place, f"{weight:g}"))
    return found


def draw_by_weight(axes: Axes, rows: list[Row]) -> Axes:
    """ELBO and log p(x) at weight 1 of what each weight trained, with the active dimensions."""
    weights = [row.kl_weight for row in rows]
    lines = {
        "log p(x), annealed": (COLOURS["evidence"], [row.log_evidence for row in rows]),
        "ELBO, at weight 1": (COLOURS["elbo"], [row.elbo for row in rows]),
    }
    for words, (colour, averages) in lines.items():
        values, errors = [a.value for a in averages], [a.total_error for a in averages]
        axes.errorbar(weights, values, errors, color=colour, marker="o", markersize=4, capsize=3, label=words)
    axes.set_xscale("log")
    axes.set_xticks(weights, [f"{row.kl_weight:g}\n{row.active}" for row in rows])
    axes.minorticks_off()
    axes.set_xlabel("weight β in training, above the active dimensions")
    axes.set_ylabel("nats per observation")
    axes.legend(frameon=False, fontsize=8.5, loc="lower center")
    return plain_axes(axes)


if __name__ == "__main__":
    main(out="figures")
