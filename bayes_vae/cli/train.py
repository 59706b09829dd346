"""``bayes-vae train``: train a VAE by SVI and save it as a run directory."""

from __future__ import annotations

import math
import shlex
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bayes_vae.cli.flags import Flags, build_settings
from bayes_vae.cli.output import json_text, note, say, table
from bayes_vae.cli.processes import add_devices, run_in_processes, wants_processes
from bayes_vae.cli.repeating import (
    check_repeated_data,
    check_same_pair,
    how_to_resume,
    nothing_to_resume,
    read_stored,
    threads_of,
)
from bayes_vae.errors import LostProcessError, UnscaledDataWarning
from bayes_vae.parts.compatibility import check_combination, with_fitting_policy
from bayes_vae.process import is_main_process
from bayes_vae.settings import DataSettings, PairSettings, Policy, TrainingSettings, as_json
from bayes_vae.vocabulary.conditions import PER_OBSERVATION, conditions
from bayes_vae.vocabulary.number_text import capitalized, value_text
from bayes_vae.vocabulary.symbols import TERMS

if TYPE_CHECKING:
    from bayes_vae.cli.loading import OpenedRun
    from bayes_vae.data import Data
    from bayes_vae.runs import Run

__all__ = ["command_line", "default_folder", "resume", "run", "train", "training_text"]

CHANGEABLE = ("epochs", "patience", "min_delta", "checkpoint_every_steps", "device")
"""As ``bayes_vae.training.resuming`` has it, without its imports."""

ENDINGS = {"all epochs": "", "patience": ", out of patience", "callback": ", stopped by a callback"}
"""Why training ended → what is said of it."""


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
    group.add_argument(
        "--resume",
        metavar="RUN",
        help="continue this run: in its place if it is unfinished, otherwise in --out; its settings are kept, and only "
        f"--{', --'.join(name.replace('_', '-') for name in CHANGEABLE)} may be changed",
    )
    group.add_argument(
        "--tensorboard", action="store_true", help="also write the figures of each epoch to RUN/tensorboard"
    )
    add_devices(parser, "train")
    parser.add_common()
    return parser


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = flags()
    resumed = parser.peek(arguments).resume
    stored = read_stored(resumed) if resumed else {}
    for values in stored.values():
        parser.set_defaults(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
    options = parser.parse_args(arguments)
    data, pair = build_settings(DataSettings, options), build_settings(PairSettings, options)
    training = build_settings(TrainingSettings, options)
    out = Path(options.out) if options.out else None
    shared: dict[str, Any] = {"command": command_line("train", arguments), "tensorboard": options.tensorboard}
    if resumed:
        check_same_pair(stored, pair, resumed)
        done = nothing_to_resume(resumed, training)
        if done:
            note(f"bayes-vae: {done}")
            if options.json:
                say(json_text({"run": resumed, "nothing_left": done}))
            return 0
    if wants_processes(options.devices):
        return run_in_processes(options.devices, ["train", *arguments])
    if resumed:
        result, opened = resume(Path(resumed), data, training, out, **shared)
    else:
        with threads_of(options.repeats):
            out = out or default_folder(Path(data.data).stem)
            result, opened = train(data, pair, training, out, repeats=options.repeats, **shared)
    return opened.show(result, training_text(result), next_text(result), options.json)


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
    *,
    tensorboard: bool = False,
    figures: bool = True,
) -> tuple[dict[str, Any], OpenedRun]:
    """Train, writing to ``out``, which must be new or empty; return the result in JSON types, and the run.

    Args:
        data, pair, training: the settings.
        out: the run directory.
        command: the command line, which is stored.
        repeats: the configuration of a run that this one repeats; its data must be these.
        tensorboard: whether to write the figures of each epoch to RUN/tensorboard.
        figures: whether to draw.

    Raises:
        SettingsError: settings that cannot work together.
        SupportError: data that the likelihood has no density for.
        KeyboardInterrupt: after Ctrl-C; the message says how to resume.
    """
    check_combination(pair, training)
    from bayes_vae.data import load_data
    from bayes_vae.runs import check_destination
    from bayes_vae.training import build_pair

    if is_main_process():
        check_destination(out)
    data = with_fitting_policy(data, pair)
    training = _with_device(training)
    options: dict[str, Any] = {"command": command, "callbacks": _callbacks(out, tensorboard)}
    data_set = load_data(data)
    if repeats is not None:
        check_repeated_data(repeats, data, data_set)
    model, guide = build_pair(pair, data_set, training.seed)
    sections = {"data": as_json(_with_policy(data, data_set)), "pair": as_json(pair)}
    return _train(model, guide, data_set, training, out, figures, out=out, sections=sections, **options)


def resume(
    path: Path,
    data: DataSettings,
    training: TrainingSettings,
    out: Path | None,
    command: str = "",
    *,
    tensorboard: bool = False,
) -> tuple[dict[str, Any], OpenedRun]:
    """Go on with a run: in its place where it is unfinished and no ``out`` is given. As :func:`train` otherwise."""
    from bayes_vae.data import load_data
    from bayes_vae.runs import RunDirectory, check_destination

    directory = RunDirectory(path)
    if out is None and not directory.unfinished:
        out = default_folder(Path(data.data).stem)
    if out and is_main_process():
        check_destination(out)
    folder = out or path
    command = " && ".join(filter(None, [directory.config.get("command", ""), command]))
    training = _with_device(training)
    options: dict[str, Any] = {"command": command, "callbacks": _callbacks(folder, tensorboard)}
    data_set = load_data(data)
    sections = {"data": as_json(_with_policy(data, data_set))}
    with threads_of(directory.config):
        return _train(*directory.pair(), data_set, training, folder, out=out, sections=sections, resume=path, **options)


def _with_policy(settings: DataSettings, data: Data) -> DataSettings:
    """The settings with the policy that was chosen for these data."""
    return replace(settings, policy=cast(Policy, data.policy))  # of files never that of a loader


def _callbacks(folder: Path, tensorboard: bool) -> list[Any]:
    from bayes_vae.training import tensorboard_callback

    return [tensorboard_callback(folder / "tensorboard")] if tensorboard and is_main_process() else []


def _with_device(training: TrainingSettings) -> TrainingSettings:
    from bayes_vae.training.machine import resolve_device

    return replace(training, device=str(resolve_device(training.device)))


def _train(
    model: Any, guide: Any, data: Data, settings: TrainingSettings, folder: Path, figures: bool = True, **options: Any
) -> tuple[dict[str, Any], OpenedRun]:
    """Train into a folder, and draw the figures."""
    from bayes_vae.cli.figures import write_training_figures
    from bayes_vae.cli.loading import OpenedRun
    from bayes_vae.data import unscaled_note
    from bayes_vae.runs import RunDirectory
    from bayes_vae.training import fit

    unscaled = unscaled_note(data.train.for_a_look, data.columns) if data.kind == "real" else None
    if unscaled:
        note(f"note: {unscaled}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnscaledDataWarning)  # it is said above
            trained = fit(model, guide, data, settings, **options)
    except KeyboardInterrupt as interruption:
        interruption.args = (_how_to_resume(folder),)
        raise
    except LostProcessError as error:
        raise LostProcessError(f"{error} Training was {_how_to_resume(folder)}") from error
    if trained.interrupted:
        raise KeyboardInterrupt(_how_to_resume(folder))
    if not is_main_process():
        sys.exit(0)  # the process of rank 0 draws and shows
    opened = OpenedRun(RunDirectory(folder), model, guide, data, settings.device)
    drawn = write_training_figures(opened, settings.seed) if figures else {}
    result = _result(trained, folder) | {"figures": drawn}
    elbo, coin = result["validation"]["elbo"], -math.prod(data.data_shape) * math.log(2)
    if data.observation_kind == "binary" and elbo < coin:
        note(
            f"note: the validation ELBO, {elbo:.1f}, is below {coin:.1f}, that of a fair coin for each pixel: "
            "training went wrong. Lower --learning-rate, or train longer."
        )
    return result, opened


def _how_to_resume(folder: Path) -> str:
    """In the process that writes, where training stood and how it goes on."""
    return how_to_resume(folder) if is_main_process() else "interrupted."


def _result(trained: Run, out: Path) -> dict[str, Any]:
    """What the training came to, and the terms of the validation set after the best epoch with their conditions."""
    from bayes_vae.training.svi import VALIDATION_PARTICLES

    best = next(row for row in trained.history if row["epoch"] == trained.best_epoch)
    return {
        "run": str(out),
        "data": trained.data,
        "epochs": len(trained.history),
        "best_epoch": trained.best_epoch,
        "ending": trained.ending,
        "interrupted": trained.interrupted,
        "seconds": sum(row["seconds"] for row in trained.history),
        "validation": {
            **{name: best[f"validation_{name}"] for name in ("expected_log_likelihood", "kl_to_prior", "elbo")},
            "elbo_error": best["validation_elbo_error"],
            "num_particles": VALIDATION_PARTICLES,
            "num_observations": trained.data["sizes"]["validation"],
            "data_policy": trained.data["policy"],
            "kl_weight": 1.0,
            "seed": trained.settings["training"]["seed"],
            **({"missing_share": gaps} if (gaps := trained.data.get("missing_share")) else {}),
        },
    }


def _conditions(validation: Mapping[str, Any]) -> str:
    """What the validation terms were measured under."""
    rows, policy = f"{validation['num_observations']:,} validation observations", validation["data_policy"]
    beside = {name: validation[name] for name in ("kl_weight", "seed", "missing_share") if name in validation}
    return conditions(validation["num_particles"], rows, policy, unit=capitalized(PER_OBSERVATION), **beside)


def training_text(result: dict[str, Any]) -> str:
    """The result as a person reads it."""
    data, validation = result["data"], result["validation"]
    rows = [[TERMS[name].symbol, name, value_text(validation[name])] for name in validation if name in TERMS]
    rows[-1] += [f"± {validation['elbo_error']:.3f}"]
    files = {"run directory": result["run"], **result["figures"]}
    return "\n".join(
        [
            f"Trained on {data['name']}: {data['sizes']['train']:,} observations, data policy {data['policy']}, "
            f"{result['epochs']} epochs in {result['seconds']:.1f} s{ENDINGS[result['ending']]}. "
            f"Best epoch: {result['best_epoch']}.",
            "",
            table(["symbol", "name", "validation", ""], [[*row, ""][:4] for row in rows], right=(2,)),
            f"  {_conditions(validation)}.",
            "",
            table(["file", "path"], list(files.items())),
        ]
    )


def next_text(result: dict[str, Any]) -> str:
    """What to do with the run."""
    return f"\nNext: bayes-vae evaluate {result['run']}\n      bayes-vae compare {result['run']}"
