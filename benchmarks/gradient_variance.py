"""How noisy the gradient of each objective is, for the guide and for the model, by number of particles K.

A VAE is trained on the bundled digits for a few epochs. Then the gradient of each objective is drawn many times on the
same observations. Signal to noise is the length of the mean gradient over the root of the summed variances of its
entries; errors are the jackknife's over groups of draws. ``--figure PATH`` saves a figure.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

import bayes_vae as bv
from bayes_vae.objectives import Objective
from bayes_vae.plots.colours import COLOURS, GREY
from bayes_vae.plots.ladder_figure import spread_apart
from bayes_vae.plots.style import caption, new_figure, plain_axes, save_figure
from bayes_vae.settings import PairSettings
from bayes_vae.training import build_pair
from bayes_vae.vocabulary.number_text import thousands

GROUPS = 20

OBJECTIVES: dict[str, Callable[[int], Objective]] = {
    "ELBO, sampled KL": lambda count: bv.Elbo(count, kl="sampled"),
    "ELBO, closed-form KL": lambda count: bv.Elbo(count, kl="analytic"),
    "sticking the landing": lambda count: bv.StickingTheLandingObjective(count),
    "importance-weighted": lambda count: bv.ImportanceWeightedObjective(count),
    "doubly reparameterized": lambda count: bv.DoublyReparameterizedObjective(count),
}

STYLES: dict[str, dict[str, str]] = {
    "ELBO, sampled KL": {"color": COLOURS["elbo"], "marker": "o", "linestyle": "-"},
    "ELBO, closed-form KL": {"color": COLOURS["kl"], "marker": "s", "linestyle": "--"},
    "sticking the landing": {"color": COLOURS["likelihood"], "marker": "^", "linestyle": "-"},
    "importance-weighted": {"color": COLOURS["exact_posterior"], "marker": "D", "linestyle": "--"},
    "doubly reparameterized": {"color": COLOURS["evidence"], "marker": "v", "linestyle": "-"},
}


class Measured(NamedTuple):
    """Signal to noise and noise of one program's gradient, each with its jackknife error."""

    signal_to_noise: float
    signal_to_noise_error: float
    noise: float
    noise_error: float


class Row(NamedTuple):
    """One objective at one K."""

    objective: str
    num_particles: int
    guide: Measured
    model: Measured
    milliseconds: float


def measure(sums: Tensor, squares: Tensor, group_size: int) -> Measured:
    """Signal to noise of the gradient whose sums and sums of squares over groups of draws are given, each (G, P)."""

    def figures(total: Tensor, total_of_squares: Tensor, count: int) -> Tensor:
        mean = total / count
        variance = ((total_of_squares / count - mean.square()) * count / (count - 1)).sum()
        signal = (mean.square().sum() - variance / count).clamp(min=0)  # the mean's own noise is taken off
        return torch.stack([(signal / variance).sqrt(), variance.sqrt()])

    whole, whole_of_squares = sums.sum(0), squares.sum(0)
    count = group_size * (GROUPS - 1)
    without = torch.stack([figures(whole - sums[g], whole_of_squares - squares[g], count) for g in range(GROUPS)])
    errors = (without - without.mean(0)).square().sum(0).mul((GROUPS - 1) / GROUPS).sqrt()
    values = figures(whole, whole_of_squares, group_size * GROUPS)
    return Measured(float(values[0]), float(errors[0]), float(values[1]), float(errors[1]))


def draw_gradients(
    objective: Objective, pair: tuple[nn.Module, nn.Module], x: Tensor, group_size: int
) -> list[Measured]:
    """The gradients of guide and model, group by group."""
    model, guide = pair
    owned = [list(program.parameters()) for program in (guide, model)]
    sums, squares = ([torch.zeros(GROUPS, sum(p.numel() for p in part)).double() for part in owned] for _ in range(2))
    for group in range(GROUPS):
        for _ in range(group_size):
            loss = objective.differentiable_loss(model, guide, x) / len(x)
            found = torch.autograd.grad(loss, [*owned[0], *owned[1]])
            parts = found[: len(owned[0])], found[len(owned[0]) :]
            for which, part in enumerate(parts):
                flat = torch.cat([gradient.flatten() for gradient in part]).double()
                sums[which][group] += flat
                squares[which][group] += flat.square()
    return [measure(*both, group_size) for both in zip(sums, squares, strict=True)]


def draw_panel(axes: Axes, rows: list[Row], program: str, counts: list[int]) -> None:
    """Signal to noise by K, a line for each objective."""
    for place, (name, style) in enumerate(STYLES.items()):
        own = [(row.num_particles, getattr(row, program)) for row in rows if row.objective == name]
        shift = 1 + 0.035 * (place - 2)
        axes.errorbar(
            [count * shift for count, _ in own],
            [measured.signal_to_noise for _, measured in own],
            yerr=[measured.signal_to_noise_error for _, measured in own],
            markersize=6.5,
            markerfacecolor="white" if style["linestyle"] == "--" else style["color"],
            markeredgewidth=1.5,
            linewidth=1.5,
            capsize=2.5,
            **style,
        )
    axes.set(xscale="log", yscale="log", xlabel="particles K", ylabel="signal to noise")
    axes.set_title(f"gradient of the {program}", fontsize=10, loc="left")
    axes.set_xticks(counts, [thousands(count) for count in counts])
    axes.set_xticks([], minor=True)
    axes.margins(x=0.1, y=0.08)
    plain_axes(axes)


def set_levels(axes: Axes) -> None:
    """Ticks of the logarithmic axis at 1, 2 and 5, with a quiet line at each."""
    low, high = axes.get_ylim()
    levels = [step * 10.0**power for power in range(-4, 5) for step in (1, 2, 5)]
    shown = [level for level in levels if low <= level <= high]
    axes.set_yticks(shown, [f"{level:g}" for level in shown])
    axes.set_yticks([], minor=True)
    axes.grid(axis="y", color=GREY, alpha=0.15, linewidth=0.8)


def name_lines(axes: Axes, rows: list[Row], program: str, names: dict[str, str]) -> None:
    """Write a name at the right of the last point of each of some lines."""
    last = rows[-1].num_particles
    ends = {row.objective: getattr(row, program).signal_to_noise for row in rows if row.num_particles == last}
    low, high = (math.log(limit) for limit in axes.get_ylim())
    heights = [(math.log(max(ends[name], 1e-9)) - low) / (high - low) for name in names]
    for (name, text), height in zip(names.items(), spread_apart(heights, 0.07), strict=True):
        colour = STYLES[name]["color"]
        axes.annotate(text, (1.0, height), xycoords="axes fraction", va="center", fontsize=9, color=colour)


def save(path: Path, rows: list[Row], counts: list[int], subtitle: str) -> None:
    """The figure as a PNG file."""
    figure = new_figure(9.4, 3.7, "Signal to noise of the gradient of each objective", subtitle, space=0.06)
    left, right = figure.subplots(1, 2, sharey=True)
    draw_panel(left, rows, "guide", counts)
    draw_panel(right, rows, "model", counts)
    right.set_ylabel("")
    for axes in (left, right):
        set_levels(axes)
    name_lines(left, rows, "guide", {name: name for name in STYLES})
    name_lines(
        right, rows, "model", {"sticking the landing": "the ELBO's three", "doubly reparameterized": "the two of $L_K$"}
    )
    path.write_bytes(save_figure(figure))


def main() -> None:
    """Print the table, and save the figure where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--particles", type=int, nargs="+", default=[1, 5, 50])
    parser.add_argument("--draws", type=int, default=500, help=f"of each gradient; a multiple of {GROUPS}")
    parser.add_argument("--observations", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    data = bv.load_data("digits", policy="stochastic")
    model, guide = build_pair(PairSettings(latent_dim=8, hidden_dims=(100, 100)), data, options.seed)
    bv.fit(model, guide, data, epochs=options.epochs, batch_size=50, seed=options.seed, progress="none")
    x = data.test.observations(torch.arange(options.observations), seed=options.seed)
    torch.manual_seed(options.seed)
    print(
        f"digits, stochastic; 8 latents, hidden layers 100 100, {options.epochs} epochs on the ELBO; gradient of the "
        f"mean loss of N = {options.observations} test images, {options.draws} draws, seed {options.seed}"
    )
    print(f"  {'':22} {'K':>4}  {'signal to noise':^29}  {'noise':^29}  {'ms':>6}")
    print(f"  {'':22} {'':>4}  {'guide':^14} {'model':^14}  {'guide':^14} {'model':^14}")
    rows = []
    for count in options.particles:
        for name, make in OBJECTIVES.items():
            start = time.perf_counter()
            of_guide, of_model = draw_gradients(make(count), (model, guide), x, options.draws // GROUPS)
            spent = 1000 * (time.perf_counter() - start) / options.draws
            rows.append(Row(name, count, of_guide, of_model, spent))
            ratios = " ".join(f"{m.signal_to_noise:7.3f} ±{m.signal_to_noise_error:5.3f}" for m in (of_guide, of_model))
            noises = " ".join(f"{m.noise:7.3f} ±{m.noise_error:5.3f}" for m in (of_guide, of_model))
            print(f"  {name:22} {count:>4}  {ratios}  {noises}  {spent:6.1f}", flush=True)
    if options.figure:
        note = f"{thousands(options.draws)} draws · bars: jackknife error · seed {options.seed}"
        ks = ", ".join(map(str, options.particles))
        save(options.figure, rows, options.particles, caption(ks, options.observations, "stochastic", note))


if __name__ == "__main__":
    main()
