"""``bayes-vae compare``: the ladder from the ELBO to the tightest bound on log p(x)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bayes_vae.cli.evaluate import open_named, run_flags
from bayes_vae.cli.flags import Flags, build_settings
from bayes_vae.cli.output import json_text, say
from bayes_vae.cli.progress import Progress
from bayes_vae.cli.results import ladder
from bayes_vae.cli.tables import annealing_text, conditions, ladder_table, reliability_text
from bayes_vae.settings import CompareSettings

if TYPE_CHECKING:
    from bayes_vae.cli.loading import OpenedRun

__all__ = ["compare_run", "comparison_text", "run"]


def flags() -> Flags:
    """The flags of the command."""
    return run_flags(
        "compare",
        "The ladder ELBO ≤ L_5 ≤ L_50 ≤ … ≤ log p(x) on a run's test set; draws RUN/figures/ladder.png and "
        "pareto_k.png.",
        CompareSettings,
    )


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = flags().parse_args(arguments)
    settings = build_settings(CompareSettings, options)
    result = compare_run(open_named(options), settings)
    say(json_text(result) if options.json else comparison_text(result))
    return 0


def compare_run(opened: OpenedRun, settings: CompareSettings) -> dict[str, Any]:
    """Climb the ladder on the test set, and draw it.

    Args:
        opened: the run.
        settings: rungs, N and seed.

    Returns:
        the result in JSON types.
    """
    from bayes_vae.estimators.ladder import compare
    from bayes_vae.plots import ladder_figure, pareto_k_figure, save_figure

    with Progress("ladder") as progress:
        comparison = compare(
            opened.model,
            opened.guide,
            opened.test_rows(settings.num_observations, settings.seed),
            settings.rungs,
            num_temperatures=settings.num_temperatures,
            tolerance=settings.tolerance,
            seed=settings.seed,
            progress=progress,
        )
    drawn = {"figure": ("ladder", ladder_figure(comparison))}
    if bool(comparison.estimate.pareto_k.isfinite().any()):
        drawn["pareto_k_figure"] = ("pareto_k", pareto_k_figure(comparison.estimate))
    else:
        opened.directory.remove_file(f"figures/pareto_k{opened.suffix}.png")  # of an older ladder
    paths = {
        key: str(opened.directory.add_file(f"figures/{name}{opened.suffix}.png", save_figure(figure)))
        for key, (name, figure) in drawn.items()
    }
    data = {"name": opened.data.name, "split": "test", "policy": opened.data.policy}
    return {"run": str(opened.directory.path), "data": data, **ladder(comparison), "pareto_k_figure": None, **paths}


def comparison_text(result: dict[str, Any]) -> str:
    """The result as a person reads it."""
    rungs = result["rungs"]
    top = {**rungs[0], "num_particles": result["num_particles"]}
    return "\n".join(
        [
            ladder_table(rungs),
            "",
            result["sentence"],
            annealing_text(result["annealing"]),
            reliability_text(result["reliability"]),
            conditions(top, result["data"]["name"]),
            " and ".join([f"Drawn in {result['figure']}", *filter(None, [result["pareto_k_figure"]])]),
        ]
    )
