"""What every prior is: a distribution over z, with or without parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import pyro.distributions as dist
from torch import nn

__all__ = ["Prior"]


class Prior(nn.Module, ABC):
    """p(z): what is believed of z before any observation.

    Args:
        latent_dim: D, the size of z.
        **options: of the subclass, from which it is built again.
    """

    name: ClassVar[str]
    """As settings files name it."""

    def __init__(self, latent_dim: int, **options: Any) -> None:
        super().__init__()
        self.latent_dim, self.options = latent_dim, options

    @abstractmethod
    def forward(self) -> dist.TorchDistribution:
        """p(z); batch shape (), event shape (D,)."""
