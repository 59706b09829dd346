"""Training a pair by stochastic variational inference."""

from __future__ import annotations

import time
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from bayes_vae.data import Data
from bayes_vae.elbo import elbo_terms
from bayes_vae.errors import DataError, NumericalError, SettingsError
from bayes_vae.objectives import Elbo, ObjectiveTerms
from bayes_vae.randomness import derived_seed, isolated_rng
from bayes_vae.runs import ParameterizedProgram, Run
from bayes_vae.settings import TrainingSettings, as_json
from bayes_vae.terms.program import Program
from bayes_vae.training.parameters import Trainable, gather, own_store
from bayes_vae.training.reporting import ProgressStyle, Reporter, reporter
from bayes_vae.training.schedules import kl_weight_at, learning_rate_at

__all__ = ["ADAM_EPSILON", "VALIDATION_PARTICLES", "fit"]

ADAM_EPSILON = 1e-4
"""Adam's ε, as Burda, Grosse, Salakhutdinov (2016) have it."""

VALIDATION_PARTICLES = 2
"""Draws from q for each validation image, after each epoch."""


class _Objective(nn.Module):
    """The ELBO's terms of a batch, called as a module so that Fabric can wrap it."""

    def __init__(self, model: Program, guide: Program, trainable: Trainable, num_particles: int) -> None:
        super().__init__()
        self._pair, self._elbo = (model, guide), Elbo(num_particles)
        self.parts = nn.ModuleDict(trainable.modules)

    def forward(self, x: Tensor, index: Tensor) -> ObjectiveTerms:
        return self._elbo.terms(*self._pair, x, index=index)


class _Training:
    """The state of one training: what is trained, its optimizer, and what was measured."""

    def __init__(self, model: Program, guide: Program, data: Data, settings: TrainingSettings) -> None:
        from lightning_fabric import Fabric

        self.model, self.guide, self.data, self.settings = model, guide, data, settings
        device = torch.device(_device(settings.device))
        devices = 1 if device.index is None else [device.index]
        self.fabric = Fabric(accelerator=device.type, devices=devices)
        probe = data.train.observations(torch.arange(min(3, len(data.train)))).to(self.fabric.device)
        index = data.train.index[: len(probe)].to(self.fabric.device)
        for program in (model, guide):
            if isinstance(program, nn.Module):
                program.to(self.fabric.device)
        self.trainable = gather(model, guide, (probe,), index)
        objective = _Objective(model, guide, self.trainable, settings.num_particles)
        optimizer = torch.optim.Adam(
            list(self.trainable.parameters.values()), lr=settings.learning_rate, eps=ADAM_EPSILON, fused=True
        )
        self.objective, self.optimizer = self.fabric.setup(objective, optimizer)
        self.history: list[dict[str, float]] = []
        self.best_state = self.last_state = self.trainable.state()
        self.best_epoch = 0

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.data.train) // self.settings.batch_size)

    def epoch(self, number: int, batches: torch.Generator) -> dict[str, float]:
        """One pass over the training data, then the validation ELBO at weight 1."""
        start = time.perf_counter()
        for module in self.trainable.modules.values():
            module.train()
        sums = torch.zeros(2, dtype=torch.float64)
        order = torch.randperm(len(self.data.train), generator=batches)
        for step, rows in enumerate(order.split(self.settings.batch_size)):
            done = number - 1 + step / self.steps_per_epoch
            sums += self._step(rows, done, batches)
        likelihood, kl = (sums / len(order)).tolist()
        train_seconds = time.perf_counter() - start
        return {
            "epoch": number,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "kl_weight": kl_weight_at(number - 1, self.settings),
            "train_elbo": likelihood - kl,
            "train_expected_log_likelihood": likelihood,
            "train_kl_to_prior": kl,
            **self._validation(),
            "train_seconds": train_seconds,
            "seconds": time.perf_counter() - start,
        }

    def _step(self, rows: Tensor, epochs_done: float, batches: torch.Generator) -> Tensor:
        """One gradient step; the batch's two terms, summed over its observations."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(epochs_done / self.settings.epochs, self.settings)
        x = self.data.train.training_batch(rows, batches).to(self.fabric.device)
        terms = self.objective(x, self.data.train.index[rows].to(self.fabric.device))
        weight = kl_weight_at(epochs_done, self.settings)
        negative_elbo = (weight * terms.kl_to_prior - terms.expected_log_likelihood).mean()
        self.optimizer.zero_grad()
        self.fabric.backward(negative_elbo)
        self.optimizer.step()
        sums = torch.stack([term.detach().sum() for term in terms]).double().cpu()
        if not torch.isfinite(sums).all():
            raise NumericalError(
                f"training diverged in epoch {int(epochs_done) + 1}: expected log likelihood {float(sums[0]):g}, KL "
                f"{float(sums[1]):g}. Lower the learning rate (it is {self.settings.learning_rate:g}), and look for "
                "values outside [0, 1] in the data and for a scale that reaches zero."
            )
        return sums

    def _validation(self) -> dict[str, float]:
        split = self.data.validation
        x = split.observations(seed=derived_seed(self.settings.seed, "validation"), device=self.fabric.device)
        index = split.index.to(self.fabric.device)
        terms = elbo_terms(self.model, self.guide, x, VALIDATION_PARTICLES, seed=self.settings.seed, index=index)
        averages = terms.averages()
        return {
            "validation_elbo": averages["elbo"].value,
            "validation_elbo_error": averages["elbo"].total_error,
            "validation_expected_log_likelihood": averages["expected_log_likelihood"].value,
            "validation_kl_to_prior": averages["kl_to_prior"].value,
        }

    def record(self, row: dict[str, float]) -> None:
        """Keep an epoch's figures, its weights as the last, and as the best if they are."""
        best = max((past["validation_elbo"] for past in self.history), default=-float("inf"))
        self.history.append(row)
        self.last_state = self.trainable.state()
        if row["validation_elbo"] > best:
            self.best_state, self.best_epoch = self.last_state, int(row["epoch"])


def fit(
    model: Program,
    guide: Program,
    data: Data,
    settings: TrainingSettings | None = None,
    *,
    progress: ProgressStyle = "auto",
    **overrides: Any,
) -> Run:
    r"""Train a pair on a data set by SVI on the ELBO.

    .. math:: \min -\frac1N \sum_n \Big( E_q \log p(x_n \mid z) - \beta \, \mathrm{KL}(q(z \mid x_n) \,\|\, p(z)) \Big)

    Adam with a cosine learning rate; after each epoch the ELBO of the validation split at KL weight 1. The modules are
    trained in place and end with the weights of the best epoch. Pyro's parameter store and torch's random state stay as
    they were. Ctrl-C ends training after the last whole epoch.

    Args:
        model, guide: Pyro programs. Parameters are taken from modules, from the owners of bound methods and from the
            ``pyro.param`` sites of one traced step.
        data: from :func:`bayes_vae.load_data`.
        settings: see :class:`bayes_vae.settings.TrainingSettings`.
        progress: "auto" (a bar on a terminal, else lines), "bar", "lines" or "none"; written to standard error.
        **overrides: single settings, e.g. ``epochs=5``.

    Returns:
        the :class:`bayes_vae.runs.Run`. Its ``model`` and ``guide`` carry the values of ``pyro.param`` sites.

    Raises:
        ProgramError: nothing to train, a scaled site, or a latent without ``rsample``.
        NumericalError: training diverged.
    """
    settings = _settings(settings or TrainingSettings(), overrides)
    if not isinstance(data, Data):
        raise DataError(
            f"fit takes a data set with its policy, got {type(data).__name__}: pass bayes_vae.load_data(...) of it."
        )
    report = reporter(progress)
    with own_store(model, guide), isolated_rng(derived_seed(settings.seed, "training"), _device(settings.device)):
        training = _Training(model, guide, data, settings)
        report.start(tuple(training.trainable.parameters), settings.epochs)
        interrupted = _run_epochs(training, report)
        training.trainable.load(training.best_state)
        for module in training.trainable.modules.values():
            module.eval()
        if training.trainable.sites:
            values = training.trainable.site_values()
            model, guide = ParameterizedProgram(model, values), ParameterizedProgram(guide, values)
    return Run(
        model=model,
        guide=guide,
        settings={"training": as_json(settings)},
        data=data.summary(),
        history=training.history,
        best_state=training.best_state,
        last_state=training.last_state,
        best_epoch=training.best_epoch,
        interrupted=interrupted,
        parameter_names=tuple(training.trainable.parameters),
    )


def _run_epochs(training: _Training, report: Reporter) -> bool:
    """Run the epochs; whether they were interrupted."""
    batches = torch.Generator().manual_seed(derived_seed(training.settings.seed, "batches"))
    try:
        for number in range(1, training.settings.epochs + 1):
            row = training.epoch(number, batches)
            training.record(row)
            report.epoch(row)
    except KeyboardInterrupt:
        if not training.history:
            raise
        return True
    finally:
        report.close()
    return False


def _settings(settings: TrainingSettings, overrides: dict[str, Any]) -> TrainingSettings:
    known = [field.name for field in fields(TrainingSettings)]
    for name in overrides:
        if name not in known:
            raise SettingsError(f"fit knows no setting {name!r}: choose from {', '.join(known)}.")
    return replace(settings, **overrides)


def _device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return str(torch.device(device))
    except RuntimeError:
        raise SettingsError(f"unknown device {device!r}: use cpu, cuda, cuda:0, … or auto.") from None
