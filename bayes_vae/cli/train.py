"""``bayes-vae train``: train a VAE by SVI and save it as a run directory."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayes_vae.cli.flags import Flags, build_settings
from bayes_vae.cli.output import json_text, note, say, table, value_text
from bayes_vae.cli.repeating import check_repeated_data, threads_of
from bayes_vae.cli.results import SYMBOLS
from bayes_vae.settings import DataSettings, PairSettings, TrainingSettings, as_json

if TYPE_CHECKING:
    from bayes_vae.cli.loading import OpenedRun
    from bayes_vae.runs import Run

__all__ = ["command_line", "default_folder", "exit_code", "run", "train", "training_text"]

INTERRUPTED = 130


def flags() -> Flags:
    """The flags of the command."""
    parser = Flags(
        "train", "--data NAME --out RUN [--flag value ...]", "Train a VAE by SVI and save it as a run directory."
    )
    parser.add_settings(DataSettings, "data")
    parser.add_settings(PairSettings, "networks of the model and the guide")
    parser.add_settings(TrainingSettings, "training")
    group = parser.add_argument_group("result")
    group.add_argument("--out", metavar="RUN", help="the run directory to make (default: runs/DATA-TIME)")
    parser.add_common()
    return parser


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = flags().parse_args(arguments)
    data, pair = build_settings(DataSettings, options), build_settings(PairSettings, options)
    training = build_settings(TrainingSettings, options)
    out = Path(options.out) if options.out else default_folder(Path(data.data).stem)
    with threads_of(options.repeats):
        result, _ = train(data, pair, training, out, command_line("train", arguments), options.repeats)
    say(json_text(result) if options.json else training_text(result))
    return exit_code(result)


def exit_code(result: dict[str, Any]) -> int:
    """0, or after Ctrl-C 130 and a line that says what was saved."""
    if not result["interrupted"]:
        return 0
    note(f"bayes-vae: interrupted: the weights of {result['epochs']} whole epochs are in {result['run']}")
    return INTERRUPTED


def default_folder(name: str) -> Path:
    """A folder of its own for a run that was given none."""
    return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def command_line(command: str, arguments: Sequence[str]) -> str:
    """What was typed, as a shell takes it."""
    return shlex.join(["bayes-vae", command, *arguments])


def train(
    data: DataSettings,
    pair: PairSettings,
    training: TrainingSettings,
    out: Path,
    command: str = "",
    repeats: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], OpenedRun]:
    """Train, save to ``out``, which is refused before training where it holds something, and draw the figures.

    Args:
        data, pair, training: the settings.
        out: the run directory.
        command: the command line, which is stored.
        repeats: the configuration of a run that this one repeats; its data must be these.

    Returns:
        the result in JSON types, and the run.
    """
    from bayes_vae.cli.device import resolve_device
    from bayes_vae.cli.figures import write_training_figures
    from bayes_vae.cli.loading import OpenedRun
    from bayes_vae.data import load_data, require_binary
    from bayes_vae.runs import RunDirectory, check_destination, save
    from bayes_vae.training import build_pair

    check_destination(out)
    training = replace(training, device=resolve_device(training.device))
    data_set = load_data(data)
    require_binary(data_set)
    if repeats is not None:
        check_repeated_data(repeats, data, data_set)
    model, guide = build_pair(pair, data_set, training.seed)
    trained = _fit(model, guide, data_set, training)
    sections = {"data": as_json(replace(data, policy=data_set.policy)), "pair": as_json(pair), **trained.settings}
    save(replace(trained, settings=sections, command=command), out)
    opened = OpenedRun(RunDirectory(out), model, guide, data_set, training.device)
    figures = write_training_figures(opened, training.seed)
    result = _result(trained, out, figures)
    _note_divergence(result["validation"]["elbo"], math.prod(data_set.data_shape))
    return result, opened


def _note_divergence(elbo: float, num_pixels: int) -> None:
    """Say so where even a coin for each pixel, log p(x) = −P log 2, would have been better."""
    coin = -num_pixels * math.log(2)
    if elbo < coin:
        note(
            f"note: the validation ELBO, {elbo:.1f}, is below {coin:.1f}, that of a coin for each pixel: training went "
            "wrong. Lower --learning-rate, or train longer."
        )


def _fit(model: Any, guide: Any, data: Any, settings: TrainingSettings) -> Run:
    from bayes_vae.training import fit

    try:
        return fit(model, guide, data, settings)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted before the first epoch was done: nothing was saved.") from None


def _result(trained: Run, out: Path, figures: dict[str, str]) -> dict[str, Any]:
    return {
        "run": str(out),
        "data": trained.data,
        "epochs": len(trained.history),
        "best_epoch": trained.best_epoch,
        "interrupted": trained.interrupted,
        "seconds": sum(row["seconds"] for row in trained.history),
        "validation": _validation(trained),
        "figures": figures,
    }


def _validation(trained: Run) -> dict[str, Any]:
    """The terms of the validation set after the best epoch, and what they were measured under."""
    from bayes_vae.training.svi import VALIDATION_PARTICLES

    best = next(row for row in trained.history if row["epoch"] == trained.best_epoch)
    names = ("expected_log_likelihood", "kl_to_prior", "elbo")
    return {
        **{name: best[f"validation_{name}"] for name in names},
        "elbo_error": best["validation_elbo_error"],
        "num_particles": VALIDATION_PARTICLES,
        "num_observations": trained.data["sizes"]["validation"],
        "data_policy": trained.data["policy"],
        "kl_weight": 1.0,
        "seed": trained.settings["training"]["seed"],
    }


def training_text(result: dict[str, Any]) -> str:
    """The result as a person reads it."""
    data, validation = result["data"], result["validation"]
    rows = [[symbol, name, value_text(validation[name])] for name, symbol in SYMBOLS.items() if name in validation]
    rows[-1] += [f"± {validation['elbo_error']:.3f}"]
    files = {"run directory": result["run"], **result["figures"]}
    return "\n".join(
        [
            f"Trained on {data['name']}: {data['sizes']['train']:,} images, data policy {data['policy']}, "
            f"{result['epochs']} epochs in {result['seconds']:.1f} s. Best epoch: {result['best_epoch']}.",
            "",
            table(["symbol", "name", "validation", ""], [[*row, ""][:4] for row in rows], right=(2,)),
            f"  Nats per observation. K = {validation['num_particles']}, N = {validation['num_observations']:,} "
            f"validation images, KL weight 1, seed {validation['seed']}.",
            "",
            table(["file", "path"], list(files.items())),
            "",
            f"Next: bayes-vae evaluate {result['run']}",
            f"      bayes-vae compare {result['run']}",
        ]
    )
