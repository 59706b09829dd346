"""``bayes-vae explore``: one interactive HTML page in which Bayes' rule is seen on a run, or on several."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayes_vae.cli.flags import Flags, build_settings
from bayes_vae.cli.loading import OpenedRun, open_run
from bayes_vae.cli.output import json_text, say
from bayes_vae.errors import NotDefinedError, RunError, SettingsError
from bayes_vae.progress import ProgressBar
from bayes_vae.settings import EXPLORE_PAGE, ExploreSettings

if TYPE_CHECKING:
    from bayes_vae.explore import RunView

__all__ = ["explore", "explore_text", "run"]

EXAMPLES = """examples:
  bayes-vae explore runs/digits
  bayes-vae explore runs/weight-1 runs/weight-4 --out weights.html"""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = Flags(
        "explore",
        "RUN [RUN ...] [--out FILE.html] [--flag value ...]",
        "One interactive HTML page in which Bayes' rule is seen on the test observations of a run: the decoder runs in "
        "the page. With several runs, a slider over the setting that differs. Writes RUN/explore.html, or FILE.",
    )
    parser.epilog = EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("run", metavar="RUN", nargs="+", help="a run directory")
    parser.add_settings(ExploreSettings, "what the page holds")
    group = parser.add_argument_group("result")
    help_of_out = f"the page to write (default: {EXPLORE_PAGE} in the first run's folder)"
    group.add_argument("--out", metavar="FILE", help=help_of_out)
    group.add_argument("--overwrite", action="store_true", help="replace FILE where it exists")
    parser.add_common()
    options = parser.parse_args(arguments)
    settings, out = build_settings(ExploreSettings, options), Path(options.out) if options.out else None
    _check_out(out, options.overwrite)
    for path in options.run:
        if not Path(path).is_dir():
            raise RunError(f"{path} is not a run directory. Expected one that `bayes-vae train --out` wrote.")
    from bayes_vae.training.machine import resolve_device

    device = str(resolve_device(settings.device))
    opened = [open_run(path, device, None, None, None) for path in options.run]
    result = explore(opened, settings, out)
    say(json_text(result) if options.json else explore_text(result))
    opened[0].store()
    if not options.json:
        say(f"Written to {result['file']} ({result['bytes'] / 1e6:.1f} MB): open it in a browser.")
    return 0


def _check_out(out: Path | None, overwrite: bool) -> None:
    """Refuse a file that cannot be written, before anything slow."""
    if out is None:
        return
    if out.is_dir():
        raise SettingsError(f"--out {out} is a folder; expected the name of a file, such as {out}/{EXPLORE_PAGE}.")
    if out.exists() and not overwrite:
        raise SettingsError(f"--out {out} exists: choose another name, or add --overwrite.")
    if not out.parent.is_dir():
        raise SettingsError(f"--out {out}: there is no folder {out.parent}. Make it first.")


def explore(opened: Sequence[OpenedRun], settings: ExploreSettings, out: Path | None = None) -> dict[str, Any]:
    """Make the page of some runs; where it will be, and what it does not show, in JSON types.

    Args:
        opened: the runs; the first one's folder gets the page.
        settings: how many images, draws and nodes.
        out: a file elsewhere; in the first run's folder when None.

    Raises:
        NotDefinedError: what the page cannot show, and of which run.
    """
    from bayes_vae.explore import explore_page
    from bayes_vae.explore.bundle import LARGEST
    from bayes_vae.runs.files import write_atomically

    with ProgressBar("explore", "runs") as progress:
        views = []
        for number, each in enumerate(opened):
            progress(number, len(opened))
            views.append(_view(each, settings))
    page = explore_page(views)
    if len(page) > LARGEST and any(view.content["encoder"] for view in views):
        views = [view.without_encoder() for view in views]
        page = explore_page(views)
    content = page.encode()
    if out is None:
        file = opened[0].add(EXPLORE_PAGE, content)
    else:
        file = str(out)
        opened[0].pending.append(partial(write_atomically, out, content))
    shown = {view.name: view.notes for view in views}
    return {"runs": [str(each.directory.path) for each in opened], "notes": shown, "bytes": len(content), "file": file}


def _view(opened: OpenedRun, settings: ExploreSettings) -> RunView:
    """What the page shows of one run."""
    from bayes_vae.explore import collect

    name, config = opened.directory.path.resolve().name, opened.directory.config
    try:
        return collect(opened.model, opened.guide, opened.data, settings, name=name, config=config)
    except NotDefinedError as error:
        raise NotDefinedError(f"{name} cannot be shown: {error}") from error


def explore_text(result: dict[str, Any]) -> str:
    """What the page does not show, as a person reads it."""
    notes = [f"{name}: {text}" for name, texts in result["notes"].items() for text in texts]
    return "\n".join(notes) or "The page shows everything for every run."
