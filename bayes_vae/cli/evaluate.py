"""``bayes-vae evaluate``: the Bayes terms of a run's test set, with errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bayes_vae.cli.flags import build_settings
from bayes_vae.cli.loading import OpenedRun, open_with, require_folders, run_flags
from bayes_vae.cli.output import json_text
from bayes_vae.cli.processes import add_devices, run_in_processes, wants_processes
from bayes_vae.cli.results import bits, evaluation
from bayes_vae.cli.tables import bits_text, evidence_lines, parts_text, terms_table, trust_text
from bayes_vae.process import is_main_process
from bayes_vae.progress import ProgressBar
from bayes_vae.settings import EvaluateSettings

__all__ = ["evaluate", "evaluation_text", "run", "written_text"]


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    description = (
        "The terms of Bayes' rule on a run's test set, with errors; writes RUN/evaluation.json, and evaluation.nc for "
        "ArviZ."
    )
    parser = run_flags("evaluate", "RUN [--flag value ...]", description, EvaluateSettings)
    parser.add_argument("run", metavar="RUN", help="a run directory")
    add_devices(parser, "evaluate")
    parser.add_common()
    options = parser.parse_args(arguments)
    settings = build_settings(EvaluateSettings, options)
    require_folders([options.run])
    if wants_processes(options.devices):
        return run_in_processes(options.devices, ["evaluate", *arguments])
    opened = open_with(options, options.run)
    result = evaluate(opened, settings)
    if not is_main_process():
        return 0
    return opened.show(result, evaluation_text(result), written_text(result), options.json)


def evaluate(opened: OpenedRun, settings: EvaluateSettings) -> dict[str, Any]:
    """Estimate the terms on the test set, to be stored in the run directory; the result in JSON types.

    Of several processes each evaluates its share of the observations, and that of rank 0 has files to store.
    """
    import torch

    from bayes_vae.estimators.evaluation import evaluation_of
    from bayes_vae.posterior.arviz_export import container_of, netcdf_bytes
    from bayes_vae.terms.at_draws import TermsAtDraws
    from bayes_vae.terms.opened import open_pair
    from bayes_vae.terms.world import join_world

    rows, count = opened.test_rows(settings.num_observations, settings.seed), settings.num_draws
    shared = [TermsAtDraws(keep_latents=True, most=count)] if 0 < count <= settings.num_particles else []
    with (
        ProgressBar("evaluation") as progress,
        open_pair(opened.model, opened.guide, rows, seed=settings.seed, progress=progress) as whole,
    ):
        pair = whole.divided(join_world(torch.device(opened.device)))
        found = evaluation_of(pair, settings.num_particles, *shared, num_temperatures=settings.num_temperatures)
        figures: dict[str, Any] = {"terms": found.terms, "evidence": found.bound, "annealed": found.annealed}
        drawn = shared[0].result(pair) if shared else None
        stored = count and is_main_process()
        container = container_of(whole.quiet(), num_draws=count, drawn=drawn, **figures) if stored else None
    result = {"data": opened.about_data, **evaluation(found)}
    result["bits_per_dimension"] = bits(result["terms"]["log_evidence"], opened.model)
    opened.remove("evaluation.nc")  # of an older evaluation: the two files are always of the same one
    file = opened.add("evaluation.json", json_text(result).encode())
    netcdf = opened.add("evaluation.nc", netcdf_bytes(container)) if container else None
    return {"run": str(opened.directory.path), **result, "file": file, "container": netcdf}


def evaluation_text(result: dict[str, Any]) -> str:
    """The result as a person reads it."""
    terms = result["terms"]
    more = [*bits_text(result["bits_per_dimension"]), *evidence_lines(terms["log_evidence"])]
    more += parts_text(result)
    return "\n".join([terms_table(terms), *more, "", trust_text(result, terms["elbo"])])


def written_text(result: dict[str, Any]) -> str:
    """Where the result is stored."""
    also = f" and, for ArviZ, {result['container']}" if result["container"] else ""
    return f"Written to {result['file']}{also}"
