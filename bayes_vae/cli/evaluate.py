"""``bayes-vae evaluate``: the Bayes terms of a run's test set, with errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayes_vae.cli.flags import Flags, build_settings
from bayes_vae.cli.output import json_text, say
from bayes_vae.cli.progress import Progress
from bayes_vae.cli.results import evaluation
from bayes_vae.cli.tables import annealing_text, conditions, reliability_text, terms_table
from bayes_vae.errors import RunError
from bayes_vae.settings import EvaluateSettings

if TYPE_CHECKING:
    from bayes_vae.cli.loading import OpenedRun

__all__ = ["evaluate", "evaluation_text", "open_named", "run", "run_flags"]


def flags() -> Flags:
    """The flags of the command."""
    return run_flags(
        "evaluate",
        "The terms of Bayes' rule on a run's test set, with errors; writes RUN/evaluation.json, and evaluation.nc for "
        "ArviZ.",
        EvaluateSettings,
    )


def run_flags(command: str, description: str, settings: type) -> Flags:
    """The flags of a command on a run: its settings, the run directory, and other data than the run's own."""
    parser = Flags(command, "RUN [--flag value ...]", description)
    parser.add_settings(settings, "estimates")
    parser.add_argument("run", metavar="RUN", help="a run directory")
    group = parser.add_argument_group("data, where they are not the run's own")
    group.add_argument("--data", metavar="NAME", help="another data set")
    group.add_argument("--data-root", metavar="NAME", help="folder of the data that are downloaded")
    group.add_argument("--policy", metavar="NAME", help="another policy: stochastic, static, threshold or none")
    parser.add_common()
    return parser


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = flags().parse_args(arguments)
    settings = build_settings(EvaluateSettings, options)
    result = evaluate(open_named(options), settings)
    say(json_text(result) if options.json else evaluation_text(result))
    return 0


def open_named(options: Any) -> OpenedRun:
    """Open the run that the flags of :func:`run_flags` name.

    Raises:
        RunError: no such folder; said at once, before anything slow is imported.
    """
    if not Path(options.run).is_dir():
        what = "it is a file" if Path(options.run).exists() else "there is no such folder"
        raise RunError(
            f"{options.run} is not a run directory: {what}. Expected one that `bayes-vae train --out` wrote."
        )
    from bayes_vae.cli.loading import open_run
    from bayes_vae.training.machine import resolve_device

    device = str(resolve_device(options.device))
    return open_run(options.run, device, options.data, options.data_root, options.policy)


def evaluate(opened: OpenedRun, settings: EvaluateSettings) -> dict[str, Any]:
    """Estimate the terms on the test set, and write them to the run directory.

    Args:
        opened: the run.
        settings: K, N and seed.

    Returns:
        the result in JSON types.
    """
    from bayes_vae.estimators.evaluation import evaluation_of
    from bayes_vae.posterior.arviz_export import container_of, netcdf_bytes
    from bayes_vae.terms.at_draws import TermsAtDraws
    from bayes_vae.terms.opened import open_pair

    rows = opened.test_rows(settings.num_observations, settings.seed)
    particles, kept = settings.num_particles, min(settings.num_draws, settings.num_particles)
    shared = [TermsAtDraws(keep_latents=True, most=kept)] if kept else []
    with (
        Progress("evaluation") as progress,
        open_pair(opened.model, opened.guide, rows, seed=settings.seed, progress=progress) as pair,
    ):
        evaluated = evaluation_of(pair, particles, *shared, num_temperatures=settings.num_temperatures)
        figures: dict[str, Any] = {
            "terms": evaluated.terms,
            "evidence": evaluated.bound,
            "annealed": evaluated.annealed,
        }
        drawn = shared[0].result(pair) if kept == settings.num_draws > 0 else None
        container = None
        if settings.num_draws:
            quiet = pair.quiet()
            container = netcdf_bytes(container_of(quiet, num_draws=settings.num_draws, drawn=drawn, **figures))
    data = {"name": opened.data.name, "split": "test", "policy": opened.data.policy}
    result = {"data": data, **evaluation(evaluated)}
    directory, name = opened.directory, f"evaluation{opened.suffix}"
    directory.remove_file(f"{name}.nc")  # of an older evaluation: the two files are always of the same one
    path = directory.add_file(f"{name}.json", json_text(result).encode())
    written = {"run": str(directory.path), **result, "file": str(path), "container": None}
    if container:
        written["container"] = str(directory.add_file(f"{name}.nc", container))
    return written


def evaluation_text(result: dict[str, Any]) -> str:
    """The result as a person reads it."""
    terms = result["terms"]
    also = f" and, for ArviZ, {result['container']}" if result["container"] else ""
    return "\n".join(
        [
            terms_table(terms),
            "",
            annealing_text(result["annealing"]),
            reliability_text(result["reliability"]),
            conditions(terms["elbo"], result["data"]["name"]),
            f"Written to {result['file']}{also}",
        ]
    )
