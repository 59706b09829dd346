"""Several runs, compared by their log p(x): the part of ``bayes-vae compare`` that takes more than one."""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayes_vae.cli.destinations import put
from bayes_vae.cli.loading import open_with, require_folders
from bayes_vae.cli.output import json_text, note, say, table
from bayes_vae.cli.rate_distortion import annealed_curves, curves_in_json
from bayes_vae.cli.writing_csv import csv_bytes
from bayes_vae.errors import NotDefinedError, UnfinishedRunWarning
from bayes_vae.plain_files import free_file
from bayes_vae.progress import ProgressBar
from bayes_vae.settings import CompareSettings, RateDistortionSettings, ReportSettings
from bayes_vae.vocabulary.readings import Reading, words

if TYPE_CHECKING:
    from bayes_vae.cli.loading import OpenedRun
    from bayes_vae.cli.rate_distortion import Curves, Encoders
    from bayes_vae.data import Split
    from bayes_vae.estimators.model_comparison import ModelComparison

__all__ = ["compare_several", "compared", "comparison_files", "comparison_tables"]

FILES = ("comparison.png", "comparison.csv", "observations.csv", "comparison.json")

Figures = Mapping[str, Any]


def compare_several(options: Namespace, settings: CompareSettings) -> int:
    """Compare the runs that were named, print the result, then write its files."""
    require_folders(options.run)
    folder = None if options.out is None else Path(options.out)
    if folder is not None:
        for name in FILES:
            free_file(folder / name, overwrite=options.overwrite)
    found, result, rows = compared(options, settings)
    drawn = _curves(options, settings) if folder is not None and settings.num_curve_observations else None
    result["rate_distortion"] = None if drawn is None else curves_in_json(*drawn)
    say(json_text(result) if options.json else comparison_tables(result))
    if folder is not None:
        files = comparison_files(found, result, rows.index.tolist(), *(() if drawn is None else drawn[1:]))
        written = [put(folder / name, content) for name, content in files]
        if not options.json:
            say(f"Written to {folder}: {', '.join(Path(path).name for path in written)}")
    elif not options.json:
        say("Nothing was written: --out FOLDER writes the figure, the tables as CSV, and JSON.")
    return 0


def compared(
    options: Namespace, settings: CompareSettings | ReportSettings
) -> tuple[ModelComparison, dict[str, Any], Split]:
    """The comparison of the runs that were named, in JSON types too, and the rows that it is of."""
    from bayes_vae.runs import RunDirectory, compare_runs
    from bayes_vae.runs.directory import unfinished_note

    opened = open_with(options, options.run[0])
    for path in options.run[1:]:
        if RunDirectory(path).unfinished:
            note(f"note: {unfinished_note(RunDirectory(path))}")
    rows = opened.data.test[: settings.num_observations].seeded(settings.seed)
    with ProgressBar("comparison") as progress, warnings.catch_warnings():
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
    return found, {"data": opened.about_data, "seed": settings.seed, **found.as_json()}, rows


def _curves(options: Namespace, settings: CompareSettings) -> tuple[dict[str, OpenedRun], Curves, Encoders] | None:
    """The rate–distortion curve of the first seed of each design; None, and a note, where one has none."""
    from bayes_vae.runs.designs import designs_of

    runs = {name: open_with(options, str(group[0].path)) for name, group in designs_of(options.run).items()}
    how = RateDistortionSettings(num_observations=settings.num_curve_observations, seed=settings.seed)
    try:
        return runs, *annealed_curves(runs, how)
    except NotDefinedError as error:
        note(f"note: no rate–distortion curves in the figure: {error}")
        return None


def comparison_tables(result: Figures) -> str:
    """The models best first, the differences to the best, and what can be said of them."""
    from bayes_vae.estimators.comparison_table import cells_of, conditions_of

    tables = [table(header, rows, right=range(1, len(header) - 1)) for header, rows in cells_of(result)]
    return "\n".join([tables[0], "", tables[1], "", *result["sentences"], f"{conditions_of(result)}."])


def comparison_files(
    found: ModelComparison,
    result: Figures,
    index: Sequence[int],
    curves: Curves | None = None,
    encoders: Encoders | None = None,
) -> Iterable[tuple[str, bytes]]:
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
        save_figure(comparison_figure(found, curves, encoders)),
        csv_bytes(table_columns),
        csv_bytes(columns),
        json_text(result).encode(),
    )
    return zip(FILES, contents, strict=True)
