"""When to stop before the last epoch: a pure function of the history, so it needs no state of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bayes_vae.settings import TrainingSettings

__all__ = ["epochs_without_progress", "is_over", "out_of_patience"]


def epochs_without_progress(elbos: Sequence[float], min_delta: float = 0.0, skip: int = 0, cycle: int = 0) -> int:
    """Epochs since the validation ELBO last rose by more than ``min_delta`` above the value that last counted.

    Args:
        elbos: validation ELBO at KL weight 1 of each epoch, nats; larger is better.
        min_delta: nats by which a rise must exceed.
        skip: epochs at the start that do not count against it: those in which the weight of the KL rises.
        cycle: epochs after which it starts again from 0, and as many again do not count; 0 for never.

    >>> epochs_without_progress([-9.0, -8.0, -8.2, -8.1])
    2
    >>> epochs_without_progress([-9.0, -8.0, -7.9, -7.8], min_delta=0.5)
    2
    >>> epochs_without_progress([-8.0, -9.0, -9.0], skip=2)
    1
    >>> epochs_without_progress([-9.0, -9.0, -8.0, -8.5, -9.0, -9.0, -8.5], skip=2, cycle=4)
    2
    """
    reference, since = -float("inf"), 0
    for epoch, elbo in enumerate(elbos):
        if elbo > reference + min_delta:
            reference, since = elbo, epoch + 1
    return sum(1 for epoch in range(since, len(elbos)) if (epoch % cycle if cycle else epoch) >= skip)


def out_of_patience(history: Sequence[Mapping[str, float]], settings: TrainingSettings) -> bool:
    """Whether training stops here because the validation ELBO has stopped rising."""
    if settings.patience == 0:
        return False
    elbos = [row["validation_elbo"] for row in history]
    rise, cycle = settings.kl_warmup_epochs, settings.kl_cycle_epochs
    return epochs_without_progress(elbos, settings.min_delta, rise, cycle) >= settings.patience


def is_over(epochs_done: int, history: Sequence[Mapping[str, float]], settings: TrainingSettings) -> bool:
    """Whether all epochs are done, or patience is at its end."""
    return epochs_done >= settings.epochs or out_of_patience(history, settings)
