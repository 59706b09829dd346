"""Does a better guide give a better model, or only a smaller gap?

Only a smaller gap, for a model that is held fixed. log p(x) belongs to the model; the guide decides how much of it the
ELBO shows. Which family q belongs to (all the q that a guide can express, such as the normals with independent
dimensions) matters less here than the encoder, which has to serve all images at once.

On the digits, seed 0: log p(x) of one fixed model is −23.979 ± 0.003 under four guides; the gap is 0.263 ± 0.007 nats
with a normal guide and 0.132 ± 0.003 without an encoder. Takes about 100 seconds on one core; ``--data mnist`` about
seven minutes.

The script trains a VAE, holds its model fixed and fits other guides to it: a normal with independent dimensions, one
with full covariance, a neural spline flow, and a normal with parameters of its own for each test image, without an
encoder. For each it measures the ELBO, the gap to log p(x), and log p(x) once more by annealing from that guide. A
richer family gains nothing here: the encoder is what errs on test images.
"""

from typing import Any, Literal, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

import bayes_vae as bv
from bayes_vae.experiments.study import (
    fit,
    mean_error,
    observe,
    print_answer,
    resolve_device,
    trained_pair,
    write_figure,
)
from bayes_vae.guides import (
    AmortizedNormalGuide,
    FullCovarianceGuide,
    LocalNormalGuide,
    SingleLatentGuide,
    SplineFlowGuide,
)
from bayes_vae.plots.colours import COLOURS
from bayes_vae.plots.style import caption, new_figure, plain_axes
from bayes_vae.settings import PairSettings
from bayes_vae.terms.averages import Average
from bayes_vae.vocabulary.number_text import with_error

NETWORKS = {
    "digits": PairSettings(latent_dim=8, hidden_dims=(100, 100)),
    "mnist": PairSettings(latent_dim=20, hidden_dims=(200, 200)),
}
EPOCHS = {"digits": 60, "mnist": 10}
NUM_OBSERVATIONS, NUM_PARTICLES, NUM_TEMPERATURES = 200, 500, 100


class Row(NamedTuple):
    """What was measured of one guide; averages over the test images, and the paired gap to the common evidence."""

    guide: str
    elbo: Average
    log_evidence: Average
    gap: float
    gap_error: float


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
    """Train a model, hold it, and fit one guide after another to it.

    Args:
        data: digits or mnist.
        epochs: passes over the training images for the model and for each guide; 60 for the digits and 10 for MNIST
            when not given.
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
    pair = NETWORKS[data]
    training: dict[str, Any] = {"epochs": epochs or EPOCHS[data], "seed": seed, "device": where}
    model, _ = trained_pair(pair, data_set, **training)
    model.requires_grad_(False)  # from here on only guides are trained
    x, about = observe(data_set.test, range(num_observations), seed, where)

    networks: dict[str, Any] = {
        "latent_dim": pair.latent_dim,
        "data_shape": data_set.data_shape,
        "hidden_dims": pair.hidden_dims,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        guides: dict[str, SingleLatentGuide] = {
            "normal": AmortizedNormalGuide(**networks),
            "full covariance": FullCovarianceGuide(**networks),
            "spline flow": SplineFlowGuide(**networks),
        }
    for guide in guides.values():
        fit(model, guide, data_set, **training)
    local = LocalNormalGuide(pair.latent_dim, int(about["index"].max()) + 1).to(where).eval()
    local.fit_to(model, x, index=about["index"])

    found = []
    for name, guide in {**guides, "normal, local": local}.items():
        elbo = bv.elbo_terms(model, guide, x, num_particles, kl="sampled", **about)
        annealed = bv.annealed_log_evidence(model, guide, x, num_temperatures=num_temperatures, **about)
        found.append((name, elbo, annealed))
    # the model's alone: every guide's chains estimate the same numbers
    evidence = torch.stack([annealed.log_evidence for _, _, annealed in found]).mean(0)
    table: list[Row] = []
    gaps: list[Tensor] = []
    for name, elbo, annealed in found:
        gaps.append(evidence - elbo.elbo)
        averages = elbo.averages()["elbo"], annealed.averages()["log_evidence"]
        table.append(Row(name, *averages, *mean_error(gaps[-1])))
        print(line(table[-1]), flush=True)

    widest, narrowest = (pick(gaps, key=lambda values: float(values.mean())) for pick in (max, min))
    print(f"\n{answer(table, mean_error(widest - narrowest))}")  # of the same images: their errors do not add up
    if out is not None:
        write_figure(draw(table, num_particles, data_set.policy), out, "better_guides")
    return {f"gap_{row.guide.replace(', ', '_').replace(' ', '_')}": row.gap for row in table}


def line(row: Row) -> str:
    """One guide's figures."""
    evidence = with_error(row.log_evidence.value, row.log_evidence.monte_carlo_error)
    elbo = with_error(row.elbo.value, row.elbo.monte_carlo_error)
    return f"{row.guide:<16} ELBO {elbo:>17}   log p(x) {evidence:>17}   gap {with_error(row.gap, row.gap_error):>14}"


def answer(rows: list[Row], shrinks: tuple[float, float]) -> str:
    """The sentence that the numbers bear out.

    Args:
        rows: one for each guide.
        shrinks: mean difference of the widest gap and the narrowest, of the same images, and its error.
    """
    values = [row.log_evidence.value for row in rows]
    spread, error = max(values) - min(values), max(row.log_evidence.monte_carlo_error for row in rows)
    stays = "stays" if spread < 5 * error else "differs by the guide it is annealed from"
    widest, narrowest = (pick(rows, key=lambda row: row.gap) for pick in (max, min))
    one, other = (f"{with_error(row.gap, row.gap_error)}" for row in (widest, narrowest))
    found = (
        f"The gap shrinks from {one} nats ({widest.guide}) to {other} ({narrowest.guide}), by {with_error(*shrinks)}: "
        "the better guide shows more of the same model."
        if shrinks[0] > 3 * shrinks[1]
        else f"Of these no guide is clearly better than another: {one} nats ({widest.guide}) to {other} "
        f"({narrowest.guide})."
    )
    return f"log p(x) {stays}: {min(values):.3f} to {max(values):.3f}, ± {error:.3f} each. {found}"


def draw(rows: list[Row], num_particles: int, data_policy: str) -> Figure:
    """A line from the ELBO up to log p(x) for each guide: its length is the gap."""
    count = rows[0].elbo.num_observations
    subtitle = caption(num_particles, count, data_policy, "KL weight 1 · one model, held fixed; Monte-Carlo errors")
    figure = new_figure(7.6, 0.55 * len(rows) + 0.9, "ELBO and evidence of one model under several guides", subtitle)
    axes = plain_axes(figure.add_subplot())
    for place, row in enumerate(rows):
        elbo, evidence = row.elbo, row.log_evidence
        axes.plot([elbo.value, evidence.value], [place, place], color=COLOURS["variational_posterior"], linewidth=5)
        for average, colour in ((elbo, COLOURS["elbo"]), (evidence, COLOURS["evidence"])):
            axes.errorbar(average.value, place, xerr=average.monte_carlo_error, color=colour, marker="o", markersize=6)
        text = f"gap {with_error(row.gap, row.gap_error)}"
        axes.annotate(text, ((elbo.value + evidence.value) / 2, place), (0, 7), textcoords="offset points", ha="center")
    axes.plot([], [], "o", color=COLOURS["elbo"], label="ELBO")
    axes.plot([], [], "o", color=COLOURS["evidence"], label="log p(x), annealed from this guide")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left", ncols=2, bbox_to_anchor=(0, 1.12))
    axes.set_yticks(range(len(rows)), [row.guide for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.7)
    axes.set_xlabel("nats per observation")
    return figure


if __name__ == "__main__":
    main(out="figures")
