"""``bayes-vae demo``: train on the bundled digits, and show every term."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bayes_vae.cli.compare import compare_run
from bayes_vae.cli.evaluate import evaluate, evaluation_text
from bayes_vae.cli.explore import explore
from bayes_vae.cli.flags import Flags, build_settings
from bayes_vae.cli.output import say, table
from bayes_vae.cli.repeating import on_threads
from bayes_vae.cli.tables import ladder_table
from bayes_vae.cli.train import command_line, default_folder, train
from bayes_vae.settings import (
    CompareSettings,
    DataSettings,
    EvaluateSettings,
    ExploreSettings,
    PairSettings,
    TrainingSettings,
)

__all__ = ["run"]

EPOCHS, PARTICLES, RUNGS = 40, 500, (1, 5, 50, 500)

PLANE = 2
"""Latent numbers of the run that the page shows."""

LEGEND = (
    ("z", "hypothesis", "a few numbers that say which digit, how slanted, how bold"),
    ("p(z)", "prior", "what is believed of z before seeing x: a standard normal"),
    ("p(x|z)", "likelihood", "how probable the pixels x are under z: the decoder's Bernoulli"),
    ("p(x)", "evidence", "how probable x is under the whole model: the integral over z, which needs estimating"),
    ("p(z|x)", "exact posterior", "what is believed of z after seeing x: what Bayes' rule asks for, out of reach here"),
    ("q(z|x)", "guide", "the variational posterior, which stands in for p(z|x): the encoder's normal"),
)


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = Flags(
        "demo",
        "[--flag value ...]",
        "Train a VAE on scikit-learn's digits, read every term of Bayes' rule off it, and draw it all.",
    )
    parser.add_settings(PairSettings, "networks of the model and the guide", only=["latent_dim"])
    parser.add_settings(TrainingSettings, "training", only=["epochs", "seed", "device"], epochs=EPOCHS)
    group = parser.add_argument_group("result")
    group.add_argument("--out", metavar="RUN", help="the run directory to make (default: runs/demo-TIME)")
    parser.add_common()
    options = parser.parse_args(arguments)
    pair, training = build_settings(PairSettings, options), build_settings(TrainingSettings, options)
    out = Path(options.out) if options.out else default_folder("demo")
    if not options.json:
        say(_introduction())
    with on_threads(1):
        trained, opened = train(DataSettings(), pair, training, out, command_line("demo", arguments))
        shared: dict[str, Any] = {"seed": training.seed, "device": opened.device}
        results = {
            "training": trained,
            "evaluation": evaluate(opened, EvaluateSettings(num_particles=PARTICLES, **shared)),
            "comparison": compare_run(opened, CompareSettings(rungs=RUNGS, **shared)),
        }
        if pair.latent_dim == PLANE:
            on_plane = opened
        else:
            flat, beside = replace(pair, latent_dim=PLANE), out.with_name(f"{out.name}-plane")
            if not options.json:
                say(
                    f"Now a run with {PLANE} latent numbers for the interactive page, which can show the whole "
                    "plane of z.\n"
                )
            _, on_plane = train(DataSettings(), flat, training, beside, command_line("demo", arguments))
        results["page"] = explore([on_plane], ExploreSettings(seed=training.seed))
    tried = (
        f"\nThe run is in {trained['run']}: try bayes-vae report {trained['run']}\n"
        f"The interactive page is {results['page']['file']}: open it in a browser."
    )
    code = opened.show(results, _text(trained, results["evaluation"], results["comparison"]), tried, options.json)
    on_plane.store()
    return code


def _introduction() -> str:
    rule = "Bayes' rule, for one picture x:   p(z|x) = p(x|z) p(z) / p(x)"
    return f"\n{rule}\n\n{table(['symbol', 'name', 'here'], LEGEND)}\n"


def _text(training: dict[str, Any], evaluation: dict[str, Any], comparison: dict[str, Any]) -> str:
    figures = {**training["figures"], "ladder": comparison["figure"]}
    heading = (
        f"The terms, after {training['epochs']} epochs on {training['data']['sizes']['train']:,} digits "
        f"({training['seconds']:.0f} s):   ELBO = E_q log p(x|z) − KL(q(z|x) ‖ p(z)) ≤ log p(x)"
    )
    return "\n".join(
        [
            f"\n{heading}\n",
            evaluation_text(evaluation),
            "\nThe ladder from the ELBO up to log p(x). Its bounds share their draws and sample the KL too, so its\n"
            "ELBO differs from the one above within the error; the annealed estimate has draws of its own:\n",
            ladder_table(comparison["rungs"]),
            f"\n{comparison['sentence']}",
            "\nThe pictures:\n",
            table(["figure", "path"], list(figures.items())),
        ]
    )
