"""The state of one training: what is trained, its optimizer, where it stands, and what was measured."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from bayes_vae.data import Data, inputs_of
from bayes_vae.data.split import SplitRows
from bayes_vae.errors import NumericalError
from bayes_vae.estimators.elbo import ElboTerms, elbo_terms
from bayes_vae.objectives.objective_terms import ObjectiveTerms
from bayes_vae.runs import Checkpoint
from bayes_vae.runs.run import VALIDATION_PARTICLES
from bayes_vae.settings import TrainingSettings
from bayes_vae.terms.gathering import Share
from bayes_vae.terms.memory import check_memory
from bayes_vae.terms.program import Program, prepare_guide
from bayes_vae.terms.randomness import derived_seed
from bayes_vae.terms.rows import as_index
from bayes_vae.terms.shared_noise import SharedNoise
from bayes_vae.terms.traits import modules_of, traits_of
from bayes_vae.terms.world import ALONE, World
from bayes_vae.training.machine import autocast, keep_outputs_in_float32, set_precision
from bayes_vae.training.named_objective import objective_of
from bayes_vae.training.parameters import gather
from bayes_vae.training.schedules import kl_weight_at, learning_rate_at
from bayes_vae.training.shared_gradient import exchange, refuse_idle_processes, require_same_weights
from bayes_vae.training.state import load_optimizer, load_random, optimizer_state, random_state
from bayes_vae.training.stopping import is_over

__all__ = ["ADAM_EPSILON", "VALIDATION_PARTICLES", "Training"]

ADAM_EPSILON = 1e-4
"""Adam's ε, as Burda, Grosse, Salakhutdinov (2016) have it."""

_SUMS = ("expected_log_likelihood", "kl_to_prior", "gradient_norm")


class Training:
    """One training, between two steps.

    Args:
        model, guide: the pair.
        data: what it is trained on.
        settings: how.
        device: where.
        world: the processes that share each batch.

    Attributes:
        asked_to_stop: whether somebody asked this process to end training after the step in progress.
        stopping: whether, at the last step, any of the processes was asked.
    """

    def __init__(
        self,
        model: Program,
        guide: Program,
        data: Data,
        settings: TrainingSettings,
        device: torch.device,
        world: World = ALONE,
    ) -> None:
        self.model, self.guide, self.data, self.settings, self.device = model, guide, data, settings, device
        self.world = world
        self.asked_to_stop: Callable[[], bool] = lambda: False
        self.stopping = False
        largest = min(settings.batch_size, len(data.train))
        refuse_idle_processes(world, largest)
        at_once = -(-largest // world.size) * settings.num_particles
        check_memory(at_once * math.prod(data.data_shape), f"num_particles={settings.num_particles:,}", device)
        owners = [*modules_of(model), *modules_of(guide)]
        self.dtype = set_precision(owners, settings.precision)
        for owner in owners:
            owner.to(self.device)
        rows = torch.arange(min(3, len(data.train)), device="cpu")
        first = data.train.observations(rows).to(self.device, self.dtype)
        probe = inputs_of(model, data.train, first, rows, training=True)
        self.index = as_index(data.train.index, len(data.train), data.train.index.device)
        nothing = torch.empty(len(data.train), 0, dtype=self.dtype)
        self.labels = inputs_of(model, data.train, nothing, training=True)[1:]
        self.trainable = gather(model, guide, probe, self.index[rows].to(self.device))
        self.names, self.parameters = list(self.trainable.parameters), list(self.trainable.parameters.values())
        self.loss = objective_of(settings, model)
        self.optimizer = torch.optim.Adam(self.parameters, lr=settings.learning_rate, eps=ADAM_EPSILON, fused=True)
        self.batches = torch.Generator().manual_seed(derived_seed(settings.seed, "batches"))
        self.epochs_done = self.steps_done = self.best_epoch = 0
        self.seconds = 0.0
        self.history: list[dict[str, float]] = []
        self.best_weights = self.trainable.state()
        self.order = torch.empty(0, dtype=torch.int64, device="cpu")
        self.sums = torch.zeros(len(_SUMS), dtype=torch.float64, device="cpu")
        mixed = settings.precision == "bf16-mixed"
        self._hooks = keep_outputs_in_float32(self.trainable.modules.values()) if mixed else []

    @property
    def steps_per_epoch(self) -> int:
        """Steps in one epoch, the short last one counted."""
        return -(-len(self.data.train) // self.settings.batch_size)

    @property
    def total_steps(self) -> int:
        """Steps since the start."""
        return self.epochs_done * self.steps_per_epoch + self.steps_done

    @property
    def over(self) -> bool:
        """Whether all epochs are done, or patience is at its end."""
        return is_over(self.epochs_done, self.history, self.settings)

    def enter_epoch(self) -> None:
        """Draw the order of the next epoch, unless one is in progress."""
        for module in self.trainable.modules.values():
            module.train()
        if len(self.order) == 0:
            self.order = torch.randperm(len(self.data.train), generator=self.batches)
        batches = map(self._batch, range(self.steps_done, self.steps_per_epoch))
        self.data.train.expect(rows[self._own(rows)[0]] for rows in batches)

    def step(self) -> None:
        """One gradient step."""
        start = time.perf_counter()
        self.sums += self._step(self._batch(self.steps_done), self._position(self.steps_done))
        self.steps_done += 1
        self.seconds += time.perf_counter() - start

    def _batch(self, steps_done: int) -> Tensor:
        """The rows of a step of the epoch in progress."""
        size = self.settings.batch_size
        return self.order[steps_done * size : (steps_done + 1) * size]

    def _position(self, steps_done: int) -> float:
        """Epochs done before a step of the epoch in progress, fractions counted."""
        return self.epochs_done + steps_done / self.steps_per_epoch

    def _step(self, rows: Tensor, epochs_done: float) -> Tensor:
        """One gradient step: the batch's two terms, summed over its observations, and the gradient's norm."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(epochs_done, self.settings)
        self.loss.kl_weight = kl_weight_at(epochs_done, self.settings)
        self.optimizer.zero_grad()
        sums = self._gradient(rows) if self.world.alone else self._shared_gradient(rows)
        norm = self._clip()
        self.optimizer.step()
        found = torch.stack([*sums, norm]).cpu()
        if not all(map(math.isfinite, found[:2].tolist())):
            raise self._diverged(f"expected log likelihood {float(found[0]):g}, KL {float(found[1]):g}")
        return found

    def _gradient(self, rows: Tensor) -> list[Tensor]:
        """The gradient of the batch's mean loss; the two terms, summed over the batch."""
        terms = self._terms(rows, slice(None))
        terms.loss.mean().backward()
        return [term.detach().sum(dtype=torch.float64) for term in terms[:2]]

    def _shared_gradient(self, rows: Tensor) -> list[Tensor]:
        """The same, from the parts that each process has of the batch; one without a row takes part with nothing."""
        own, idle = self._own(rows)
        self.loss.guide_admits(self.guide, self.index[rows].to(self.device))

        def part() -> list[Tensor]:
            shared = SharedNoise(own, len(rows), self.device)
            with torch.set_grad_enabled(not idle):
                terms = self._terms(rows, own, shared)
                shared.check()
                if not idle:
                    (terms.loss.sum() / len(rows)).backward()
            return [(not idle) * term.detach().sum(dtype=torch.float64) for term in terms[:2]]

        sums, self.stopping = exchange(self.world, self.parameters, part, self.asked_to_stop)
        return list(sums.to(self.device))

    def _own(self, rows: Tensor) -> tuple[slice, bool]:
        """Which rows of a batch are this process's, and whether none is.

        It takes the first then, to draw what the others draw, so that its generator stays where theirs are.
        """
        own = self.world.share(len(rows))
        return (slice(0, 1), True) if own.start == own.stop else (own, False)

    def _terms(self, rows: Tensor, own: slice, shared: SharedNoise | None = None) -> ObjectiveTerms:
        """The objective of some rows of a batch."""
        x = self.data.train.training_batch(rows, self.batches, own).to(self.device, self.dtype)
        rows = rows[own]
        inputs, index = (x, *(labels[rows].to(self.device) for labels in self.labels)), self.index[rows].to(self.device)
        # The first epoch has looked at the support of every row, unless rows are read anew.
        seen = self.epochs_done > 0 and self.data.train.redraw is None
        with autocast(self.settings.precision, self.device):
            try:
                return self.loss.terms_of_rows(
                    self.model, self.guide, inputs, index, support_checked=seen, shared=shared
                )
            except NumericalError as error:
                raise self._diverged(str(error).rstrip(".")) from error

    def _diverged(self, found: str) -> NumericalError:
        return NumericalError(
            f"training diverged in epoch {self.epochs_done + 1}: {found}. Lower the learning rate (it is "
            f"{self.settings.learning_rate:g}), and look for values outside [0, 1] in the data and for a scale that "
            "reaches zero."
        )

    def _clip(self) -> Tensor:
        """The norm of the gradient over all parameters, as it was before it was shortened to ``clip_norm``."""
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        norm = get_total_norm(gradients)
        if self.settings.clip_norm:
            factor = (self.settings.clip_norm / norm).clamp(max=1.0)
            for gradient in gradients:
                gradient.mul_(factor.to(gradient.dtype))
        return norm.double()

    def end_epoch(self) -> dict[str, float]:
        """Measure the validation ELBO at weight 1, and record the epoch."""
        start = time.perf_counter()
        likelihood, kl = (self.sums[:2] / len(self.order)).tolist()
        row = {
            "epoch": self.epochs_done + 1,
            "learning_rate": learning_rate_at(self._position(self.steps_per_epoch - 1), self.settings),
            "kl_weight": kl_weight_at(self.epochs_done, self.settings),
            "gradient_norm": float(self.sums[2]) / self.steps_per_epoch,
            "train_elbo": likelihood - kl,
            "train_expected_log_likelihood": likelihood,
            "train_kl_to_prior": kl,
            **self._checked_validation(),
            "train_seconds": self.seconds,
            "seconds": self.seconds + time.perf_counter() - start,
        }
        best = max((past["validation_elbo"] for past in self.history), default=-float("inf"))
        self.history.append(row)
        self.epochs_done += 1
        if row["validation_elbo"] > best:
            self.best_weights, self.best_epoch = self.trainable.state(), self.epochs_done
        self.order, self.steps_done, self.seconds = self.order[:0], 0, 0.0
        self.sums = torch.zeros_like(self.sums)
        return row

    def _checked_validation(self) -> dict[str, float]:
        try:
            return self._validation()
        except NumericalError as error:
            raise self._diverged(str(error).rstrip(".")) from error

    def _validation(self) -> dict[str, float]:
        require_same_weights(self.world, self.parameters)
        averages = self._validation_terms().averages()
        return {
            "validation_elbo": averages["elbo"].value,
            "validation_elbo_error": averages["elbo"].total_error,
            "validation_expected_log_likelihood": averages["expected_log_likelihood"].value,
            "validation_kl_to_prior": averages["kl_to_prior"].value,
        }

    def _validation_terms(self) -> ElboTerms:
        """The terms of every validation row; of several processes each evaluates its share."""
        split, count = self.data.validation, len(self.data.validation)
        # A guide that is fitted to the rows keeps what it finds, so each process needs all of it; and where noise is
        # not of each observation, rows get that of the whole only as a whole.
        prepared = traits_of(self.guide).prepare is not None
        divided = count >= self.world.size and self.loss.keyed and not prepared
        share = Share.of(self.world if divided else ALONE, count)

        def part() -> ElboTerms:
            drawn = split[share.own].seeded(derived_seed(self.settings.seed, "validation"))
            rows = SplitRows(drawn, self.model, self.device, self.dtype)
            if prepared:
                prepare_guide(self.model, self.guide, rows.read()[0], rows.index, again=self.epochs_done > 0)
            return elbo_terms(self.model, self.guide, rows, VALIDATION_PARTICLES, seed=self.settings.seed)

        return share.gathered(share.world.together(part))

    def checkpoint(self) -> Checkpoint:
        """A copy of all that is needed to go on from here."""
        return Checkpoint(
            epochs_done=self.epochs_done,
            steps_done=self.steps_done,
            seconds=self.seconds,
            best_epoch=self.best_epoch,
            weights=self.trainable.state(),
            best_weights=self.best_weights,
            optimizer=optimizer_state(self.optimizer, self.names),
            random=random_state(self.batches, self.device),
            epoch={"order": self.order.clone(), "sums": self.sums.clone()},
            history=[dict(row) for row in self.history],
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to, or on from, where a checkpoint was taken."""
        self.epochs_done, self.steps_done = checkpoint.epochs_done, checkpoint.steps_done
        self.seconds, self.best_epoch = checkpoint.seconds, checkpoint.best_epoch
        self.trainable.load(checkpoint.weights)
        self.best_weights = checkpoint.best_weights
        load_optimizer(self.optimizer, self.names, checkpoint.optimizer)
        load_random(checkpoint.random, self.batches, self.device)
        self.order, self.sums = checkpoint.epoch["order"].clone(), checkpoint.epoch["sums"].clone()
        self.history = [dict(row) for row in checkpoint.history]

    def close(self) -> None:
        """Put the best weights in place, in evaluation mode, and take off what was put on the modules."""
        self.trainable.load(self.best_weights)
        for hook in self._hooks:
            hook.remove()
        for module in self.trainable.modules.values():
            module.eval()

    def summary(self) -> dict[str, Any]:
        """What a :class:`~bayes_vae.runs.Run` has of the state."""
        checkpoint = self.checkpoint()
        return {
            "history": checkpoint.history,
            "best_state": checkpoint.best_weights,
            "last_state": checkpoint.weights,
            "best_epoch": checkpoint.best_epoch,
            "checkpoint": checkpoint,
            "parameter_names": tuple(self.names),
        }
