"""``bayes-vae sample``: draws of the model, reconstructions or interpolations, as a picture or an array."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bayes_vae.cli.destinations import add_out, file_for, put
from bayes_vae.cli.flags import build_settings
from bayes_vae.cli.loading import OpenedRun, open_with, run_flags
from bayes_vae.cli.output import json_text, say
from bayes_vae.cli.writing_csv import csv_bytes
from bayes_vae.errors import SettingsError
from bayes_vae.progress import ProgressBar
from bayes_vae.settings import SampleSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from bayes_vae.data import Split

__all__ = ["run"]

MOST_PICTURES = {"prior": 144, "reconstructions": 20, "interpolations": 20}
"""That a figure shows; an array takes any number."""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = run_flags(
        "sample",
        "RUN --out samples.png [--flag value ...]",
        "New observations from the model; or test observations drawn again from their codes, or between two codes. "
        "Examples: bayes-vae sample runs/digits --num 64 --out samples.png; bayes-vae sample runs/mine --num 1000 "
        "--out samples.csv; bayes-vae sample runs/digits --what interpolations --num 8 --out between.png.",
        SampleSettings,
    )
    parser.add_argument("run", metavar="RUN", help="a run directory")
    text = "the file to write: .png for pictures, .npy for an array, .csv for vectors; numbers are in the data's units"
    add_out(parser.add_argument_group("what is written"), "FILE", text, required=True)
    parser.add_common()
    options = parser.parse_args(arguments)
    settings, path = build_settings(SampleSettings, options), file_for(options, (".png", ".npy", ".csv"))
    picture = path.suffix.lower() == ".png"
    if picture and settings.num > MOST_PICTURES[settings.what]:
        raise SettingsError(
            f"a picture shows at most {MOST_PICTURES[settings.what]} {settings.what}, got num={settings.num}: choose "
            "fewer, or --out FILE.npy."
        )
    opened = open_with(options, options.run)
    mean = picture if settings.mean is None else settings.mean
    rows, drawn = _drawn(opened, settings, mean)
    if picture:
        from bayes_vae.plots import save_figure

        content = save_figure(_figure(opened, settings, rows, drawn, mean))
    else:
        values = opened.data.in_original_units(drawn)
        content = _npy_bytes(values) if path.suffix.lower() == ".npy" else csv_bytes(_columns(values, opened))
    kind = "mean of p(x|z)" if mean or settings.what == "interpolations" else "draws of x"
    result = {
        "run": str(opened.directory.path),
        "what": settings.what,
        "shape": list(drawn.shape),
        "kind": kind,
        "seed": settings.seed,
        "file": str(path),
    }
    text = f"{settings.what}: shape {tuple(drawn.shape)}, {kind}, seed {settings.seed}"
    say(json_text(result) if options.json else text)
    put(path, content)
    if not options.json:
        say(f"Written to {path}")
    return 0


def _drawn(opened: OpenedRun, settings: SampleSettings, mean: bool) -> tuple[Split | None, Tensor]:
    """The rows that were taken, if any, and what was drawn."""
    from bayes_vae.posterior import interpolate, reconstruct, sample

    model, guide, seed = opened.model, opened.guide, settings.seed
    if settings.what != "prior" and settings.label is not None:
        raise SettingsError(
            "label is for draws from the prior: leave it out, since test observations have their own labels."
        )
    with ProgressBar(settings.what) as progress:
        if settings.what == "prior":
            how: dict[str, Any] = {"seed": seed, "mean": mean, "label": settings.label, "progress": progress}
            return None, sample(model, settings.num, **how)
        needed = settings.num * (2 if settings.what == "interpolations" else 1)
        rows = opened.test_rows(needed, seed)
        if len(rows) < needed:
            raise SettingsError(f"{needed} test rows are needed, and {opened.data.name} has {len(rows)}: lower --num.")
        if settings.what == "interpolations":
            return rows, interpolate(model, guide, rows, settings.num_steps)
        return rows, reconstruct(model, guide, rows, seed=seed, mean=mean, progress=progress)


def _figure(opened: OpenedRun, settings: SampleSettings, rows: Split | None, drawn: Tensor, mean: bool) -> Figure:
    from bayes_vae.plots import interpolation_figure, prior_sample_figure, reconstruction_figure

    policy = opened.data.policy
    if rows is None:
        return prior_sample_figure(drawn, data_policy=policy, mean=mean)
    if settings.what == "interpolations":
        return interpolation_figure(drawn, data_policy=policy)
    return reconstruction_figure(rows.rows_for(opened.model).read()[0].cpu(), drawn, data_policy=policy, mean=mean)


def _npy_bytes(values: Tensor) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, values.numpy(), allow_pickle=False)
    return buffer.getvalue()


def _columns(values: Tensor, opened: OpenedRun) -> dict[str, list[float]]:
    """One row for each observation, under the names of the data's columns where they have some; counts as whole."""
    flat = values.reshape(-1, values[(0,) * (values.dim() - len(opened.data.data_shape))].numel())
    names = opened.data.columns or tuple(f"x_{place}" for place in range(flat.shape[1]))
    columns = [column.long() if bool((column == column.round()).all()) else column for column in flat.T]
    return {name: column.tolist() for name, column in zip(names, columns, strict=True)}
