"""Priors p(z): what is believed of a hypothesis before any observation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bayes_vae.models.parts import make_part
from bayes_vae.models.priors.base import Prior
from bayes_vae.models.priors.standard_normal import StandardNormalPrior

__all__ = ["PRIORS", "Prior", "StandardNormalPrior", "make_prior"]

PRIORS: dict[str, type[Prior]] = {kind.name: kind for kind in (StandardNormalPrior,)}
"""Name in settings → prior."""


def make_prior(chosen: str | Mapping[str, Any], latent_dim: int) -> Prior:
    """The prior of a name, or of a mapping with the name under "name" and its options.

    Args:
        chosen: such as "standard-normal" or ``{"name": "mixture", "num_components": 10}``.
        latent_dim: D, the size of z.

    Raises:
        SettingsError: an unknown name or option.

    >>> make_prior("standard-normal", 3)().event_shape
    torch.Size([3])
    """
    return make_part("prior", PRIORS, chosen, latent_dim)
