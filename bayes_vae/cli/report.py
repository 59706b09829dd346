"""``bayes-vae report``: one self-contained HTML file with all that is known of a run."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bayes_vae.cli.comparing_runs import compared, comparison_tables
from bayes_vae.cli.destinations import add_out, file_for, put
from bayes_vae.cli.flags import build_settings
from bayes_vae.cli.loading import OpenedRun, open_with, require_folders, run_flags
from bayes_vae.cli.output import json_text, say
from bayes_vae.errors import SettingsError
from bayes_vae.settings import ReportSettings

__all__ = ["report", "report_text", "run"]


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = run_flags(
        "report",
        "RUN [RUN ...] [--flag value ...]",
        "One self-contained HTML file on a run: terms, pictures, how far to trust them; writes RUN/report.html. For "
        "several runs, their comparison. Examples: bayes-vae report runs/a; bayes-vae report runs/a runs/b --out "
        "comparison.html.",
        ReportSettings,
    )
    parser.add_argument("run", nargs="+", metavar="RUN", help="a run directory; several are compared")
    add_out(parser.add_argument_group("the file of several runs"), "FILE", "the .html to write")
    parser.add_common()
    options = parser.parse_args(arguments)
    settings = build_settings(ReportSettings, options)
    if len(options.run) > 1:
        return _of_several(options, settings)
    if options.out is not None or options.overwrite:
        raise SettingsError("--out and --overwrite are for several runs; the report of one run goes into its folder.")
    try:
        opened = open_with(options, options.run[0])
        result = report(opened, settings)
    except KeyboardInterrupt as interruption:
        interruption.args = ("interrupted: no report was written, and an older one is unchanged.",)
        raise
    size = f"{result['bytes'] / 1e6:.1f} MB, {result['seconds']:.0f} s"
    return opened.show(result, report_text(result), f"Written to {result['file']} ({size})", options.json)


def _of_several(options: Namespace, settings: ReportSettings) -> int:
    """Compare the runs that were named, and write a page on it."""
    require_folders(options.run)
    if options.out is None:
        raise SettingsError("a report of several runs has no folder of its own: name a file with --out FILE.html.")
    path = file_for(options, (".html",))
    found, result, _ = compared(options, settings)

    from bayes_vae.report.comparison import comparison_page

    say(json_text(result) if options.json else comparison_tables(result))
    put(path, comparison_page(found, result, options.run).encode())
    if not options.json:
        say(f"Written to {path}")
    return 0


def report(opened: OpenedRun, settings: ReportSettings) -> dict[str, Any]:
    """Make the report of a run; where it will be, what it says first, and what it leaves out, in JSON types."""
    from bayes_vae.report import report_contents, report_page
    from bayes_vae.report.summary import sections, summary
    from bayes_vae.report.writing import interactive_page

    contents = report_contents(
        opened.model,
        opened.guide,
        opened.data,
        replace(settings, device=opened.device),
        name=opened.directory.path.resolve().name,
        config=opened.directory.config,
        history=opened.directory.history,
        progress=True,
    )
    found = sections(contents)
    page = report_page(contents, found, interactive_page(opened.directory)).encode()
    file = opened.add("report.html", page)
    return {"run": str(opened.directory.path), **summary(contents, found), "bytes": len(page), "file": file}


def report_text(result: dict[str, Any]) -> str:
    """The result as a person reads it."""
    left_out = [f"Left out: {title}: {reason}" for title, reason in result["left_out"].items()]
    return "\n".join([*result["sentences"], *left_out])
