"""``bayes-vae compare``: the ladder from the ELBO to the tightest bound on log p(x)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bayes_vae.cli.loading import OpenedRun, open_named
from bayes_vae.cli.output import Progress
from bayes_vae.cli.results import ladder
from bayes_vae.cli.tables import ladder_table, trust_text
from bayes_vae.settings import CompareSettings

__all__ = ["compare_run", "comparison_text", "drawn_text", "run"]


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    opened, settings, as_json = open_named(
        arguments,
        "compare",
        "The ladder ELBO ≤ L_5 ≤ L_50 ≤ … ≤ log p(x) on a run's test set; draws RUN/figures/ladder.png and "
        "pareto_k.png.",
        CompareSettings,
    )
    result = compare_run(opened, settings)
    return opened.show(result, comparison_text(result), drawn_text(result), as_json)


def compare_run(opened: OpenedRun, settings: CompareSettings) -> dict[str, Any]:
    """Climb the ladder on the test set, and draw it; the result in JSON types."""
    from bayes_vae.estimators.ladder import compare
    from bayes_vae.plots import ladder_figure, pareto_k_figure

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
    pareto_k = None
    if bool(comparison.estimate.pareto_k.isfinite().any()):
        pareto_k = opened.draw("pareto_k", pareto_k_figure(comparison.estimate))
    else:
        opened.remove("figures/pareto_k.png")  # of an older ladder
    return {
        "run": str(opened.directory.path),
        "data": opened.about_data,
        **ladder(comparison),
        "pareto_k_figure": pareto_k,
        "figure": opened.draw("ladder", ladder_figure(comparison)),
    }


def comparison_text(result: dict[str, Any]) -> str:
    """The result as a person reads it."""
    rungs = result["rungs"]
    top = {**rungs[0], "num_particles": result["num_particles"]}
    return "\n".join(
        [
            ladder_table(rungs),
            "",
            result["sentence"],
            trust_text(result, top),
        ]
    )


def drawn_text(result: dict[str, Any]) -> str:
    """Where the figures are stored."""
    return " and ".join(filter(None, [f"Drawn in {result['figure']}", result["pareto_k_figure"]]))
