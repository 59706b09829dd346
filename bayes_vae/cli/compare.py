"""``bayes-vae compare``: the ladder from the ELBO to the tightest bound on log p(x); several runs by their log p(x)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bayes_vae.cli.comparing_runs import compare_several
from bayes_vae.cli.destinations import add_out
from bayes_vae.cli.flags import build_settings
from bayes_vae.cli.loading import OpenedRun, open_with, run_flags
from bayes_vae.cli.results import ladder
from bayes_vae.cli.tables import ladder_table, trust_text
from bayes_vae.errors import SettingsError
from bayes_vae.progress import ProgressBar
from bayes_vae.settings import CompareSettings

__all__ = ["compare_run", "comparison_text", "drawn_text", "run"]


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = run_flags(
        "compare",
        "RUN [RUN ...] [--flag value ...]",
        "For one run, the ladder ELBO ≤ L_5 ≤ L_50 ≤ … ≤ log p(x) on its test set; draws RUN/figures/ladder.png and "
        "pareto_k.png. For several runs, which of them explains the same test observations better, with paired "
        "errors; runs that differ only in their seed share one row. Examples: bayes-vae compare runs/d2; bayes-vae "
        "compare runs/d2-s0 runs/d2-s1 runs/d8-s0 runs/d8-s1 --out comparison.",
        CompareSettings,
    )
    parser.add_argument("run", nargs="+", metavar="RUN", help="a run directory; several are compared")
    group = parser.add_argument_group("files of a comparison of several runs")
    add_out(
        group,
        "FOLDER",
        "write comparison.png, comparison.csv (one row per model), observations.csv and comparison.json",
    )
    parser.add_common()
    options = parser.parse_args(arguments)
    settings = build_settings(CompareSettings, options)
    settings.check_for(len(options.run))
    if len(options.run) > 1:
        return compare_several(options, settings)
    if options.out is not None or options.overwrite:
        raise SettingsError("--out and --overwrite are for several runs; the files of one run go into its folder.")
    opened = open_with(options, options.run[0])
    result = compare_run(opened, settings)
    return opened.show(result, comparison_text(result), drawn_text(result), options.json)


def compare_run(opened: OpenedRun, settings: CompareSettings) -> dict[str, Any]:
    """Climb the ladder on the test set, and draw it; the result in JSON types."""
    from bayes_vae.estimators.ladder import compare
    from bayes_vae.plots import ladder_figure, pareto_k_figure

    with ProgressBar("ladder") as progress:
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
