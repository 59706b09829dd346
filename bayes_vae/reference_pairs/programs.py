"""Pairs of Pyro programs from functions, and the guides that they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from bayes_vae.guides import SingleLatentGuide
from bayes_vae.models import SingleLatentModel

__all__ = ["FunctionGuide", "FunctionModel", "NormalGuide"]

Distribution = dist.TorchDistribution


class FunctionModel(SingleLatentModel):
    """A model whose p(z) is given, and p(x given z) as a function of z.

    Args:
        prior: p(z), batch shape () and event shape (D,).
        likelihood: z of shape (*batch, D) → p(x given z), batch shape (*batch).
    """

    def __init__(self, prior: Distribution, likelihood: Callable[[Tensor], Distribution]) -> None:
        super().__init__()
        self._prior, self._likelihood = prior, likelihood
        self.latent_dim = prior.event_shape[0]
        self.data_shape = likelihood(prior.mean).event_shape

    def prior(self) -> Distribution:
        """p(z)."""
        return self._prior

    def likelihood(self, z: Tensor) -> Distribution:
        """p(x given z)."""
        return self._likelihood(z)

    def check_observations(self, x: Tensor) -> Tensor:
        """The observations are frozen, and right."""
        return x


class FunctionGuide(SingleLatentGuide):
    """A guide whose q(z given x) is a function of x.

    Args:
        posterior: x of shape (N, P) → q(z given x), batch shape (N,) and event shape (D,).
    """

    def __init__(self, posterior: Callable[[Tensor], Distribution]) -> None:
        super().__init__()
        self._posterior = posterior

    def variational_posterior(self, x: Tensor) -> Distribution:
        """q(z given x)."""
        return self._posterior(x)


class NormalGuide(SingleLatentGuide):
    """q(z given x) with independent normal dimensions, from functions; and the same guide damaged.

    Args:
        moments: x of shape (N, P) → means and deviations, each (N, D).
        factor: on the deviations.
        shift: of the means, in the deviations of ``moments``.
    """

    def __init__(
        self, moments: Callable[[Tensor], tuple[Tensor, Tensor]], factor: float = 1.0, shift: float = 0.0
    ) -> None:
        super().__init__()
        self.moments, self.factor, self.shift = moments, factor, shift

    def damaged(self, factor: float = 1.0, shift: float = 0.0) -> NormalGuide:
        """Its deviations times a factor, its means moved by so many of its deviations in every dimension."""
        return NormalGuide(self.moments, self.factor * factor, self.shift + shift)

    def variational_posterior(self, x: Tensor) -> Any:
        """q(z given x)."""
        loc, scale = self.moments(x)
        return dist.Normal(loc + self.shift * scale, (self.factor * scale).expand_as(loc)).to_event(1)


def standard_normal(dimensions: int, dtype: torch.dtype = torch.float64) -> Distribution:
    """N(0, I)."""
    normal: Distribution = dist.Normal(torch.zeros(dimensions, dtype=dtype), 1.0).to_event(1)
    return normal
