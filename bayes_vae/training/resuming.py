"""Going on from a checkpoint: with the same settings, the same data and the same networks, or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from bayes_vae.data import Data
from bayes_vae.errors import RunError, SettingsError
from bayes_vae.pairs import describe_program
from bayes_vae.runs import Checkpoint, Run, RunDirectory
from bayes_vae.settings import TrainingSettings
from bayes_vae.terms.program import Program
from bayes_vae.training.schedules import learning_rate_at
from bayes_vae.training.stopping import is_over

__all__ = [
    "CHANGEABLE",
    "ResumePoint",
    "check_same_data",
    "check_same_networks",
    "extended_at",
    "nothing_left",
    "resume_point",
    "resumed_settings",
    "schedule_note",
]

CHANGEABLE = ("epochs", "patience", "min_delta", "checkpoint_every_steps", "device")
"""Settings that a resumed training may have otherwise than its first part."""


@dataclass(frozen=True, eq=False)
class ResumePoint:
    """What a training goes on from.

    Attributes:
        name: of the run, for messages.
        checkpoint: where it stood.
        settings: its settings, by section.
        training: those of training.
        data: what a run knows of its data.
        programs: what a configuration says of its model and guide.
        folder: its directory, where it is unfinished and on disk.
        finished: whether it had come to its end.
        extended_at: as :class:`~bayes_vae.runs.Run` has it.
    """

    name: str
    checkpoint: Checkpoint
    settings: dict[str, Any]
    training: TrainingSettings
    data: dict[str, Any]
    programs: dict[str, dict[str, Any]]
    folder: Path | None
    finished: bool
    extended_at: tuple[int, ...]


def resume_point(resume: Run | str | Path) -> ResumePoint:
    """Read what a training goes on from.

    Raises:
        RunError: no run, or one without a checkpoint.
    """
    if isinstance(resume, Run):
        if resume.checkpoint is None:
            raise RunError(
                "this Run holds no checkpoint to resume from. Pass one that fit returned, or a run directory."
            )
        training = _stored_settings(resume.settings, "this Run")
        finished = not resume.interrupted
        programs = _programs(resume.model, resume.guide)
        return ResumePoint(
            name="the run",
            checkpoint=resume.checkpoint,
            settings=resume.settings,
            training=training,
            data=resume.data,
            programs=programs,
            folder=None,
            finished=finished,
            extended_at=resume.extended_at,
        )
    if not str(resume).strip():
        raise RunError("resume is empty: name a run directory, or leave resume out to start a new training.")
    directory = RunDirectory(resume)
    unfinished = directory.unfinished
    return ResumePoint(
        name=str(directory.path),
        checkpoint=directory.checkpoint(),
        settings=directory.settings,
        training=_stored_settings(directory.settings, str(directory.path)),
        data=directory.config["data"],
        programs={role: directory.config[role] for role in ("model", "guide")},
        folder=directory.path if unfinished else None,
        finished=not unfinished and not directory.config.get("outcome", {}).get("interrupted", False),
        extended_at=tuple(directory.config.get("extended_at", ())),
    )


def _programs(model: Program, guide: Program) -> dict[str, dict[str, Any]]:
    return {"model": describe_program("model", model), "guide": describe_program("guide", guide)}


def _stored_settings(sections: Mapping[str, Any], name: str) -> TrainingSettings:
    try:
        return TrainingSettings(**sections["training"])
    except (KeyError, TypeError, SettingsError) as error:
        raise RunError(
            f"{name} has training settings that this release does not know ({error}). Resume with the release that "
            "wrote the run (config.json names it)."
        ) from error


def resumed_settings(
    point: ResumePoint, settings: TrainingSettings | None, overrides: Mapping[str, Any]
) -> TrainingSettings:
    """The settings of the run, with the changes that a resumed training may have.

    Raises:
        SettingsError: a change that would make another training of it.
    """
    new = replace(settings or point.training, **overrides)
    for field in fields(TrainingSettings):
        before, now = getattr(point.training, field.name), getattr(new, field.name)
        if before != now and field.name not in CHANGEABLE:
            raise SettingsError(
                f"a resumed training keeps its settings, but {field.name} is {before!r} in {point.name} and {now!r} "
                f"now. Leave it out, or start a new run; only {', '.join(CHANGEABLE)} may change."
            )
    return new


def check_same_data(point: ResumePoint, data: Data) -> None:
    """Refuse other data than those of the run.

    Raises:
        RunError: says what differs.
    """
    now = data.summary()
    words = {"policy": "data policy", "kind": "kind", "data_shape": "shape of an observation", "digest": "digest"}
    if point.data.get("num_labelled") != now.get("num_labelled"):
        raise RunError(
            f"these are not the data of {point.name}: training saw {_visible(point.data)} there, and sees "
            f"{_visible(now)} here. Resume with the same, as load_data(...).with_visible_labels(...) sets them."
        )
    for key, word in words.items():
        if key in point.data and point.data[key] != now[key]:
            raise RunError(
                f"these are not the data of {point.name}: the {word} was {_short(point.data[key])} there "
                f"({point.data['name']}) and is {_short(now[key])} here ({now['name']}). Resume with the same data, or "
                "start a new run."
            )


def _visible(data: Mapping[str, Any]) -> str:
    """How many labels training sees, in words."""
    return f"{data['num_labelled']} labels" if "num_labelled" in data else "all labels"


def _short(value: Any) -> str:
    return value[:12] if isinstance(value, str) else str(tuple(value))


def check_same_networks(point: ResumePoint, model: Program, guide: Program, weights: Mapping[str, Tensor]) -> None:
    """Refuse other networks than those of the run.

    Args:
        point: the run.
        model, guide: the pair that is to be trained.
        weights: its weights.

    Raises:
        RunError: names the first thing that differs.
    """
    there, here = _traits(point.programs, point.checkpoint.weights), _traits(_programs(model, guide), weights)
    for key in [*there, *here]:
        if there.get(key) != here.get(key):
            raise RunError(
                f"these are not the networks of {point.name}: {key} is {there.get(key, 'missing')} there and "
                f"{here.get(key, 'missing')} here. Build the pair as for the first part of the training (config.json "
                "has the settings)."
            )


def _traits(programs: Mapping[str, Mapping[str, Any]], weights: Mapping[str, Tensor]) -> dict[str, str]:
    """What tells networks apart, in words: settings of programs of ours, shapes and types of weights."""
    settings = {
        f"{role}'s {key}": json.dumps(value)
        for role, program in programs.items()
        for key, value in program.get("settings", {}).items()
    }
    return settings | {
        key: f"{tuple(value.shape)} {value.dtype}".replace("torch.", "") for key, value in weights.items()
    }


def nothing_left(point: ResumePoint, settings: TrainingSettings, more: str = "more ") -> str | None:
    """Why a finished run has nothing to resume and how to ask for more, or None if it has.

    Args:
        point: where the run ended.
        settings: of the training that is asked for.
        more: what stands before the name of the setting to raise.
    """
    done = point.checkpoint.epochs_done
    if not point.finished or not is_over(done, point.checkpoint.history, settings):
        return None
    if done >= settings.epochs:
        return f"{point.name} is finished, its {done} epochs are done: nothing is left to resume. Ask for {more}epochs."
    return f"{point.name} ran out of patience after {done} epochs: nothing is left to resume. Ask for {more}patience."


def extended_at(point: ResumePoint, settings: TrainingSettings) -> tuple[int, ...]:
    """Whole epochs that were done whenever the number of epochs was changed, this time counted."""
    done = point.checkpoint
    changed = settings.epochs != point.training.epochs and (done.epochs_done or done.steps_done)
    return (*point.extended_at, done.epochs_done) if changed else point.extended_at


def schedule_note(point: ResumePoint, settings: TrainingSettings) -> str | None:
    """What another number of epochs does to the learning rate, or None."""
    if settings.schedule != "cosine" or settings.epochs == point.training.epochs:
        return None
    done = point.checkpoint.epochs_done
    before, now = (learning_rate_at(float(done), each) for each in (point.training, settings))
    return (
        f"the cosine schedule now spans {settings.epochs} epochs instead of {point.training.epochs}: the learning rate "
        f"goes on at {now:.3g}, where it stood at {before:.3g}; this is not the training that {settings.epochs} epochs "
        "in one go would be"
    )
