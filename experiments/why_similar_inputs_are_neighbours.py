"""Why are the codes of similar images neighbours, though nobody said which images are similar?

Because one decoder serves all codes, and it decodes nearby codes to similar images. So each image is explained best
near the images that resemble it. No term knows about labels: with labels shuffled, training is the same bit for bit.
The KL and the noise are not needed for this: an autoencoder does it as well. What they add is that the map has no
holes.

On the digits, seed 0: 51.8 ± 2.0 % of the ten nearest codes share the label in a VAE, 52.4 ± 2.0 % in an autoencoder,
and 10 % by chance; a swap of two codes costs 4.3 nats between the most similar images and 19.2 between the least.
Takes about 80 seconds on one core; ``--data mnist`` about six minutes.

The script trains four pairs with the same networks and the same batches: a VAE; one without the KL; one without
sampling noise, which decodes the mean of q; and one without both, which is an autoencoder. It compares on test images
the labels of the nearest codes; how evenly the decoder's output changes along a straight line between two codes; how
much the q of similar and of dissimilar images overlap. As a control, two more have no encoder: each training image has
a code of its own, which starts anywhere, so no smooth encoder can put similar images close together. It also measures
the reason: where two q overlap, the same z has to explain both images, so overlap is cheaper between similar images.
The price of overlap is the cost of a swap, E_q(z|x_i) log p(x_i|z) − E_q(z|x_j) log p(x_i|z), in nats.
"""

from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.distributions import Normal, kl_divergence

import bayes_vae as bv
from bayes_vae.data import Data
from bayes_vae.experiments.study import (
    descend,
    difference,
    mean_error,
    new_pair,
    observe,
    percent,
    print_answer,
    resolve_device,
    trained_pair,
    write_figure,
)
from bayes_vae.plots.colours import COLOURS, GREY
from bayes_vae.plots.latents import draw_latent_means
from bayes_vae.plots.style import caption, new_figure, plain_axes
from bayes_vae.settings import PairSettings

NETWORKS = PairSettings(latent_dim=2, hidden_dims=(200, 200))
PAIRS = {  # name: whether z is drawn, and the weight of the KL
    "VAE": (True, 1.0),
    "VAE without the KL": (True, 0.0),
    "VAE without noise": (False, 1.0),
    "autoencoder": (False, 0.0),
}
EPOCHS, EPOCHS_OF_LABELS = {"digits": 100, "mnist": 10}, 2
LEARNING_RATE = 2e-3
NUM_FREE, FREE_SPEED = 1300, 20.0  # training images without an encoder; how much faster their own codes learn
NUM_OBSERVATIONS, NUM_PARTICLES, NUM_NEIGHBOURS, NUM_LINES, STEPS, NUM_BINS = 300, 20, 10, 300, 50, 10
LINES = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"))  # line and marker of each pair


class Neighbours(NamedTuple):
    """What was measured of one pair; each figure with its standard error over the observations.

    Attributes:
        name: of the pair.
        codes: means of q, shape (N, D).
        purity: of the nearest codes, the share with the same label.
        largest_step: of the decoder along lines between two codes, in units of the mean step.
        swap: what decoding from another's q costs, by likeness of the two, from the most like; shape (2, bins), nats.
        overlap: of the two q, likewise; None where z is not drawn from q.
    """

    name: str
    codes: Tensor
    purity: tuple[float, float]
    largest_step: tuple[float, float]
    swap: Tensor
    overlap: Tensor | None


def main(
    data: Literal["digits", "mnist"] = "digits",
    epochs: int | None = None,
    num_observations: int = NUM_OBSERVATIONS,
    num_particles: int = NUM_PARTICLES,
    seed: int = 0,
    device: str = "auto",
    out: str | None = None,
) -> dict[str, float]:
    """Train the four, and measure them alike.

    Args:
        data: digits or mnist.
        epochs: passes over the training images; 100 for the digits and 10 for MNIST when not given.
        num_observations: test images.
        num_particles: draws from each q for the cost of a swap.
        seed: of the weights, the batches and the draws.
        device: cpu, cuda, or auto.
        out: a folder for the figure, or a path that ends in .png; none is drawn when not given.
    """
    print_answer(__doc__)
    where = resolve_device(device)
    data_set = bv.load_data(data, policy="static")
    same = labels_change_nothing(data_set, seed, where)

    train = data_set.train.observations(device=where)
    x, _ = observe(data_set.test, range(num_observations), seed, where)
    labels, seen = (torch.as_tensor(split.labels)[: len(x)].to(where) for split in (data_set.test, data_set.train))
    found = []
    for name, (noise, kl_weight) in PAIRS.items():
        model, guide = new_pair(NETWORKS, data_set, seed, where)
        generator = torch.Generator().manual_seed(seed)
        with_encoder(model, guide, train, noise, kl_weight, epochs or EPOCHS[data], generator)
        found.append(measure(name, noise, model, guide, x, labels, num_particles, generator))
        print(line(found[-1]), flush=True)

    few, free = train[:NUM_FREE], {}
    for name in (found[0].name, found[-1].name):
        model, _ = new_pair(NETWORKS, data_set, seed, where)
        codes = without_encoder(model, few, *PAIRS[name], epochs or EPOCHS["digits"], seed)[: len(seen)]
        free[name] = purity(torch.cdist(codes, codes), seen[: len(codes)])
        print(f"{name} without an encoder, on training images: same label {percent(free[name])}", flush=True)

    counts = torch.bincount(labels)[labels].double()
    chance = float((counts - 1).mean() / (len(x) - 1))
    print(f"Nearest {NUM_NEIGHBOURS} of the images themselves, by pixels: {percent(purity(distances(x), labels))}")
    print(f"By chance: {100 * chance:.1f} %\n\n{answer(found, same, chance, free)}")
    if out is not None:
        figure = draw(found, labels.cpu(), num_particles, data_set.policy)
        write_figure(figure, out, "why_similar_inputs_are_neighbours")
    keys = {pair.name: pair.name.lower().replace(" ", "_") for pair in found}
    return {
        "labels_change_nothing": float(same),
        "chance": chance,
        **{f"purity_{keys[pair.name]}": pair.purity[0] for pair in found},
        **{f"purity_without_encoder_{keys[name]}": value[0] for name, value in free.items()},
        **{f"largest_step_{keys[pair.name]}": pair.largest_step[0] for pair in found},
        **{f"swap_of_like_{keys[pair.name]}": float(pair.swap[0, 0]) for pair in found},
        **{f"swap_of_unlike_{keys[pair.name]}": float(pair.swap[0, -1]) for pair in found},
    }


def labels_change_nothing(data_set: Data, seed: int, device: torch.device) -> bool:
    """Whether two trainings, one with the training labels shuffled, end in the same weights, bit for bit."""
    labels = torch.as_tensor(data_set.train.labels)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    shuffled = replace(data_set, train=replace(data_set.train, labels=labels[order]))
    states = []
    for labelled in (data_set, shuffled):
        trained = trained_pair(NETWORKS, labelled, epochs=EPOCHS_OF_LABELS, seed=seed, device=device)
        states.append([value for module in trained for value in module.state_dict().values()])
    return all(torch.equal(one, other) for one, other in zip(*states, strict=True))


def with_encoder(
    model: Any, guide: Any, x: Tensor, noise: bool, kl_weight: float, epochs: int, generator: torch.Generator
) -> None:
    """Train model and guide on training images x; z is a draw from q or, without noise, its mean."""

    def loss(rows: Tensor) -> Tensor:
        q = guide.variational_posterior(x[rows])
        drawn = torch.randn(q.mean.shape, generator=generator).to(x.device)
        z = q.mean + q.stddev * drawn if noise else q.mean
        kl = kl_divergence(Normal(q.mean, q.stddev), Normal(0.0, 1.0)).sum(-1)
        negative_elbo: Tensor = (kl_weight * kl - model.likelihood(z).log_prob(x[rows])).mean()
        return negative_elbo

    parameters = [*model.parameters(), *guide.parameters()]
    descend(loss, parameters, len(x), epochs=epochs, learning_rate=LEARNING_RATE, generator=generator)


def without_encoder(model: Any, x: Tensor, noise: bool, kl_weight: float, epochs: int, seed: int) -> Tensor:
    """Train a model and, in place of a guide, a mean and a deviation for each image, which start as draws of the prior.

    Returns:
        means of q, shape (N, D).
    """
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(len(x), NETWORKS.latent_dim, generator=generator).to(x.device) / FREE_SPEED
    loc, log_scale = start.requires_grad_(), torch.zeros_like(start).requires_grad_()

    def loss(rows: Tensor) -> Tensor:
        q = Normal(FREE_SPEED * loc[rows], (FREE_SPEED * log_scale[rows]).exp())
        drawn = torch.randn(q.mean.shape, generator=generator).to(x.device)
        z = q.mean + q.stddev * drawn if noise else q.mean
        kl = kl_divergence(q, Normal(0.0, 1.0)).sum(-1)
        negative_elbo: Tensor = (kl_weight * kl - model.likelihood(z).log_prob(x[rows])).mean()
        return negative_elbo

    parameters = [*model.parameters(), loc, log_scale]
    descend(loss, parameters, len(x), epochs=epochs, learning_rate=LEARNING_RATE, generator=generator)
    return FREE_SPEED * loc.detach()


@torch.no_grad()
def measure(
    name: str, noise: bool, model: Any, guide: Any, x: Tensor, labels: Tensor, draws: int, generator: torch.Generator
) -> Neighbours:
    """Codes, their neighbours, the decoder between them, overlaps, and the cost of every swap."""
    q = guide.variational_posterior(x)
    loc, scale = q.mean, q.stddev
    order = distances(x).fill_diagonal_(torch.inf).argsort(1)[:, :-1]  # the others, from the most like on

    pair = torch.randint(len(x), (2, NUM_LINES), generator=generator).to(x.device)
    pair = pair[:, (x[pair[0]] != x[pair[1]]).flatten(1).any(1)]
    z = torch.lerp(loc[pair[0]], loc[pair[1]], torch.linspace(0, 1, STEPS, device=x.device)[:, None, None])
    step = model.likelihood(z).mean.flatten(2).diff(dim=0).norm(dim=-1)
    largest = step.amax(0) / step.mean(0).clamp(min=1e-12)

    z = loc + scale * torch.randn((draws, *loc.shape), generator=generator).to(x.device) if noise else loc[None]
    return Neighbours(
        name,
        loc.cpu(),
        purity(torch.cdist(loc, loc), labels),
        mean_error(largest),
        by_likeness(swap_costs(model, x, z).gather(1, order)),
        by_likeness(overlaps(loc, scale).gather(1, order)) if noise else None,
    )


def distances(x: Tensor) -> Tensor:
    """Pixels in which two images differ, shape (N, N)."""
    return torch.cdist(x.flatten(1), x.flatten(1), p=1)


def swap_costs(model: Any, x: Tensor, z: Tensor) -> Tensor:
    """Nats that x_i loses when it is decoded from z_j, draws from the q of x_j, and not from its own; shape (N, N).

    Args:
        x: images, shape (N, *event).
        z: draws from the q of each, shape (K, N, D).
    """
    likelihood = torch.stack([model.likelihood(z[:, j]).log_prob(x[:, None]).mean(1) for j in range(len(x))], 1)
    return likelihood.diagonal()[:, None] - likelihood


def overlaps(loc: Tensor, scale: Tensor) -> Tensor:
    """∫ √(q(z|x_i) q(z|x_j)) dz of normals, one for the same and zero for strangers (Bhattacharyya); shape (N, N)."""
    variance = (scale.square()[:, None] + scale.square()[None]) / 2
    distance = (loc[:, None] - loc[None]).square() / variance / 8
    return (-distance - (variance / (scale[:, None] * scale[None])).log() / 2).sum(-1).exp()


def purity(distance: Tensor, labels: Tensor) -> tuple[float, float]:
    """Of each image's nearest others, the share with its label: mean and standard error over the images."""
    nearest = distance.clone().fill_diagonal_(torch.inf).topk(NUM_NEIGHBOURS, largest=False).indices
    return mean_error((labels[nearest] == labels[:, None]).double().mean(1))


def by_likeness(values: Tensor) -> Tensor:
    """Mean and standard error over the images of each tenth of the others, from the most like; shape (2, bins)."""
    tenths = torch.stack([part.double().mean(1) for part in values.chunk(NUM_BINS, 1)], 1)
    return torch.stack([tenths.mean(0), tenths.std(0) / len(tenths) ** 0.5]).cpu()


def line(pair: Neighbours) -> str:
    """One pair's figures."""
    swap = " and ".join(f"{pair.swap[0, end]:.1f} ± {pair.swap[1, end]:.1f}" for end in (0, -1))
    overlap = "no q to overlap"
    if pair.overlap is not None:
        ends = " and ".join(f"{pair.overlap[0, end]:.3f} ± {pair.overlap[1, end]:.3f}" for end in (0, -1))
        overlap = f"overlap of the most and the least like tenth {ends}"
    return (
        f"{pair.name:<19}same label {percent(pair.purity)}; largest step {pair.largest_step[0]:.2f} ± "
        f"{pair.largest_step[1]:.2f} of the mean; a swap costs {swap} nats; {overlap}"
    )


def answer(found: list[Neighbours], same: bool, chance: float, free: dict[str, tuple[float, float]]) -> str:
    """The sentence that the numbers bear out."""
    vae, autoencoder = found[0], found[-1]
    labels = "Shuffled labels change no bit of the training" if same else "Shuffled labels change the training"
    more, error = difference(vae.purity, autoencoder.purity)
    compared = "as well" if abs(more) < 3 * error else "better" if more > 0 else "worse"
    above = vae.purity[0] - chance > 3 * vae.purity[1]
    steps, error = difference(autoencoder.largest_step, vae.largest_step)
    even = "as evenly" if abs(steps) < 3 * error else "more evenly" if steps > 0 else "less evenly"
    like, unlike = (float(vae.swap[0, end]) for end in (0, -1))
    cheap = unlike - like > 3 * float(vae.swap[1, [0, -1]].norm())
    assert vae.overlap is not None
    near, far = (float(vae.overlap[0, end]) for end in (0, -1))
    often = "more often than by chance" if above else "no more than by chance"
    least = min(free.values())
    needed = "It takes no encoder" if least[0] - chance > 3 * least[1] else "It takes an encoder"
    return (
        f"{labels}. Yet nearest codes share a label {often} (VAE {percent(vae.purity)}, chance "
        f"{100 * chance:.1f} %), {compared} {'as' if compared == 'as well' else 'than'} in an autoencoder "
        f"({percent(autoencoder.purity)}). {needed}: with a code of its own for each training image "
        f"{' and '.join(map(percent, free.values()))} share a label. The VAE’s decoder changes {even} between two "
        f"codes (largest step {vae.largest_step[0]:.1f} of the mean, the autoencoder’s "
        f"{autoencoder.largest_step[0]:.1f}). A swap of codes costs {like:.1f} nats between the most like images and "
        f"{unlike:.1f} between the least: overlap is "
        f"{'cheaper between like images' if cheap else 'as cheap between unlike images'}, and q overlap by {near:.2f} "
        f"for those and {far:.2f} for these."
    )


def draw(pairs: list[Neighbours], labels: Tensor, num_particles: int, data_policy: str) -> Figure:
    """The codes of each pair by label; overlap and cost of a swap by likeness; how evenly each decoder changes."""
    subtitle = caption(num_particles, len(labels), data_policy, "test images")
    subtitle += "\ncodes: means of q(z|x); colours: labels, which no pair has seen; circles: the prior’s 1σ and 2σ"
    figure = new_figure(11.0, 5.8, "Why similar inputs are neighbours", subtitle, space=0.05)
    grid = figure.add_gridspec(2, 1, height_ratios=(1, 1))
    above, below = grid[0].subgridspec(1, len(pairs)), grid[1].subgridspec(1, 3)
    for column, pair in enumerate(pairs):
        axes = draw_latent_means(figure.add_subplot(above[column]), pair.codes, labels)
        for part in (axes.get_legend(), *(text for text in axes.texts if text.get_text().startswith("prior"))):
            if part is not None:
                part.remove()
        value, error = (100 * part for part in pair.purity)
        axes.set_title(f"{pair.name}\nsame label nearby: {value:.0f} ± {error:.0f} %", fontsize=9)
    draw_by_likeness(figure.add_subplot(below[0]), {pair.name: pair.overlap for pair in pairs}, "overlap of two q")
    draw_by_likeness(figure.add_subplot(below[1]), {pair.name: pair.swap for pair in pairs}, "cost of a swap, nats")
    draw_largest_steps(figure.add_subplot(below[2]), pairs)
    return figure


def draw_by_likeness(axes: Axes, values: dict[str, Tensor | None], words: str) -> Axes:
    """A figure of two observations by how like they are."""
    for (name, figures), (style, marker) in zip(values.items(), LINES, strict=False):
        if figures is not None:
            places = range(1, figures.shape[1] + 1)
            line: dict[str, Any] = {
                "linestyle": style,
                "marker": marker,
                "markersize": 4,
                "linewidth": 1.2,
                "capsize": 2,
            }
            colour = "black" if style == "-" else GREY
            axes.errorbar(places, figures[0], figures[1], color=colour, label=name, **line)
    axes.set_xlabel("tenths of the other images, the most like first")
    axes.set_ylabel(words)
    axes.set_ylim(0, None)
    axes.legend(frameon=False, fontsize=8.5)
    return plain_axes(axes)


def draw_largest_steps(axes: Axes, pairs: list[Neighbours]) -> Axes:
    """The largest step of each decoder along a line between two codes; one is even."""
    values, errors = zip(*(pair.largest_step for pair in pairs), strict=True)
    rows = range(len(pairs))
    axes.barh(rows, values, xerr=errors, height=0.5, color=COLOURS["likelihood"], ecolor="black", capsize=3)
    axes.axvline(1, color=GREY, linewidth=0.9, linestyle=":")
    axes.set_yticks(rows, [pair.name for pair in pairs])
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    axes.set_xlabel("largest ÷ mean step of the decoder\n(dotted: steps all alike)")
    return plain_axes(axes)


if __name__ == "__main__":
    main(out="figures")
