"""A report into its run directory."""

from __future__ import annotations

from pathlib import Path

from bayes_vae.data import Data
from bayes_vae.errors import RunError, SettingsError
from bayes_vae.report.contents import Stages, report_contents
from bayes_vae.report.page import report_page
from bayes_vae.runs import RunDirectory
from bayes_vae.runs.run_data import load_run_data, split_as_stored
from bayes_vae.settings import EXPLORE_PAGE, DataSettings, ReportSettings
from bayes_vae.terms.program import Program

__all__ = ["interactive_page", "write_report"]


def write_report(
    run: str | Path | RunDirectory,
    settings: ReportSettings | None = None,
    *,
    data: Data | None = None,
    pair: tuple[Program, Program] | None = None,
    stages: Stages | None = None,
) -> Path:
    """Compute the report of a run, and write it to ``report.html`` of its run directory.

    On other data, or under another policy, than the run's, the file is named after them, beside the run's own.

    For a pair that is no run, :func:`bayes_vae.report.report_contents` computes and
    :func:`bayes_vae.report.report_page` gives the HTML.

    Args:
        run: a run directory.
        settings: K, N and seed; the defaults when None.
        data: the data set; loaded as the run stored it when None.
        pair: model and guide, for programs that are not of this library; built from the run when None.
        stages: told what is computed next, for progress.

    Returns:
        where the file is. It is written at the end, whole; an older one stays until then.

    Raises:
        RunError: not a run directory, or its data or programs must be given.
    """
    directory = run if isinstance(run, RunDirectory) else RunDirectory(run)
    if not (pair is None or (isinstance(pair, tuple) and len(pair) == 2)):
        raise SettingsError(f"pair must be a tuple (model, guide), got {type(pair).__name__}.")
    model, guide = directory.pair() if pair is None else pair
    data = _stored_data(directory) if data is None else data
    contents = report_contents(
        model,
        guide,
        data,
        settings,
        name=directory.path.resolve().name,
        config=directory.config,
        history=directory.history,
        stages=stages,
    )
    page = report_page(contents, interactive=interactive_page(directory))
    return directory.add_file(f"report{directory.suffix_for(data.summary())}.html", page.encode())


def interactive_page(directory: RunDirectory) -> str:
    """The interactive page that ``bayes-vae explore`` wrote beside the report; empty where there is none."""
    return EXPLORE_PAGE if (directory.path / EXPLORE_PAGE).is_file() else ""


def _stored_data(directory: RunDirectory) -> Data:
    stored = directory.settings.get("data")
    if stored is None:
        raise RunError(
            f"the run {directory.path} does not say where its data, {directory.config['data'].get('name')!r}, are: "
            "give "
            "them, write_report(run, data=load_data(...))."
        )
    return load_run_data(directory, split_as_stored(DataSettings(**stored), directory.config["data"]))
