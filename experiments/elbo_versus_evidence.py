"""How far below log p(x) is the ELBO, for which images, and why?

By KL(q(z|x) ‖ p(z|x)), image by image. There are two reasons: the family of q (normals with independent dimensions)
cannot match the exact posterior, and one encoder serves all images. The gap is larger for images that the model finds
unlikely.

On the digits, seed 0: 0.514 ± 0.013 nats of 24, 0.239 because of the family and 0.275 because of the encoder; larger
for unlikely images (rank correlation 0.54 ± 0.05), and ink plays no part. Takes about 45 seconds on one core;
``--data mnist`` about four minutes.

The script trains a VAE, anneals log p(x), and splits the gap of each test image in two: what no normal with independent
dimensions could win back (approximation: the family of q), and what the one encoder for all images loses compared with
the best such normal (amortization). Then it asks which images have the large gaps: those with more ink, or those that
the model finds unlikely?
"""

from typing import Literal

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

import bayes_vae as bv
from bayes_vae.experiments.study import observe, print_answer, resolve_device, trained_pair, write_figure
from bayes_vae.plots.colours import COLOURS, GREY
from bayes_vae.plots.gap_figures import GAPS
from bayes_vae.plots.images import draw_pictures
from bayes_vae.plots.style import caption, new_figure, plain_axes
from bayes_vae.settings import PairSettings
from bayes_vae.vocabulary.number_text import with_error

NETWORKS = {
    "digits": PairSettings(latent_dim=8, hidden_dims=(200, 200)),
    "mnist": PairSettings(latent_dim=20, hidden_dims=(200, 200)),
}
EPOCHS = {"digits": 100, "mnist": 20}
NUM_OBSERVATIONS, NUM_PARTICLES, NUM_TEMPERATURES = 200, 1000, 100
GROUPS, SHOWN = 5, 8  # of the figure: groups of images by log p(x), and pictures of each end


def main(
    data: Literal["digits", "mnist"] = "digits",
    epochs: int | None = None,
    num_observations: int = NUM_OBSERVATIONS,
    num_particles: int = NUM_PARTICLES,
    num_temperatures: int = NUM_TEMPERATURES,
    seed: int = 0,
    device: str = "auto",
    out: str | None = None,
) -> dict[str, float]:
    """Train, measure the gap of each test image, and say which images have the large ones.

    Args:
        data: digits or mnist.
        epochs: passes over the training images; 100 for the digits and 20 for MNIST when not given.
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
    model, guide = trained_pair(NETWORKS[data], data_set, epochs=epochs or EPOCHS[data], seed=seed, device=where)
    x, about = observe(data_set.test, range(num_observations), seed, where)
    gap = bv.inference_gap(model, guide, x, num_particles, num_temperatures=num_temperatures, **about)

    print(f"\nOf {len(x)} test images, nats each; K = {num_particles}, {num_temperatures} temperatures, seed {seed}:")
    means = gap.averages()
    for name in ("log_evidence", "elbo", "inference_gap", "approximation_gap", "amortization_gap"):
        print(f"  {name:<18} {means[name]}")

    unlikely, ink = -gap.log_evidence, x.flatten(1).sum(1)
    with_unlikely, with_ink = (correlation(gap.inference_gap, other) for other in (unlikely, ink))
    print(f"\nRank correlation of the gap with −log p(x): {with_error(*with_unlikely)}")
    print(f"Rank correlation of the gap with ink:        {with_error(*with_ink)}")
    for part in ("amortization", "approximation"):
        found = correlation(getattr(gap, f"{part}_gap"), unlikely)
        print(f"  of the {part} gap with −log p(x): {with_error(*found)}")
    share = means["amortization_gap"].value / means["inference_gap"].value
    print(answer(means["inference_gap"].value, means["inference_gap"].total_error, share, with_unlikely, with_ink))
    for warning in gap.failures:
        print(f"note: {warning}")

    if out is not None:
        write_figure(draw(gap, x.cpu()), out, "elbo_versus_evidence")
    return {
        **{name: figure.value for name, figure in means.items()},
        "share_of_amortization": share,
        "correlation_with_unlikely": with_unlikely[0],
        "correlation_with_ink": with_ink[0],
    }


def correlation(first: Tensor, second: Tensor) -> tuple[float, float]:
    """Spearman's rank correlation of two numbers for each image, and its standard error, (1 − r²) / √(N − 1).

    Equal numbers share the mean of their ranks; a constant tells nothing, 0 ± 1 / √(N − 1).
    """
    pairs = [values.double().cpu()[:, None] - values.double().cpu() for values in (first, second)]
    ranks = [(pair > 0).sum(1) + (pair == 0).sum(1) / 2 for pair in pairs]
    r = float(torch.corrcoef(torch.stack(ranks))[0, 1]) if all(float(values.std()) > 0 for values in ranks) else 0.0
    return r, (1 - r * r) / (len(first) - 1) ** 0.5


def answer(
    gap: float, error: float, share: float, with_unlikely: tuple[float, float], with_ink: tuple[float, float]
) -> str:
    """The sentence that the numbers bear out.

    Args:
        gap, error: mean inference gap and its standard error.
        share: of the amortization gap in it.
        with_unlikely, with_ink: rank correlations of the gap with −log p(x) and with ink, each with its error.
    """
    if gap < 3 * error:
        return f"The ELBO is log p(x) as far as {error:.2f} nats can tell: there is no gap to explain."
    whose = (
        "the encoder's" if share > 0.6 else "the family's" if share < 0.4 else "the family's and the encoder's alike"
    )
    likelihood = _grows_with(with_unlikely, "the less likely the image is", "the more likely the image is")
    ink = _grows_with(with_ink, "the more ink it has", "the less ink it has")
    causes = [words for words in (likelihood, ink) if words]
    which = f"it is larger {' and '.join(causes)}" if causes else "neither likelihood nor ink tells where it is large"
    short = (
        f"The ELBO falls {with_error(gap, error)} nats short of log p(x), {share:.0%} of it amortization, so {whose}"
    )
    return f"{short}; {which}."


def _grows_with(correlated: tuple[float, float], more: str, less: str) -> str:
    """Which way a correlation goes, where it is more than three of its errors from 0."""
    r, error = correlated
    return "" if abs(r) <= 3 * error else more if r > 0 else less


def draw(gap: bv.InferenceGap, x: Tensor) -> Figure:
    """The ELBO of each image below its log p(x); the gap's parts from likely to unlikely images; and the ends."""
    policy = gap.provenance.data_policy
    subtitle = caption(gap.num_particles, gap.num_observations, policy, f"KL weight 1 · log p(x): {gap.estimator}")
    figure = new_figure(9.0, 4.6, "How far the ELBO is below log p(x)", subtitle)
    grid = figure.add_gridspec(2, 2, height_ratios=(3.2, 1))
    draw_elbo_below_evidence(figure.add_subplot(grid[0, 0]), gap)
    draw_gap_by_rank(figure.add_subplot(grid[0, 1]), gap)
    order = gap.inference_gap.cpu().argsort()
    for column, (rows, words) in enumerate(((order[:SHOWN], "smallest gaps"), (order.flip(0)[:SHOWN], "largest gaps"))):
        axes = draw_pictures(figure.add_subplot(grid[1, column]), x[rows], SHOWN)
        axes.set_title(f"the {len(rows)} images with the {words}", fontsize=9, color=GREY, loc="left")
    return figure


def draw_elbo_below_evidence(axes: Axes, gap: bv.InferenceGap) -> Axes:
    """A dot for each image; how far it lies below the line is its gap."""
    evidence, elbo = gap.log_evidence.cpu(), gap.elbo.cpu()
    ends = [float(elbo.min()), float(evidence.max())]
    axes.plot(ends, ends, color=COLOURS["evidence"], linewidth=1)
    axes.annotate("ELBO = log p(x)", (ends[1], ends[1]), (-6, -2), textcoords="offset points", ha="right", fontsize=8.5)
    axes.scatter(evidence, elbo, s=12, color=COLOURS["elbo"], alpha=0.6, linewidths=0)
    axes.set_xlabel("log p(x), nats")
    axes.set_ylabel("ELBO, nats")
    return plain_axes(axes)


def draw_gap_by_rank(axes: Axes, gap: bv.InferenceGap) -> Axes:
    """Mean gap of groups of images, from the likely to the unlikely, its two parts stacked where they are known."""
    groups = gap.log_evidence.cpu().argsort(descending=True).chunk(GROUPS)
    names = ["inference_gap"] if gap.split is None else ["approximation_gap", "amortization_gap"]
    bottom = torch.zeros(len(groups), dtype=torch.float64)
    for name in names:
        words, colour = GAPS[name]
        heights = torch.stack([getattr(gap, name).cpu()[rows].double().mean() for rows in groups])
        axes.bar(range(len(groups)), heights, bottom=bottom, width=0.7, color=colour, label=words)
        bottom = bottom + heights
    errors = [float(gap.inference_gap.cpu()[rows].double().std() / len(rows) ** 0.5) for rows in groups]
    axes.errorbar(range(len(groups)), bottom, yerr=errors, fmt="none", ecolor="black", elinewidth=0.9, capsize=3)
    labels = [f"{float(gap.log_evidence.cpu()[rows].mean()):.0f}".replace("-", "−") for rows in groups]
    axes.set_xticks(range(len(groups)), labels)
    axes.set_xlabel("mean log p(x) of each fifth of the images, nats")
    axes.set_ylabel("mean gap, nats")
    axes.set_ylim(0, 1.3 * float(bottom.max()))
    axes.legend(frameon=False, fontsize=8.5, loc="upper left")
    return plain_axes(axes)


if __name__ == "__main__":
    main(out="figures")
