"""Priors p(z): what is believed of a hypothesis before any observation."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from bayes_vae.models.named_parts import make_part
from bayes_vae.models.priors.flow import FlowPrior
from bayes_vae.models.priors.learned_normal import LearnedNormalPrior
from bayes_vae.models.priors.mixture_of_normals import MixtureOfNormalsPrior
from bayes_vae.models.priors.prior import Prior
from bayes_vae.models.priors.standard_normal import StandardNormalPrior
from bayes_vae.models.priors.vamp import VampPrior

__all__ = [
    "PRIORS",
    "FlowPrior",
    "LearnedNormalPrior",
    "MixtureOfNormalsPrior",
    "Prior",
    "StandardNormalPrior",
    "VampPrior",
    "make_prior",
]

PRIORS: dict[str, type[Prior]] = {
    kind.name: kind for kind in (StandardNormalPrior, LearnedNormalPrior, MixtureOfNormalsPrior, VampPrior, FlowPrior)
}
"""Name in settings → prior."""


def make_prior(chosen: str | Mapping[str, Any], latent_dim: int, data_shape: Sequence[int]) -> Prior:
    """The prior of a name, or of a mapping with the name under "name" and its options.

    Args:
        chosen: such as "standard-normal" or ``{"name": "mixture", "num_components": 10}``.
        latent_dim: D, the size of z.
        data_shape: shape of one observation, for a prior that holds some.

    Raises:
        SettingsError: an unknown name or option, or a number of parts below one.

    >>> make_prior("standard-normal", 3, (8, 8))().event_shape
    torch.Size([3])
    """
    name = chosen if isinstance(chosen, str) else chosen.get("name")
    kind = PRIORS.get(name) if isinstance(name, str) else None
    holds_observations = kind is not None and "data_shape" in inspect.signature(kind).parameters
    arguments = (latent_dim, data_shape) if holds_observations else (latent_dim,)
    return make_part("prior", PRIORS, chosen, *arguments)
