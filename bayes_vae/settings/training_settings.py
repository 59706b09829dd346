"""How a pair is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from bayes_vae.errors import SettingsError
from bayes_vae.parts.registry import find, listed, names, rows
from bayes_vae.settings.literals import KlChoice, Objective, Precision, Schedule
from bayes_vae.settings.setting_types import at_least, check_types, one_of


@dataclass(frozen=True)
class TrainingSettings:
    """How the pair is trained by SVI.

    Args:
        epochs: passes over the training images.
        batch_size: images in one step.
        learning_rate: Adam's learning rate at the start.
        schedule: how the learning rate falls: cosine (to final_learning_rate, over all epochs), constant, steps (times
            step_factor every step_epochs epochs), or burda (times 10^(-i/7) for 3^i epochs, i = 0 to 7; the published
            one starts at 0.001).
        final_learning_rate: learning rate at the end of the cosine schedule; the others ignore it.
        step_epochs: epochs between two falls of the learning rate in the schedule steps.
        step_factor: the factor by which the schedule steps multiplies the learning rate.
        clip_norm: largest norm of the gradient over all parameters; a larger gradient is scaled down to it; 0 for none.
        patience: epochs after which training stops if the validation ELBO has not risen; 0 to never stop early.
            Epochs in which the weight of the KL rises do not count.
        min_delta: nats by which the validation ELBO must rise to count.
        objective: what training maximizes.
        kl: analytic, sampled, or auto (the closed form where there is one).
        num_particles: draws from q for each image and step.
        kl_weight: weight of the KL in the training objective; evaluation always uses 1.
        kl_warmup_epochs: epochs over which the weight rises from 0 to kl_weight.
        kl_cycle_epochs: epochs after which the weight starts again from 0 and rises again; 0 for never.
        free_bits: nats of KL in each latent dimension of each image that are not penalized; needs a factorized normal
            pair.
        checkpoint_every_steps: steps between checkpoints within an epoch; 0 for only one at each epoch's end.
        seed: of the initial weights, the batches and the noise.
        device: cpu, cuda, or auto.
        precision: floating-point precision of training: 32, bf16-mixed (matrix products in bfloat16) or 64.
    """

    epochs: int = 20
    batch_size: int = 100
    learning_rate: float = 3e-3
    schedule: Schedule = "cosine"
    final_learning_rate: float = 2e-5
    step_epochs: int = 10
    step_factor: float = 0.5
    clip_norm: float = 0.0
    patience: int = 0
    min_delta: float = 0.0
    objective: Objective = "elbo"
    kl: KlChoice = "auto"
    num_particles: int = 1
    kl_weight: float = 1.0
    kl_warmup_epochs: int = 0
    kl_cycle_epochs: int = 0
    free_bits: float = 0.0
    checkpoint_every_steps: int = 0
    seed: int = 0
    device: str = "auto"
    precision: Precision = "32"

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("epochs", "batch_size", "num_particles", "step_epochs"):
            at_least(name, getattr(self, name), 1)
        for name in (
            "kl_weight",
            "kl_warmup_epochs",
            "kl_cycle_epochs",
            "free_bits",
            "clip_norm",
            "patience",
            "min_delta",
            "checkpoint_every_steps",
        ):
            at_least(name, getattr(self, name), 0)
        one_of("objective", self.objective, names("objective"))
        one_of("kl", self.kl, get_args(KlChoice))
        one_of("schedule", self.schedule, get_args(Schedule))
        one_of("precision", self.precision, get_args(Precision))
        if not 0 < self.step_factor <= 1:
            raise SettingsError(f"step_factor must be above 0 and at most 1, got {self.step_factor:g}.")
        if self.schedule != "cosine" and not self.learning_rate > 0:
            raise SettingsError(f"learning_rate must be above 0, got {self.learning_rate:g}.")
        if self.schedule == "cosine" and not 0 < self.final_learning_rate <= self.learning_rate:
            raise SettingsError(
                "the learning rates need 0 < final_learning_rate <= learning_rate, got "
                f"learning_rate={self.learning_rate:g} and final_learning_rate={self.final_learning_rate:g}."
            )
        self._check_cycle()
        self._check_objective()

    def _check_cycle(self) -> None:
        if self.kl_cycle_epochs and not 0 < self.kl_warmup_epochs < self.kl_cycle_epochs:
            raise SettingsError(
                "a cycle of the KL weight needs 0 < kl_warmup_epochs < kl_cycle_epochs, so that it rises and then "
                f"stays at kl_weight, got kl_warmup_epochs={self.kl_warmup_epochs} and "
                f"kl_cycle_epochs={self.kl_cycle_epochs}."
            )

    def _check_objective(self) -> None:
        """Refuse what the objective does not take."""
        taken = find("objective", self.objective).options
        if self.free_bits and ("free_bits" not in taken or self.kl == "sampled"):
            raise SettingsError(
                "free_bits are taken off the closed-form KL of each latent dimension, which only objective 'elbo' has: "
                f"they do not go with objective {self.objective!r} and kl {self.kl!r}. Leave free_bits out, or choose "
                "objective 'elbo' and kl 'auto'."
            )
        if "kl" not in taken and self.kl == "analytic":
            raise SettingsError(
                f"kl 'analytic' does not go with objective {self.objective!r}, which weighs p(x, z) against "
                "q(z given x) at each draw: a closed form has no draws. Leave kl out, or choose objective 'elbo'."
            )
        if "kl_weight" not in taken:
            self._check_bound()

    def _check_bound(self) -> None:
        others = listed(part.name for part in rows("objective") if "kl_weight" in part.options)
        if self.kl_weight != 1 or self.kl_warmup_epochs or self.kl_cycle_epochs:
            raise SettingsError(
                f"objective {self.objective!r} has no KL to weigh: L_K is the logarithm of a mean of weights "
                "p(x, z) / q(z given x), and has no separate KL. Leave out kl_weight, kl_warmup_epochs and "
                f"kl_cycle_epochs, or choose objective {others}."
            )
        if self.num_particles == 1:
            raise SettingsError(
                f"objective {self.objective!r} with num_particles=1 is the ELBO: give at least 2, or choose objective "
                f"{others}."
            )
