"""What every prior is: a distribution over z, with or without parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import pyro.distributions as dist
from torch import Tensor, nn

from bayes_vae.errors import SettingsError
from bayes_vae.parts.registry import part_of

__all__ = ["SCALE_FLOOR", "Prior"]

SCALE_FLOOR = 1e-3
"""No scale of a prior is smaller: a component cannot shrink onto a point."""


class Prior(nn.Module, ABC):
    """p(z): what is believed of z before any observation.

    Args:
        latent_dim: D, the size of z.
        **options: of the subclass, from which it is built again.

    Raises:
        SettingsError: an option that is a number of parts, ``num_…``, and below one.
    """

    def __init__(self, latent_dim: int, **options: Any) -> None:
        super().__init__()
        for option, value in options.items():
            if option.startswith("num_") and not (hasattr(value, "__index__") and value >= 1):
                raise SettingsError(
                    f"{option} of the prior {self.name!r} must be a whole number of at least 1, got {value!r}."
                )
        self.latent_dim, self.options = latent_dim, options

    @property
    def name(self) -> str:
        """As settings files name it."""
        return part_of(type(self)).name

    @abstractmethod
    def forward(self) -> dist.TorchDistribution:
        """p(z); batch shape (), event shape (D,)."""

    @property
    def guide(self) -> Any:
        """The guide that p(z) is made of; None where it is made of none."""
        return None

    def attach_guide(self, guide: Any) -> None:
        """Take note of the pair's guide; a prior that is made of no guide ignores it."""

    def start_at(self, x: Tensor) -> None:
        """Start from training observations, shape (N, *data_shape); a prior that holds none ignores them."""

    def start_at_codes(self, z: Tensor) -> None:
        """Start where codes are, draws of q, shape (M, D); a prior without a place and a width of its own ignores them.

        Args:
            z: M of at least 2.
        """
