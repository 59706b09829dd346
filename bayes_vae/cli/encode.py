"""``bayes-vae encode``: mean and deviation of q(z given x) for each row of a file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bayes_vae.cli.destinations import add_out, file_for, put
from bayes_vae.cli.flags import build_settings
from bayes_vae.cli.loading import chosen_rows, open_with, run_flags
from bayes_vae.cli.output import json_text, say
from bayes_vae.cli.writing_csv import csv_bytes
from bayes_vae.progress import ProgressBar
from bayes_vae.settings import EncodeSettings
from bayes_vae.vocabulary.number_text import count_of

if TYPE_CHECKING:
    from bayes_vae.estimators import Codes

__all__ = ["run"]


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = run_flags(
        "encode",
        "RUN [--data FILE] --out codes.npz [--flag value ...]",
        "Mean and deviation of q(z given x) for each row, with index and labels. Examples: bayes-vae encode "
        "runs/digits --out codes.npz; bayes-vae encode runs/digits --rows train --out codes.csv.",
        EncodeSettings,
    )
    parser.add_argument("run", metavar="RUN", help="a run directory")
    text = "the .npz or .csv to write: index, label, z_mean, z_deviation"
    add_out(parser.add_argument_group("what is written"), "FILE", text, required=True)
    parser.add_common()
    options = parser.parse_args(arguments)
    settings, path = build_settings(EncodeSettings, options), file_for(options, (".npz", ".csv"))
    opened = open_with(options, options.run)
    rows = chosen_rows(opened, settings.rows, options.data is not None, settings.seed)

    from bayes_vae.estimators import encode

    with ProgressBar("codes") as progress:
        found = encode(opened.model, opened.guide, rows, settings.num_particles, seed=settings.seed, progress=progress)
    arrays = {name: list(array.shape) for name, array in found.arrays().items()}
    result = {
        "run": str(opened.directory.path),
        "data": {**opened.about_data, "split": settings.rows or ("all" if options.data is not None else "test")},
        "num_observations": len(rows),
        "estimator": found.estimator,
        "arrays": arrays,
        "file": str(path),
    }
    names = ", ".join(f"{name} {tuple(shape)}" for name, shape in arrays.items())
    text = f"{count_of(len(rows), 'row')}: {names}; moments of q(z|x): {found.estimator}"
    say(json_text(result) if options.json else text)
    put(path, _npz_bytes(found) if path.suffix.lower() == ".npz" else csv_bytes(_columns(found)))
    if not options.json:
        say(f"Written to {path}")
    return 0


def _npz_bytes(found: Codes) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.savez(buffer, **found.arrays())
    return buffer.getvalue()


def _columns(found: Codes) -> dict[str, list[float]]:
    """Each number of a code is a column: z_mean_0, z_mean_1, …."""
    columns: dict[str, list[float]] = {}
    for name, array in found.arrays().items():
        flat = array.reshape(len(array), -1)
        many = array.ndim > 1
        columns |= {f"{name}_{place}" if many else name: column.tolist() for place, column in enumerate(flat.T)}
    return columns
