"""``bayes-vae score``: log p(x), what it is made of and its rank, for each row of a file."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bayes_vae.cli.destinations import add_out, file_for, put
from bayes_vae.cli.flags import build_settings
from bayes_vae.cli.loading import OpenedRun, chosen_rows, open_with, own_test_rows, run_flags
from bayes_vae.cli.output import json_text, note, say, table
from bayes_vae.cli.results import figure
from bayes_vae.cli.tables import conditions
from bayes_vae.cli.writing_csv import csv_bytes
from bayes_vae.errors import DataError, RunError, SettingsError, SupportError
from bayes_vae.progress import ProgressBar
from bayes_vae.settings import ScoreSettings
from bayes_vae.vocabulary.number_text import count_of, error_text, value_text

if TYPE_CHECKING:
    from bayes_vae.data import Split
    from bayes_vae.estimators import Scores

__all__ = ["run", "score_text"]

SHOWN = 5
"""Rows of the lowest log p(x) that are printed."""

NO_OUTLIER_TEST = (
    "A high log p(x) does not mean that a row belongs to the data: simple outliers often have a higher one than any "
    "row of the data. Look at percentiles near 0 and near 100, and at a low expected log likelihood, a high KL, a "
    "large gap or a high k̂."
)


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = run_flags(
        "score",
        "RUN [--data FILE] --out scores.csv [--flag value ...]",
        "For each row: log p(x), ELBO, expected log likelihood, KL to the prior, inference gap, k̂, and percentiles "
        "among the run's test set. Examples: bayes-vae score runs/digits --out scores.csv; bayes-vae score runs/mine "
        "--data new.csv --out scores.csv.",
        ScoreSettings,
    )
    parser.add_argument("run", metavar="RUN", help="a run directory")
    add_out(
        parser.add_argument_group("what is written"), "FILE", "the .csv to write, with one line per row", required=True
    )
    parser.add_common()
    options = parser.parse_args(arguments)
    settings, path = build_settings(ScoreSettings, options), file_for(options, (".csv",))
    opened = open_with(options, options.run)
    rows = chosen_rows(opened, settings.rows, options.data is not None, settings.seed)
    found = _scores(opened, rows, settings, options)
    result = _result(opened, rows, found, settings, options)
    say(json_text(result) if options.json else score_text(result))
    columns = {"index": rows.index.tolist()}
    columns |= {} if rows.labels is None else {"label": rows.labels.tolist()}
    columns |= {name: values.tolist() for name, (_, values) in found.columns().items()}
    put(path, csv_bytes(columns))
    if not options.json:
        say(f"Written to {path}: {count_of(len(rows), 'row')}, {len(columns)} columns")
    return 0


def _scores(opened: OpenedRun, rows: Split, settings: ScoreSettings, options: Namespace) -> Scores:
    from bayes_vae.estimators import score

    how: dict[str, Any] = {"num_temperatures": settings.num_temperatures, "seed": settings.seed}
    reference = None
    known = _reference(opened, settings, options) if settings.num_reference else None
    if known is not None:
        with ProgressBar("scores of the test set") as progress:
            reference = score(opened.model, opened.guide, known, settings.num_particles, progress=progress, **how)
    with ProgressBar("scores") as progress:
        return score(
            opened.model, opened.guide, rows, settings.num_particles, reference=reference, progress=progress, **how
        )


def _reference(opened: OpenedRun, settings: ScoreSettings, options: Namespace) -> Split | None:
    """Test rows of the run's own data; None, and a note, where they are not there."""
    from bayes_vae.runs.run_data import data_settings
    from bayes_vae.terms.rows import prepare_for

    try:
        own = data_settings(opened.directory, named=False)
        if options.data_root is not None:
            own = type(own)(**{**vars(own), "data_root": options.data_root})
        rows = own_test_rows(opened, own)[: settings.num_reference].seeded(settings.seed)
    except (DataError, RunError, SettingsError, SupportError) as error:
        note(f"note: no percentiles, because the run's own test set is not there: {error}")
        return None
    prepare_for(opened.model, opened.guide, rows)
    return rows


def _result(
    opened: OpenedRun, rows: Split, found: Scores, settings: ScoreSettings, options: Namespace
) -> dict[str, Any]:
    """Means over the rows and the rows of the lowest log p(x), in JSON types."""
    lowest = found.log_evidence.argsort()[:SHOWN].tolist()
    columns = {name: values for name, (_, values) in found.columns().items()}
    averages, origin = found.averages(), found.provenance
    return {
        "run": str(opened.directory.path),
        "data": {**opened.about_data, "split": settings.rows or ("all" if options.data is not None else "test")},
        "num_observations": len(rows),
        "num_reference": found.num_reference,
        "estimator": found.estimator,
        "num_not_converged": int((~found.converged).sum()),
        "terms": {name: figure(average, found.estimator, origin) for name, average in averages.items()},
        "lowest": [
            {"index": int(rows.index[place]), **{name: values[place].item() for name, values in columns.items()}}
            for place in lowest
        ],
    }


def score_text(result: dict[str, Any]) -> str:
    """The result as a person reads it."""
    terms = result["terms"].values()
    errors = ("monte_carlo_error", "data_error")
    means = [
        [each["symbol"], value_text(each["value"]), *(error_text(each[name]) for name in errors)] for each in terms
    ]
    names = ["log_evidence", "expected_log_likelihood", "kl_to_prior", "inference_gap", "pareto_k"]
    heads = ["index", "log p(x)", "E_q log p(x|z)", "KL", "gap", "k̂"]
    ranked = result["num_reference"] > 0
    rows = []
    for each in result["lowest"]:
        rank = [f"{each['log_evidence_percentile']:.1f}"] if ranked else []
        rows.append([str(each["index"]), *(value_text(each[name]) for name in names), *rank])
    lines = [
        table(["mean over the rows", "value", "± Monte Carlo", "± data"], means, right=(1, 2, 3)),
        "",
        f"Rows with the lowest log p(x), by {result['estimator']}:",
        table([*heads, *(["percentile"] if ranked else [])], rows, right=range(7 if ranked else 6)),
        "",
    ]
    if result["num_not_converged"]:
        lines.append(
            f"log p(x) is a lower bound, not converged, for {result['num_not_converged']} of "
            f"{count_of(result['num_observations'], 'row')}: see the column converged."
        )
    if ranked:
        lines.append(f"Percentiles are among {count_of(result['num_reference'], 'test observation')} of the run.")
    first = next(iter(result["terms"].values()))
    return "\n".join([*lines, NO_OUTLIER_TEST, conditions(first, result["data"]["name"], "observations")])
