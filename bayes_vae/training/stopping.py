"""When to stop before the last epoch: a pure function of the history, so it needs no state of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bayes_vae.settings import TrainingSettings

__all__ = ["epochs_without_progress", "is_over", "out_of_patience"]


def epochs_without_progress(elbos: Sequence[float], min_delta: float = 0.0, skip: int = 0) -> int:
    """Epochs since the validation ELBO last rose by more than ``min_delta`` above the value that last counted.

    Args:
        elbos: validation ELBO at KL weight 1 of each epoch, nats; larger is better.
        min_delta: nats by which a rise must exceed.
        skip: epochs at the start that do not count against it: the KL's warm-up.

    >>> epochs_without_progress([-9.0, -8.0, -8.2, -8.1])
    2
    >>> epochs_without_progress([-9.0, -8.0, -7.9, -7.8], min_delta=0.5)
    2
    >>> epochs_without_progress([-8.0, -9.0, -9.0], skip=2)
    1
    """
    reference, since = -float("inf"), 0
    for epoch, elbo in enumerate(elbos, 1):
        if elbo > reference + min_delta:
            reference, since = elbo, epoch
    return max(0, len(elbos) - max(since, skip))


def out_of_patience(history: Sequence[Mapping[str, float]], settings: TrainingSettings) -> bool:
    """Whether training stops here because the validation ELBO has stopped rising."""
    if settings.patience == 0:
        return False
    elbos = [row["validation_elbo"] for row in history]
    return epochs_without_progress(elbos, settings.min_delta, settings.kl_warmup_epochs) >= settings.patience


def is_over(epochs_done: int, history: Sequence[Mapping[str, float]], settings: TrainingSettings) -> bool:
    """Whether all epochs are done, or patience is at its end."""
    return epochs_done >= settings.epochs or out_of_patience(history, settings)
