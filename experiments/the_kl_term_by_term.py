"""What does each part of the closed-form KL do to the mean and to the deviation of q?

For one dimension, q = N(m, s²) against the prior N(0, 1): ½ m² pulls the mean m to 0, ½ s² makes the deviation s
smaller, and −log s makes it larger. The two terms in s balance at s = 1. So the KL alone would make every q the prior;
in a VAE the likelihood pulls back.

The KL is −½ (1 + log s² − m² − s²) = ½ m² + ½ s² − log s − ½, in nats, which are natural logarithms. For m = 1.5 and
s = 0.3 that is 1.874; the mean of log q(z) − log p(z) over draws from q is 1.8746 ± 0.0025 (seed 0). Takes about 2
seconds on one core.

Nothing is trained here. The figure shows on the left what the KL does to m, and on the right what it does to s: the
curves above, and below them q on its way down the gradient of the KL, which ends at the prior.
"""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from bayes_vae.experiments.study import mean_error, print_answer, resolve_device, write_figure
from bayes_vae.plots.colours import COLOURS, GREY
from bayes_vae.plots.style import new_figure, plain_axes
from bayes_vae.vocabulary.number_text import value_text, with_error

PLACES = ((0.0, 1.0), (1.5, 1.0), (0.0, 0.3), (0.0, 2.0), (1.5, 0.3))
NUM_PARTICLES, STEP, NUM_STEPS = 100_000, 0.05, 400
PATHS = ((0, 10, 30, NUM_STEPS), (0, 1, 4, NUM_STEPS))
"""Steps of the descent whose q is drawn, of m and of s."""


def main(
    num_particles: int = NUM_PARTICLES, seed: int = 0, device: str = "auto", out: str | None = None
) -> dict[str, float]:
    """Take the KL apart for a few q, and let the gradient of the KL alone move them.

    Args:
        num_particles: draws from q for each KL.
        seed: of the draws.
        device: cpu, cuda, or auto.
        out: a folder for the figure, or a path that ends in .png; none is drawn when not given.
    """
    print_answer(__doc__)
    where = resolve_device(device)
    generator = torch.Generator(where).manual_seed(seed)
    print("KL of q = N(m, s²) to the prior N(0, 1) = ½ m² + ½ s² − log s − ½, in nats:")
    print("     m     s     ½ m²    ½ s²  −log s     − ½       KL   mean over draws from q    pull on m   pull on s")
    apart, worst = 0.0, 0.0
    for m, s in PLACES:
        loc, scale = (torch.tensor(value, dtype=torch.float64, device=where) for value in (m, s))
        parts = kl_parts(loc, scale)
        kl = sum(float(part) for part in parts.values())
        apart = max(apart, abs(kl - float(kl_divergence(Normal(loc, scale), Normal(0.0, 1.0)))))
        value, error = mean_error(log_ratio(loc, scale, num_particles, generator))
        worst = max(worst, abs(value - kl) / error if error > 0 else 0.0)
        numbers = "".join(f"{value_text(float(part)):>8}" for part in (*parts.values(), kl))
        pulls = "".join(f"{value_text(pull):>12}" for pull in pulls_of(loc, scale))
        print(f"  {m:4.1f}  {s:4.1f} {numbers}   {with_error(value, error):<20}{pulls}")
    ends = descend_kl(torch.tensor([1.5, 0.3], dtype=torch.float64))[-1]
    print("A pull is minus the derivative of the KL: −m on the mean, 1/s − s on the deviation.")
    print(f"\n{answer(apart, worst, ends)}")
    if out is not None:
        write_figure(draw(), out, "the_kl_term_by_term")
    return {"largest_deviation": apart, "largest_deviation_in_errors": worst, "m": float(ends[0]), "s": float(ends[1])}


def kl_parts(loc: Tensor, scale: Tensor) -> dict[str, Tensor]:
    """The four parts of KL(N(m, s²) ‖ N(0, 1)), nats.

    Args:
        loc: m, of any shape.
        scale: s, of the same.
    """
    return {"½ m²": loc**2 / 2, "½ s²": scale**2 / 2, "−log s": -scale.log(), "−½": torch.full_like(loc, -0.5)}


def pulls_of(loc: Tensor, scale: Tensor) -> tuple[float, float]:
    """Minus the derivatives of the KL with respect to m and s."""
    loc, scale = loc.clone().requires_grad_(), scale.clone().requires_grad_()
    found = torch.autograd.grad(-kl_divergence(Normal(loc, scale), Normal(0.0, 1.0)), [loc, scale])
    return float(found[0]), float(found[1])


def log_ratio(loc: Tensor, scale: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """log q(z) − log p(z) at draws z = m + s ε of q, shape (count,): the KL is its mean."""
    noise = torch.randn(count, dtype=loc.dtype, device=loc.device, generator=generator)
    z = loc + scale * noise  # this N(0, 1) makes draws; the one in the next line is the prior
    return torch.as_tensor(Normal(loc, scale).log_prob(z) - Normal(0.0, 1.0).log_prob(z))


def descend_kl(start: Tensor, step: float = STEP, count: int = NUM_STEPS) -> Tensor:
    """(m, s) along gradient steps on the KL alone, shape (count + 1, 2)."""
    places = [start]
    for _ in range(count):
        pulls = pulls_of(*places[-1])
        places.append(places[-1] + step * torch.tensor(pulls, dtype=start.dtype))
    return torch.stack(places)


def answer(apart: float, worst: float, ends: Tensor) -> str:
    """The sentence that the numbers bear out.

    Args:
        apart: largest difference between the sum of the parts and the KL of torch, nats.
        worst: largest deviation of a mean over draws, in its standard errors.
        ends: m and s after the descent.
    """
    same = "add up to the KL" if apart < 1e-9 else "do not add up to the KL"
    agree = "agree" if worst < 4.5 else "do not agree"
    prior = bool((ends - torch.tensor([0.0, 1.0], dtype=ends.dtype)).abs().max() < 1e-3)
    return (
        f"The parts {same}, and the means over draws {agree} with them (by at most {worst:.1f} standard errors). "
        f"Moved by the KL alone, q ends at m = {ends[0]:.3f}, s = {ends[1]:.3f}: "
        f"{'it is the prior' if prior else 'it is not yet the prior'}."
    )


def draw() -> Figure:
    """What the KL does to m, at the left, and to s, at the right."""
    subtitle = (
        "KL(N(m, s²) ‖ N(0, 1)) = −½ (1 + log s² − m² − s²) = ½ m² + ½ s² − log s − ½\n"
        "arrows: where the KL pulls · below: q moved by the KL alone, from pale to dark, and the prior dashed"
    )
    figure = new_figure(8.2, 5.4, "The KL to the prior, term by term", subtitle, space=0.06)
    (mean, deviation), (moved, widened) = figure.subplots(2, 2, height_ratios=[1.25, 1])
    draw_mean_term(mean)
    draw_deviation_terms(deviation)
    draw_path(moved, torch.tensor([2.0, 1.0], dtype=torch.float64), PATHS[0], "the mean moves to 0")
    draw_path(widened, torch.tensor([0.0, 0.25], dtype=torch.float64), PATHS[1], "a narrow q widens to s = 1")
    return figure


def draw_mean_term(axes: Axes) -> None:
    """½ m², the only term with m."""
    m = torch.linspace(-2.5, 2.5, 201)
    axes.plot(m, m**2 / 2, color=COLOURS["kl"], linewidth=2)
    axes.text(0.5, 0.9, "½ m²: smallest at m = 0", transform=axes.transAxes, ha="center", fontsize=9.5)
    for start, end in ((-2.0, -1.1), (2.0, 1.1)):
        _arrow(axes, (start, start**2 / 2), (end, end**2 / 2))
    _dress(axes, "what it does to the mean m", "m")


def draw_deviation_terms(axes: Axes) -> None:
    """½ s² and −log s, and their sum."""
    s = torch.linspace(0.06, 2.6, 300)
    half = {"½ s²: wants s small": (s**2 / 2, "--"), "− log s: wants s large": (-s.log(), ":")}
    for words, (values, line) in half.items():
        axes.plot(s, values, line, color=GREY, linewidth=1.6, label=words)
    total = s**2 / 2 - s.log() - 0.5
    axes.plot(s, total, color=COLOURS["kl"], linewidth=2, label="both, − ½: smallest at s = 1")
    for start, end in ((0.2, 0.5), (2.3, 1.75)):
        _arrow(axes, *((at, at**2 / 2 - float(torch.tensor(at).log()) - 0.5) for at in (start, end)))
    axes.legend(frameon=False, fontsize=8.5, loc="upper right")
    _dress(axes, "what it does to the deviation s", "s")


def draw_path(axes: Axes, start: Tensor, steps: tuple[int, ...], words: str) -> None:
    """q at some steps of the descent, over z."""
    z = torch.linspace(-4, 4, 401, dtype=torch.float64)
    for place, (m, s) in enumerate(descend_kl(start)[list(steps)]):
        density = Normal(m, s).log_prob(z).exp()
        axes.plot(z, density, color=COLOURS["variational_posterior"], alpha=(0.3, 0.5, 0.75, 1.0)[place], linewidth=1.8)
    axes.plot(z, Normal(0.0, 1.0).log_prob(z).exp(), "--", color=COLOURS["prior"], linewidth=1.8, label="prior p(z)")
    axes.plot([], [], color=COLOURS["variational_posterior"], label="q(z|x)")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left")
    axes.set(xlabel="z", ylabel="density", title=words)
    axes.title.set_fontsize(9.5)
    plain_axes(axes)


def _dress(axes: Axes, title: str, name: str) -> None:
    axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    axes.set(xlabel=name, ylabel="nats", title=title, ylim=(-1.1, 5.2))
    axes.title.set_fontsize(10.5)
    plain_axes(axes)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    style = {"arrowstyle": "-|>", "linewidth": 1.6, "color": COLOURS["elbo"], "mutation_scale": 14}
    axes.annotate("", end, start, arrowprops=style, zorder=3)


if __name__ == "__main__":
    main(out="figures")
