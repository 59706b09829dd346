"""Several runs, compared by their log p(x): the part of ``bayes-vae compare`` that takes more than one."""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayes_vae.cli.destinations import put, require_free
from bayes_vae.cli.loading import open_with, require_folders
from bayes_vae.cli.output import Progress, json_text, note, say, table
from bayes_vae.cli.writing_csv import csv_bytes
from bayes_vae.errors import UnfinishedRunWarning
from bayes_vae.settings import CompareSettings
from bayes_vae.vocabulary.conditions import PER_OBSERVATION, conditions
from bayes_vae.vocabulary.number_text import capitalized, error_text, share, thousands, value_text
from bayes_vae.vocabulary.readings import Reading, words

if TYPE_CHECKING:
    from bayes_vae.estimators.model_comparison import ModelComparison

__all__ = ["compare_several", "comparison_files", "comparison_json", "comparison_tables"]

FILES = ("comparison.png", "comparison.csv", "observations.csv", "comparison.json")

Figures = Mapping[str, Any]


def compare_several(options: Namespace, settings: CompareSettings) -> int:
    """Compare the runs that were named, print the result, then write its files."""
    from bayes_vae.runs import RunDirectory, compare_runs
    from bayes_vae.runs.directory import unfinished_note

    require_folders(options.run)
    folder = None if options.out is None else Path(options.out)
    if folder is not None:
        require_free([folder / name for name in FILES], overwrite=options.overwrite)
    opened = open_with(options, options.run[0])
    for path in options.run[1:]:
        if RunDirectory(path).unfinished:
            note(f"note: {unfinished_note(RunDirectory(path))}")
    rows = opened.data.test[: settings.num_observations].seeded(settings.seed)
    with Progress("comparison") as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore", UnfinishedRunWarning)  # was noted above
        found = compare_runs(
            options.run,
            rows,
            num_particles=settings.num_particles,
            num_temperatures=settings.num_temperatures,
            seed=settings.seed,
            progress=progress,
            device=opened.device,
        )
    result = comparison_json(found, opened.about_data, settings.seed)
    say(json_text(result) if options.json else comparison_tables(result))
    if folder is not None:
        written = [
            put(folder / name, content) for name, content in comparison_files(found, result, rows.index.tolist())
        ]
        if not options.json:
            say(f"Written to {folder}: {', '.join(Path(path).name for path in written)}")
    elif not options.json:
        say("Nothing was written: --out FOLDER writes the figure, the tables as CSV, and JSON.")
    return 0


def comparison_json(found: ModelComparison, data: Mapping[str, str], seed: int) -> dict[str, Any]:
    """The comparison with what it was measured under, in JSON types."""
    return {"data": dict(data), "seed": seed, **found.as_json()}


def comparison_tables(result: Figures) -> str:
    """The models best first, the differences to the best, and what can be said of them."""
    models = result["models"]
    best, *others = models
    first = f"difference to {best['name']}"
    parts = [
        _models_table(models),
        "",
        _differences_table(first, others),
        "",
        *result["sentences"],
        _conditions(result),
    ]
    return "\n".join(parts)


def _models_table(models: Sequence[Figures]) -> str:
    several = any(each["num_seeds"] > 1 for each in models)
    header = ["model", "log p(x)", "± Monte Carlo", "± data"]
    header += ["spread between seeds"] if several else []
    header += ["ELBO", "gap", "parameters", "seconds", "reads as"]
    rows = []
    for each in models:
        seeds = [_spread(each)] if several else []
        count = each["num_parameters"]
        figures = [_value(each["log_evidence"]), _error(each["monte_carlo_error"]), _error(each["data_error"]), *seeds]
        figures += [_value(each["elbo"]), _value(each["inference_gap"]), "–" if count is None else thousands(count)]
        seconds = "–" if each["seconds"] is None else f"{each['seconds']:.1f}"
        rows.append([each["name"], *figures, seconds, words(Reading(**each["reading"]))])
    return table(header, rows, right=range(1, len(header) - 1))


def _spread(each: Figures) -> str:
    return f"{_error(each['spread_between_seeds'])} ({each['num_seeds']})" if each["num_seeds"] > 1 else "– (1)"


def _differences_table(first: str, others: Sequence[Figures]) -> str:
    several = any(each["difference_seed_error"] is not None for each in others)
    header = ["model", first, "± Monte Carlo", "± data", *(["± seeds"] if several else []), "better for", "told apart"]
    told = {"better": "yes", "cannot tell": "no", "may reverse": "no: may be higher"}
    rows = []
    for each in others:
        seeds = [_error(each["difference_seed_error"])] if several else []
        errors = [_error(each[f"difference_{name}_error"]) for name in ("monte_carlo", "data")]
        row = [each["name"], _value(-each["difference"]), *errors, *seeds, share(each["better_for"])]
        rows.append([*row, told[each["verdict"]]])
    return table(header, rows, right=range(1, len(header) - 1))


def _conditions(result: Figures) -> str:
    rows = f"{result['num_observations']:,} test observations of {result['data']['name']}"
    told = conditions(
        None, rows, result["data_policy"], unit=capitalized(PER_OBSERVATION), kl_weight=1, seed=result["seed"]
    )
    return f"{told}."


def _value(value: float | None) -> str:
    return "–" if value is None else value_text(value)


def _error(error: float | None) -> str:
    return "–" if error is None else error_text(error)


def comparison_files(found: ModelComparison, result: Figures, index: Sequence[int]) -> Iterable[tuple[str, bytes]]:
    """Name and content of each file of a comparison."""
    from bayes_vae.plots import comparison_figure, save_figure

    columns = {"index": index} | {name: values.tolist() for name, (_, values) in found.columns().items()}
    plain = [
        {name: value for name, value in row.items() if not isinstance(value, dict | list)} for row in result["models"]
    ]
    rows = [
        row | {"reading": words(Reading(**each["reading"]))} for row, each in zip(plain, result["models"], strict=True)
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    table_columns = {name: [row.get(name) for row in rows] for name in names}
    contents = (
        save_figure(comparison_figure(found)),
        csv_bytes(table_columns),
        csv_bytes(columns),
        json_text(result).encode(),
    )
    return zip(FILES, contents, strict=True)
