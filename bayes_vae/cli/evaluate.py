"""``bayes-vae evaluate``: the Bayes terms of a run's test set, with errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bayes_vae.cli.loading import OpenedRun, open_named
from bayes_vae.cli.output import Progress, json_text, say
from bayes_vae.cli.results import evaluation
from bayes_vae.cli.tables import terms_table, trust_text
from bayes_vae.settings import EvaluateSettings

if TYPE_CHECKING:
    from bayes_vae.estimators.evaluation import Evaluation

__all__ = ["evaluate", "evaluation_text", "run"]


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    opened, settings, as_json = open_named(
        arguments,
        "evaluate",
        "The terms of Bayes' rule on a run's test set, with errors; writes RUN/evaluation.json, and evaluation.nc for "
        "ArviZ.",
        EvaluateSettings,
    )
    result = evaluate(opened, settings)
    say(json_text(result) if as_json else evaluation_text(result))
    return 0


def evaluate(opened: OpenedRun, settings: EvaluateSettings) -> dict[str, Any]:
    """Estimate the terms on the test set, and write them to the run directory; the result in JSON types."""
    from bayes_vae.estimators.evaluation import evaluate as evaluate_terms

    x, index = opened.test_set(settings.num_observations, settings.seed)
    shared: dict[str, Any] = {"index": index, "seed": settings.seed, "data_policy": opened.data.policy}
    with Progress("evaluation") as progress:
        evaluated = evaluate_terms(
            opened.model,
            opened.guide,
            x,
            settings.num_particles,
            num_temperatures=settings.num_temperatures,
            progress=progress,
            **shared,
        )
    result = {"data": opened.about_data, **evaluation(evaluated)}
    container = _container(opened, x, evaluated, settings.num_draws, shared) if settings.num_draws else None
    opened.remove("evaluation.nc")  # of an older evaluation: the two files are always of the same one
    file = opened.add("evaluation.json", json_text(result).encode())
    netcdf = opened.add("evaluation.nc", container) if container else None
    return {"run": str(opened.directory.path), **result, "file": file, "container": netcdf}


def _container(opened: OpenedRun, x: Any, evaluated: Evaluation, num_draws: int, shared: dict[str, Any]) -> bytes:
    """Draws, terms and data as a netCDF file for ArviZ."""
    from bayes_vae.posterior.arviz_export import netcdf_bytes, to_arviz

    labels = opened.data.test.labels
    container = to_arviz(
        opened.model,
        opened.guide,
        x,
        terms=evaluated.terms,
        evidence=evaluated.bound,
        annealed=evaluated.annealed,
        num_draws=num_draws,
        labels=None if labels is None else labels[: len(shared["index"])],
        **shared,
    )
    return netcdf_bytes(container)


def evaluation_text(result: dict[str, Any]) -> str:
    """The result as a person reads it."""
    terms = result["terms"]
    also = f" and, for ArviZ, {result['container']}" if result["container"] else ""
    return "\n".join(
        [
            terms_table(terms),
            "",
            trust_text(result, terms["elbo"]),
            f"Written to {result['file']}{also}",
        ]
    )
