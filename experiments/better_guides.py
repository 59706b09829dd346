"""Does a better guide give a better model, or only a smaller gap?

log p(x) belongs to the model; the guide only decides how much of it the ELBO shows. This script trains a VAE, then
holds its model fixed and fits other guides to it: a normal with independent dimensions, one with full covariance, a
neural spline flow, and a normal with parameters of its own for each test image, no encoder. For each it measures the
ELBO, the gap to log p(x), and log p(x) once more by annealing from that guide.

The answer for the digits: the evidence stays where it was, to 0.002 nats, whatever guide it is annealed from. A richer
family gains nothing here, since it is the encoder that errs on test images: with no encoder half of the gap is gone.
Takes about 100 seconds on one core; ``--data mnist`` about seven minutes.
"""

from typing import Any, Literal, NamedTuple

import torch

import bayes_vae as bv
from bayes_vae.guides import (
    AmortizedNormalGuide,
    FullCovarianceGuide,
    LocalNormalGuide,
    SingleLatentGuide,
    SplineFlowGuide,
)
from bayes_vae.plots.better_guides import better_guides_figure
from bayes_vae.plots.writing import write_figure
from bayes_vae.settings import PairSettings
from bayes_vae.terms.averages import Average, with_error
from bayes_vae.training import build_pair

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
    data_set = bv.load_data(data, policy="static")
    pair = NETWORKS[data]
    training: dict[str, Any] = {"epochs": epochs or EPOCHS[data], "seed": seed, "device": device}
    training |= {"progress": "none", "interruptible": False}
    model, first = build_pair(pair, data_set, seed)
    bv.fit(model, first, data_set, **training)
    model.requires_grad_(False)  # from here on only guides are trained

    where = next(model.parameters()).device
    rows = list(range(min(num_observations, len(data_set.test))))
    x, index = data_set.test.observations(rows, device=where), data_set.test.index[rows].to(where)
    about: dict[str, Any] = {"index": index, "seed": seed, "data_policy": data_set.policy}

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
        bv.fit(model, guide, data_set, **training)
    local = LocalNormalGuide(pair.latent_dim, int(index.max()) + 1).to(where).eval()
    local.fit_to(model, x, index=index)

    found, references = [], []
    for name, guide in {**guides, "normal, local": local}.items():
        elbo = bv.elbo_terms(model, guide, x, num_particles, kl="sampled", **about)
        annealed = bv.annealed_log_evidence(model, guide, x, num_temperatures=num_temperatures, **about)
        references.append(annealed.log_evidence)
        found.append((name, elbo, annealed))
    evidence = torch.stack(references).mean(0)  # the model's alone: every guide's chains estimate the same numbers
    table, gaps = [], {}
    for name, elbo, annealed in found:
        short = evidence - elbo.elbo
        error = float(short.std() / len(short) ** 0.5)
        gaps[name] = short
        averages = elbo.averages()["elbo"], annealed.averages()["log_evidence"]
        table.append(Row(name, *averages, float(short.mean()), error))
        print(line(table[-1]), flush=True)

    widest, narrowest = (pick(gaps.values(), key=lambda values: float(values.mean())) for pick in (max, min))
    less = widest - narrowest  # of the same images, so their errors do not add up
    print(f"\n{answer(table, (float(less.mean()), float(less.std() / len(less) ** 0.5)))}")
    if out is not None:
        figure = better_guides_figure(table, num_particles=num_particles, data_policy=data_set.policy)
        print(f"Figure: {write_figure(figure, out, 'better_guides')}")
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


if __name__ == "__main__":
    main(out="figures")
