"""What changes while training: the learning rate and the weight of the KL. Pure functions of how far training is."""

from __future__ import annotations

import math

from bayes_vae.objectives import Cyclical, WarmUp
from bayes_vae.settings import TrainingSettings

__all__ = [
    "burda_learning_rate",
    "cosine_learning_rate",
    "kl_weight_at",
    "learning_rate_at",
    "steps_learning_rate",
]


def learning_rate_at(epochs_done: float, settings: TrainingSettings) -> float:
    """The learning rate of the next step.

    Of the schedules only ``cosine`` depends on the number of epochs in all.

    Args:
        epochs_done: epochs done so far, fractions counted.
        settings: with the schedule and its numbers.

    >>> [learning_rate_at(epoch, TrainingSettings(schedule="constant", learning_rate=0.01)) for epoch in (0.0, 9.5)]
    [0.01, 0.01]
    """
    if settings.schedule == "constant":
        return settings.learning_rate
    if settings.schedule == "steps":
        return steps_learning_rate(epochs_done, settings.learning_rate, settings.step_epochs, settings.step_factor)
    if settings.schedule == "burda":
        return burda_learning_rate(epochs_done, settings.learning_rate)
    return cosine_learning_rate(epochs_done / settings.epochs, settings.learning_rate, settings.final_learning_rate)


def cosine_learning_rate(progress: float, start: float, end: float) -> float:
    """Half a cosine from ``start`` to ``end``.

    Args:
        progress: part of the steps that are done, in [0, 1].
        start, end: learning rates.

    >>> [round(cosine_learning_rate(progress, 3.0, 1.0), 3) for progress in (0.0, 0.25, 0.5, 1.0)]
    [3.0, 2.707, 2.0, 1.0]
    """
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def steps_learning_rate(epochs_done: float, start: float, step_epochs: int, factor: float) -> float:
    """Times ``factor`` after every ``step_epochs`` epochs.

    >>> [steps_learning_rate(epoch, 8.0, step_epochs=10, factor=0.5) for epoch in (0.0, 9.9, 10.0, 20.0)]
    [8.0, 8.0, 4.0, 2.0]
    """
    return float(start * factor ** int(epochs_done // step_epochs))


def burda_learning_rate(epochs_done: float, start: float = 1e-3) -> float:
    r"""The published schedule: :math:`10^{-3} \cdot 10^{-i/7}` for :math:`3^i` epochs, i = 0…7; then the last rate.

    Args:
        epochs_done: of the 3,280 in all.
        start: 1e-3 as published.

    >>> [f"{burda_learning_rate(epoch):.6f}" for epoch in (0, 1, 3.99, 4, 12, 13, 1093, 3279, 9999)]
    ['0.001000', '0.000720', '0.000720', '0.000518', '0.000518', '0.000373', '0.000100', '0.000100', '0.000100']

    Reference: Burda, Grosse, Salakhutdinov (2016), section 5.
    """
    stage, end = 0, 1
    while stage < 7 and epochs_done >= end:
        stage += 1
        end += 3**stage
    return float(start * 10 ** (-stage / 7))


def kl_weight_at(epoch: float, settings: TrainingSettings) -> float:
    """The weight of the KL: a straight rise from 0 to ``kl_weight``, once or anew in every cycle.

    Args:
        epoch: epochs done so far, fractions counted.
        settings: with the weight, the epochs of the rise, and those of a cycle.

    >>> [kl_weight_at(epoch, TrainingSettings(kl_warmup_epochs=4)) for epoch in (0.0, 1.0, 4.0, 9.0)]
    [0.0, 0.25, 1.0, 1.0]
    >>> [kl_weight_at(epoch, TrainingSettings(kl_warmup_epochs=4, kl_cycle_epochs=8)) for epoch in (4.0, 7.5, 8.0, 9.0)]
    [1.0, 1.0, 0.0, 0.25]

    Reference: Fu et al. (2019), "Cyclical annealing schedule: a simple approach to mitigating KL vanishing".
    """
    if settings.kl_warmup_epochs == 0:
        return settings.kl_weight
    if settings.kl_cycle_epochs:
        return Cyclical(settings.kl_cycle_epochs, settings.kl_warmup_epochs, settings.kl_weight)(epoch)
    return WarmUp(settings.kl_warmup_epochs, settings.kl_weight)(epoch)
