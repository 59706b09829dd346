"""A report into a file: of a pair, or of a run into its directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from bayes_vae.data import Data
from bayes_vae.errors import RunError, SettingsError
from bayes_vae.plain_files import free_file
from bayes_vae.progress import Progress
from bayes_vae.report.contents import checked_settings, report_contents
from bayes_vae.report.page import report_page
from bayes_vae.runs import RunDirectory
from bayes_vae.runs.files import put
from bayes_vae.runs.run_data import load_run_data, split_as_stored
from bayes_vae.settings import EXPLORE_PAGE, DataSettings, ReportSettings
from bayes_vae.terms.program import Program
from bayes_vae.terms.whole_numbers import switch

__all__ = ["interactive_page", "report_pair", "write_report"]


def report_pair(
    model: Program,
    guide: Program,
    data: Data | Any,
    path: str | Path,
    settings: ReportSettings | None = None,
    *,
    name: str = "pair",
    history: Sequence[Mapping[str, float]] = (),
    overwrite: bool = False,
    progress: Progress | bool | None = None,
    **overrides: Any,
) -> Path:
    """Compute the report of any pair, and write it to one self-contained HTML file.

    What this pair or these data cannot have, a picture of what is no image, say, is left out, and the page says why.

    Args:
        model, guide: a pair of Pyro programs; all is computed on the model's device.
        data: the data set, whose test rows are what is reported. Of a pair that was trained elsewhere give the split
            that it was trained with. Or rows, as in :func:`bayes_vae.diagnose`.
        path: the file to write, which ends in .html. It is written at the end, whole.
        settings: K, N and seed; the defaults when None. The device is the pair's own.
        name: of the pair, on the page.
        history: one row of named figures for each epoch, as ``run.history``.
        overwrite: replace the file that is there.
        progress: as in :func:`bayes_vae.log_terms`, of each stage in turn.
        **overrides: single settings, such as ``num_observations=100``.

    Returns:
        where the file is.

    Raises:
        RunError: a path that cannot be written to, or a file that is there already; found out before any work.
        SettingsError: unknown settings.
        ProgramError, SupportError, NumericalError: as :func:`bayes_vae.log_terms`.
    """
    file = free_file(path, overwrite=switch("overwrite", overwrite))
    if file.suffix.lower() not in (".html", ".htm"):
        raise RunError(f"path {path}: expected a file that ends in .html.")
    known = [field.name for field in fields(ReportSettings) if field.name != "device"]
    for setting in overrides:
        if setting not in known:
            raise SettingsError(f"report_pair knows no setting {setting!r}: choose from {', '.join(known)}.")
    settings = checked_settings(settings, **overrides)
    contents = report_contents(model, guide, data, settings, name=name, history=history, progress=progress)
    return put(file, report_page(contents).encode())


def write_report(
    run: str | Path | RunDirectory,
    settings: ReportSettings | None = None,
    *,
    data: Data | None = None,
    pair: tuple[Program, Program] | None = None,
    progress: Progress | bool | None = None,
) -> Path:
    """Compute the report of a run, and write it to ``report.html`` of its run directory.

    On other data, or under another policy, than the run's, the file is named after them, beside the run's own.

    For a pair that is no run there is :func:`bayes_vae.report_pair`.

    Args:
        run: a run directory.
        settings: K, N and seed; the defaults when None.
        data: the data set; loaded as the run stored it when None.
        pair: model and guide, for programs that are not of this library; built from the run when None.
        progress: as in :func:`bayes_vae.log_terms`, of each stage in turn.

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
        progress=progress,
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
