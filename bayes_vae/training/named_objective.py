"""The objective that the settings name."""

from __future__ import annotations

from bayes_vae.errors import SettingsError
from bayes_vae.objectives import EnumeratedElbo, Objective
from bayes_vae.parts.registry import find, names
from bayes_vae.settings import TrainingSettings
from bayes_vae.terms.program import Program
from bayes_vae.terms.traits import traits_of

__all__ = ["objective_of"]


def objective_of(settings: TrainingSettings, model: Program | None = None) -> Objective:
    """The objective of a training, its KL weight left at ``kl_weight``: the schedule is in epochs, and not its own.

    Args:
        settings: of the training.
        model: one with ``infers_labels`` has a discrete latent, over which the ELBO sums.

    Raises:
        SettingsError: another objective than the ELBO, or a KL of its own, for such a model.
    """
    if model is not None and traits_of(model).infers_labels:
        _refuse_unsummed(settings)
        return EnumeratedElbo(settings.num_particles, kl_weight=settings.kl_weight)
    part = find("objective", settings.objective)
    objective: Objective = part.cls(**{argument: getattr(settings, name) for name, argument in part.options.items()})
    return objective


def _refuse_unsummed(settings: TrainingSettings) -> None:
    """Refuse what the ELBO with a label summed over does not have."""
    allowed = {"objective": names("objective", "sums over labels"), "free_bits": (0,), "kl": ("auto", "sampled")}
    for name, values in allowed.items():
        chosen = getattr(settings, name)
        if chosen not in values:
            raise SettingsError(
                f"{name} must be {' or '.join(map(str, values))} for a model whose label is a latent, got {chosen}: "
                "training sums the ELBO over the classes, with a sampled KL."
            )
