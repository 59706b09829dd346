"""What changes while training: the learning rate and the weight of the KL."""

from __future__ import annotations

import math

from bayes_vae.settings import TrainingSettings

__all__ = ["kl_weight_at", "learning_rate_at"]


def learning_rate_at(progress: float, settings: TrainingSettings) -> float:
    """Cosine decay from ``learning_rate`` to ``final_learning_rate``.

    Args:
        progress: part of the steps that are done, in [0, 1].
    """
    low, high = settings.final_learning_rate, settings.learning_rate
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def kl_weight_at(epoch: float, settings: TrainingSettings) -> float:
    """Linear warm-up from 0 to ``kl_weight`` over ``kl_warmup_epochs``.

    Args:
        epoch: epochs done so far, fractions counted.

    >>> kl_weight_at(1.0, TrainingSettings(kl_warmup_epochs=4))
    0.25
    """
    if settings.kl_warmup_epochs == 0:
        return settings.kl_weight
    return settings.kl_weight * min(1.0, epoch / settings.kl_warmup_epochs)
