"""``bayes-vae report``: one self-contained HTML file with all that is known of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bayes_vae.cli.loading import OpenedRun, open_named
from bayes_vae.cli.output import Progress
from bayes_vae.settings import ReportSettings

__all__ = ["report", "report_text", "run"]


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    try:
        opened, settings, as_json = open_named(
            arguments,
            "report",
            "One self-contained HTML file on a run: terms, pictures, how far to trust them; writes RUN/report.html.",
            ReportSettings,
        )
        result = report(opened, settings)
    except KeyboardInterrupt as interruption:
        interruption.args = ("interrupted: no report was written, and an older one is as it was.",)
        raise
    size = f"{result['bytes'] / 1e6:.1f} MB, {result['seconds']:.0f} s"
    return opened.show(result, report_text(result), f"Written to {result['file']} ({size})", as_json)


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
        stages=_progress,
    )
    found = sections(contents)
    page = report_page(contents, found, interactive_page(opened.directory)).encode()
    file = opened.add("report.html", page)
    return {"run": str(opened.directory.path), **summary(contents, found), "bytes": len(page), "file": file}


def _progress(stage: str) -> Progress:
    """Progress of a stage, counted in what it goes through."""
    return Progress(stage, "measurements" if stage.endswith("diagnosis") else "observations")


def report_text(result: dict[str, Any]) -> str:
    """The result as a person reads it."""
    left_out = [f"Left out: {title}: {reason}" for title, reason in result["left_out"].items()]
    return "\n".join([*result["sentences"], *left_out])
