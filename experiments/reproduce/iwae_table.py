"""How good is a VAE on MNIST, and what do five importance weights in training add?

Importance weighting in training gives a better model: log p(x) rises by one to two nats with five weights, and by as
much again with a second layer. The figure that is compared is L_5000, a lower bound, as in the literature; annealing on
some of the images says how far below log p(x) it lies.

Rows of the published table: one layer 784-200-200-50, two layers with latents of 100 and 50 and hidden layers of
200-200 and 100-100, tanh, pixels binarized anew at every use, Adam (ε 1e-4) at 1e-3 · 10^(−i/7) for 3^i epochs. The
published schedule has i = 0 to 7, 3,280 epochs, and batches of 20; --epochs 364 ends after i = 5, --batch-size 100
takes a third of the time. A row that was interrupted goes on when it is asked for again, and one that is trained is
only evaluated. The weights are those of the last epoch. Takes about 40 minutes a row on one core with the defaults, 7
hours with --epochs 3280, and 10 minutes a row for the evaluation.

Reference: Burda, Grosse, Salakhutdinov (2016), "Importance weighted autoencoders", table 1; the row with the doubly
reparameterized gradient: Tucker, Lawson, Gu, Maddison (2019), by an independent implementation.
"""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

import bayes_vae as bv
from bayes_vae.data import Data, Split
from bayes_vae.errors import SettingsError
from bayes_vae.experiments.reproduce.results import Figure, print_figures, write_results
from bayes_vae.experiments.study import mean_error, new_pair, print_answer, resolve_device
from bayes_vae.runs import RunDirectory
from bayes_vae.runs.pairs import fill_pair
from bayes_vae.settings import DataSettings, PairSettings, as_json
from bayes_vae.terms.averages import Average

ONE_LAYER = PairSettings(latent_dim=50, hidden_dims=(200, 200), activation="tanh")
TWO_LAYERS = PairSettings(
    latent_dim=100, hidden_dims=(200, 200), activation="tanh", structure="two-layer", top_latent_dim=50,
    top_hidden_dims=(100, 100),
)  # fmt: skip

PUBLISHED_EPOCHS, PUBLISHED_BATCH = 3280, 20

ACTIVE = 0.01
"""Variance of the posterior means above which a latent dimension counts as active, as published."""


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: in words.
        pair: its networks.
        published: minus log p(x) by L_5000, nats.
        training: how it differs from training on the ELBO.
    """

    name: str
    pair: PairSettings
    published: float | None
    training: dict[str, Any] = field(default_factory=dict)


FIVE = {"objective": "importance-weighted", "num_particles": 5}

ROWS = {
    "vae": Row("VAE, one layer", ONE_LAYER, 86.76),
    "iwae_5": Row("importance weighted, k = 5, one layer", ONE_LAYER, 85.54, FIVE),
    "dreg_5": Row(
        "doubly reparameterized, k = 5, one layer", ONE_LAYER, 84.90, FIVE | {"objective": "doubly-reparameterized"}
    ),
    "vae_two": Row("VAE, two layers", TWO_LAYERS, 85.33),
    "iwae_5_two": Row("importance weighted, k = 5, two layers", TWO_LAYERS, 83.89, FIVE),
}


def main(
    rows: tuple[str, ...] = ("vae", "iwae_5"),
    epochs: int = 364,
    batch_size: int = 100,
    num_observations: int = 10_000,
    num_particles: int = 5000,
    num_annealed: int = 100,
    data: str = "mnist",
    runs: str = "runs/reproduce",
    seed: int = 0,
    device: str = "auto",
    results: str | None = None,
) -> dict[str, float]:
    """Train what is not trained yet, evaluate on test images, and print the figures beside the published ones.

    Args:
        rows: of the table: vae, iwae_5, dreg_5, vae_two, iwae_5_two.
        epochs: 3280 is the published schedule, 364 its first six parts of eight.
        batch_size: 20 is the published one.
        num_observations: test images, the first ones; 10,000 are all.
        num_particles: K of L_K.
        num_annealed: of these images, for how many log p(x) is annealed too.
        data: mnist, or digits for a look at how it works.
        runs: a folder with a run for each row, where training goes on.
        seed: of the weights, the batches and the draws.
        device: cpu, cuda or auto.
        results: a JSON file for the results; none is written when not given.
    """
    print_answer(__doc__)
    unknown = [row for row in rows if row not in ROWS]
    if unknown:
        raise SettingsError(f"no row is called {', '.join(unknown)}: the rows are {', '.join(ROWS)}.")
    images, where = bv.load_data(data, policy="stochastic"), resolve_device(device)
    differs = [f"{epochs} of 3,280 epochs"] if epochs != PUBLISHED_EPOCHS else []
    differs += [f"batches of {batch_size}, not 20"] if batch_size != PUBLISHED_BATCH else []
    differs += [f"{num_observations:,} test images"] if num_observations < len(images.test) else []
    found: list[Figure] = []
    for name in rows:
        training = {"epochs": epochs, "batch_size": batch_size, "seed": seed, "device": str(where)}
        model, guide = trained(ROWS[name], images, Path(runs) / name, training, where)
        test = images.test[:num_observations]
        row = ROWS[name] if data == "mnist" else replace(ROWS[name], published=None)
        with torch.no_grad():
            here = evaluated(row, model, guide, test, num_particles, num_annealed, ", ".join(differs))
        print_figures(here)
        found += here
    settings = {"rows": list(rows), "epochs": epochs, "batch_size": batch_size, "data": data, "seed": seed}
    settings |= {"num_observations": num_observations, "num_particles": num_particles, "num_annealed": num_annealed}
    write_results(results, "iwae_table", settings, found)
    return {figure.name: figure.value for figure in found}


def trained(row: Row, data: Data, path: Path, training: dict[str, Any], device: torch.device) -> tuple[Any, Any]:
    """The pair of a row with the weights of its last epoch; trained now, or as far as it was not."""
    model, guide = new_pair(row.pair, data, training["seed"], device)
    if not path.exists():
        sections = {"data": as_json(DataSettings(data=data.name, policy="stochastic")), "pair": as_json(row.pair)}
        settings = {"schedule": "burda", "learning_rate": 1e-3, **row.training, **training}
        bv.fit(model, guide, data, out=path, sections=sections, interruptible=False, **settings)
    elif RunDirectory(path).unfinished:
        bv.fit(model, guide, data, resume=path, interruptible=False)
    model, guide = fill_pair(model, guide, RunDirectory(path).weights("last"))
    return model.to(device), guide.to(device)


def evaluated(
    row: Row, model: Any, guide: Any, test: Split, num_particles: int, num_annealed: int, differs: str
) -> list[Figure]:
    """L_K of all images, the ELBO, how far L_K falls short of annealing on some of them, and the active units."""
    bound = bv.estimate_log_evidence(model, guide, test, num_particles, progress=True)
    elbo = bv.elbo_terms(model, guide, test, 10).averages()["elbo"]
    some = test[:num_annealed]
    annealed = bv.annealed_log_evidence(model, guide, some, progress=True)
    short, error = mean_error(annealed.log_evidence - bound.log_evidence[:num_annealed])
    unit = f"{row.name}: "
    figures = [
        negative(f"{unit}−L_{num_particles}", bound.averages()["log_evidence"], row.published, differs),
        negative(f"{unit}−ELBO", elbo),
        Figure(f"{unit}annealed less L_{num_particles}, {num_annealed} images", short, error=error),
    ]
    if row.pair.structure == "vae":
        means = torch.cat([guide.variational_posterior(x).mean for x in test.observations().split(1000)])
        figures.append(Figure(f"{unit}active units of {row.pair.latent_dim}", float((means.var(0) > ACTIVE).sum())))
    return figures


def negative(name: str, average: Average, published: float | None = None, differs: str = "") -> Figure:
    """Minus an average, with the error of both draws and data as far as it is known."""
    errors = [error for error in (average.monte_carlo_error, average.data_error) if not math.isnan(error)]
    return Figure(name, -average.value, published, math.hypot(*errors), differs)


if __name__ == "__main__":
    main()
