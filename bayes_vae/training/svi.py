"""Training a pair by stochastic variational inference."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from bayes_vae.data import Data, as_data, require_fit, unscaled_note
from bayes_vae.errors import DataError, RunError, SettingsError, UnscaledDataWarning
from bayes_vae.process import is_main_process
from bayes_vae.runs import Ending, ParameterizedProgram, Run, RunWriter, run_writer
from bayes_vae.settings import TrainingSettings, as_json
from bayes_vae.terms.inference_tensors import replace_inference_tensors
from bayes_vae.terms.isolation import isolated_context
from bayes_vae.terms.program import Program
from bayes_vae.terms.randomness import derived_seed, isolated_rng
from bayes_vae.terms.traits import traits_of
from bayes_vae.terms.whole_numbers import switch
from bayes_vae.terms.world import World, join_world
from bayes_vae.training.callbacks import Callback, EpochState
from bayes_vae.training.checking import check_sense
from bayes_vae.training.interruption import Interruption, deferred_interruption
from bayes_vae.training.loop import ADAM_EPSILON, VALIDATION_PARTICLES, Training
from bayes_vae.training.machine import check_precision, describe_machine, resolve_device
from bayes_vae.training.parameters import own_store
from bayes_vae.training.reporting import ProgressStyle, Reporter, reporter
from bayes_vae.training.resuming import (
    ResumePoint,
    check_same_data,
    check_same_networks,
    extended_at,
    nothing_left,
    resume_point,
    resumed_settings,
    schedule_note,
)
from bayes_vae.training.shared_gradient import spread_weights

__all__ = ["ADAM_EPSILON", "VALIDATION_PARTICLES", "fit"]


def fit(
    model: Program,
    guide: Program,
    data: Data | Any,
    settings: TrainingSettings | None = None,
    *,
    resume: Run | str | Path | None = None,
    out: str | Path | None = None,
    sections: Mapping[str, Any] | None = None,
    command: str = "",
    callbacks: Sequence[Callback] = (),
    progress: ProgressStyle = "auto",
    interruptible: bool = True,
    **overrides: Any,
) -> Run:
    r"""Train a pair on a data set by SVI on the ELBO.

    .. math:: \min -\frac1N \sum_n \Big( E_q \log p(x_n \mid z) - \beta \, \mathrm{KL}(q(z \mid x_n) \,\|\, p(z)) \Big)

    Adam; after each epoch the ELBO of the validation split at KL weight 1. The modules are trained in place and end
    with the weights of the best epoch. Pyro's parameter store and torch's random state stay as they were, and nothing
    of the caller's context (Pyro's handlers, autocast, inference mode, ``no_grad``) gets in. Other threads that call
    this library wait until training ends, so a callback must not wait for one of them.

    Ctrl-C ends training after the step in progress (a second one at once). So does SIGTERM, which is then sent once
    more, so that by default it ends the process, with the checkpoint in ``out``. A resumed training is bit for bit the
    one that was not interrupted, on the same machine, device and number of threads and processes. With other ``epochs``
    the schedules ``constant``, ``steps`` and ``burda`` continue as they would have; ``cosine`` depends on the total, so
    it continues at the rate that a cosine over the new total has there.

    Processes that torchrun started train one pair together: every batch is divided among them, each draws the noise of
    the whole batch and takes its rows, and the gradient is the mean over the whole batch, so the result is that of one
    process up to rounding, whatever their number. Rank 0 alone writes; what is resumed must be readable by all.

    Args:
        model, guide: Pyro programs. Parameters are taken from modules, from the owners of bound methods and from the
            ``pyro.param`` sites of one traced step.
        data: from :func:`bayes_vae.load_data`; or rows, which are taken as they are and split at random: a tensor, a
            tuple (x, covariates, …), a DataFrame, a torch Dataset or DataLoader.
        settings: see :class:`bayes_vae.settings.TrainingSettings`.
        resume: go on with this run: a run directory, or what ``fit`` returned. The pair gets its weights; settings are
            the run's, of which only epochs, patience, min_delta, checkpoint_every_steps and device may be changed.
        out: a run directory to write while training: a checkpoint after each epoch, at the end the finished run. Left
            out, an unfinished run directory that is resumed goes on in its place, and else nothing is written.
        sections: further sections of settings to store in ``out``, such as ``data`` and ``pair``.
        command: the command line, stored in ``out``.
        callbacks: functions called with an :class:`~bayes_vae.training.EpochState` after each epoch and its checkpoint,
            in each process; one that returns ``True`` ends training. What they draw from torch's generators does not
            change it.
        progress: "auto" (a bar on a terminal, else lines), "bar", "lines" or "none"; written to standard error.
        interruptible: whether Ctrl-C ends training with what was done so far; else it is raised, for scripts that need
            the whole training.
        **overrides: single settings, e.g. ``epochs=5``.

    Returns:
        the :class:`bayes_vae.runs.Run`. Its ``model`` and ``guide`` carry the values of ``pyro.param`` sites.

    Raises:
        SupportError: data that the model's likelihood has no density for.
        ProgramError: nothing to train, a scaled site, or a latent without ``rsample``.
        NumericalError: training diverged.
        ProcessesError: processes that train together cannot reach each other, or were given different things.
        RunError: ``out`` holds something already, or ``resume`` does not fit the pair or the data, or is finished.
        KeyboardInterrupt: before the first epoch was done, or where training is not ``interruptible``; with ``out`` the
            checkpoint is there.
    """
    _check_names(overrides)
    interruptible = switch("interruptible", interruptible)
    data = as_data(data, model, "fit")
    _require_rows(data)
    require_fit(data, getattr(traits_of(model).likelihood_family, "part", None))
    unscaled = unscaled_note(data.train.for_a_look, data.columns) if data.kind == "real" else None
    if unscaled and is_main_process():
        warnings.warn(unscaled, UnscaledDataWarning, stacklevel=2)
    point = None if resume is None else resume_point(resume)
    if point:
        settings = _resumed(point, data, settings, overrides)
    else:
        settings = replace(settings or TrainingSettings(), **overrides)
    device = resolve_device(settings.device)
    check_precision(settings.precision, device)
    world = join_world(device)
    report = reporter(progress if world.writes else "none")
    stored = {**(point.settings if point else {}), **(sections or {}), "training": as_json(settings)}
    with ExitStack() as stack:
        stack.enter_context(isolated_context(gradients=True))
        replace_inference_tensors(model, guide)
        stack.enter_context(own_store(model, guide))
        stack.enter_context(isolated_rng(derived_seed(settings.seed, "training"), device))
        training = Training(model, guide, data, settings, device, world)
        stack.callback(training.close)
        if point:
            _go_on(point, training, report)
        _require_the_same_start(world, training, data.digest)
        run = Run(
            model,
            guide,
            settings=stored,
            data=data.summary(),
            command=command,
            ending="interrupted",
            extended_at=extended_at(point, settings) if point else (),
            **training.summary(),
        )
        writer = _writer(stack, run, out, point) if world.writes else None
        machine = describe_machine(settings, device, world.size)
        report.start(tuple(training.names), settings.epochs, machine, training.epochs_done)
        stack.callback(report.close)
        loop = _Loop(training, report, writer, callbacks)
        ending = loop.run(stack.enter_context(deferred_interruption()))
        run = replace(run, ending=ending, **loop.summary())
        if ending == "interrupted" and not (interruptible and run.history):
            raise KeyboardInterrupt
        training.close()
        run = _with_site_values(run, training)
        if writer and ending != "interrupted":
            writer.finish(run)
        world.wait()
    return run


def _require_the_same_start(world: World, training: Training, digest: str) -> None:
    """Refuse processes that were given different things; all of them have read by now what is resumed.

    Raises:
        ProcessesError: says what differs.
    """
    settings = {**as_json(training.settings), "device": None}
    world.require_same("settings of the training", json.dumps(settings, sort_keys=True))
    world.require_same("data", digest)
    world.require_same("checkpoints to resume from", f"{training.epochs_done} {training.steps_done}")
    modules = training.trainable.modules.values()
    buffers = [value for module in modules for value in module.buffers()]
    spread_weights(world, [*training.parameters, *buffers])


def _resumed(
    point: ResumePoint, data: Data, settings: TrainingSettings | None, overrides: Mapping[str, Any]
) -> TrainingSettings:
    """The settings to go on with, after all that can be checked before the networks are touched."""
    settings = resumed_settings(point, settings, overrides)
    check_same_data(point, data)
    reason = nothing_left(point, settings)
    if reason:
        raise RunError(reason)
    return settings


def _go_on(point: ResumePoint, training: Training, report: Reporter) -> None:
    """Bring a training to where a run stood."""
    check_same_networks(point, training.model, training.guide, training.trainable.state())
    check_sense(point.name, point.checkpoint, training)
    training.restore(point.checkpoint)
    note = schedule_note(point, training.settings)
    if note:
        report.note(note)


def _writer(stack: ExitStack, run: Run, out: str | Path | None, point: ResumePoint | None) -> RunWriter | None:
    if out is not None:
        return stack.enter_context(run_writer(out, run))
    if point and point.folder:
        return stack.enter_context(run_writer(point.folder, run, resume=True))
    return None


def _with_site_values(run: Run, training: Training) -> Run:
    """The run, its programs carrying the values of ``pyro.param`` sites, if there are any."""
    if not training.trainable.sites:
        return run
    values = training.trainable.site_values()
    return replace(run, model=ParameterizedProgram(run.model, values), guide=ParameterizedProgram(run.guide, values))


class _Loop:
    """Epochs and steps, with a checkpoint wherever one is due."""

    def __init__(
        self, training: Training, report: Reporter, writer: RunWriter | None, callbacks: Sequence[Callback]
    ) -> None:
        self.training, self.report, self.writer, self.callbacks = training, report, writer, callbacks
        self.world = training.world
        self.whole: dict[str, Any] = training.summary()

    def summary(self) -> dict[str, Any]:
        """Where training stood when all was last known to be whole."""
        return self.whole

    def run(self, interruption: Interruption) -> Ending:
        """Train to the end; why it ended."""
        training = self.training
        training.asked_to_stop = lambda: interruption.requested
        try:
            while not training.over:
                if not self._steps(interruption):
                    self._keep()
                    return "interrupted"
                row = training.end_epoch()
                self._keep()
                self.report.epoch(row)
                if self.world.any(self._callbacks(row)):
                    return "callback"
                if self.world.any(interruption.requested) and not training.over:
                    return "interrupted"
        except KeyboardInterrupt:  # a second Ctrl-C, or one that was not ours to defer
            training.restore(self.whole["checkpoint"])
            return "interrupted"
        return "all epochs" if training.epochs_done >= training.settings.epochs else "patience"

    def _steps(self, interruption: Interruption) -> bool:
        """The rest of an epoch's steps; whether all were done."""
        training, every = self.training, self.training.settings.checkpoint_every_steps
        training.enter_epoch()
        while training.steps_done < training.steps_per_epoch:
            training.step()
            self.report.step(training.total_steps, training.settings.epochs * training.steps_per_epoch)
            if interruption.requested if self.world.alone else training.stopping:
                return False
            if every and training.total_steps % every == 0 and training.steps_done < training.steps_per_epoch:
                self._keep()
        return True

    def _keep(self) -> None:
        self.whole = self.training.summary()
        if self.writer:
            self.writer.write(self.whole["checkpoint"])

    def _callbacks(self, row: dict[str, float]) -> bool:
        """Call them all; whether one says to stop."""
        training = self.training
        for module in training.trainable.modules.values():
            module.eval()
        state = EpochState(training.epochs_done, training.total_steps, dict(row), training.model, training.guide)
        noise = derived_seed(training.settings.seed, f"callbacks of epoch {training.epochs_done}")
        with isolated_rng(noise, training.device):  # else what they draw would change the training, and its resumption
            answers = [callback(state) for callback in self.callbacks]  # all are called, whatever the first says
        return any(answer is True for answer in answers)


def _require_rows(data: Data) -> None:
    """Training needs rows to learn from, and rows that choose the best epoch."""
    for name, why in (("train", "to learn from"), ("validation", "by which the best epoch is chosen")):
        if len(getattr(data, name)) == 0:
            raise DataError(f"data {data.name!r} have no {name} rows {why}. Choose a split that has some.")


def _check_names(overrides: Mapping[str, Any]) -> None:
    known = [field.name for field in fields(TrainingSettings)]
    for name in overrides:
        if name not in known:
            raise SettingsError(f"fit knows no setting {name!r}: choose from {', '.join(known)}.")
