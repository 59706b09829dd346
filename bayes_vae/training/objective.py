"""The objective that the settings name."""

from __future__ import annotations

from bayes_vae.objectives import (
    DoublyReparameterizedObjective,
    Elbo,
    ImportanceWeightedObjective,
    Objective,
    StickingTheLandingObjective,
)
from bayes_vae.settings import TrainingSettings

__all__ = ["objective_of"]


def objective_of(settings: TrainingSettings) -> Objective:
    """The objective of a training, its KL weight left at ``kl_weight``: the schedule is in epochs, and not its own."""
    count = settings.num_particles
    if settings.objective == "importance-weighted":
        return ImportanceWeightedObjective(count)
    if settings.objective == "doubly-reparameterized":
        return DoublyReparameterizedObjective(count)
    if settings.objective == "sticking-the-landing":
        return StickingTheLandingObjective(count, kl_weight=settings.kl_weight)
    return Elbo(count, kl=settings.kl, kl_weight=settings.kl_weight, free_bits=settings.free_bits)
