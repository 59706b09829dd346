"""The guide that is right: the exact posterior of a linear-Gaussian model."""

from __future__ import annotations

from typing import Protocol

import pyro.distributions as dist
from torch import Tensor

from bayes_vae.guides.guide import SingleLatentGuide

__all__ = ["ExactLinearGaussianGuide"]


class _HasExactPosterior(Protocol):
    def exact_posterior(self, x: Tensor) -> dist.TorchDistribution: ...


class ExactLinearGaussianGuide(SingleLatentGuide):
    r"""q(z \mid x) = p(z \mid x), so that every log weight equals log p(x) and the ELBO is exact.

    It has no parameters of its own: it follows the model's as they train.

    Args:
        model: a model with ``exact_posterior(x)``, such as ``LinearGaussianVAE``.

    Reference: Lucas, Tucker, Grosse, Norouzi (2019), "Don't blame the ELBO!", section 3.
    """

    def __init__(self, model: _HasExactPosterior) -> None:
        super().__init__()
        self._model = (model,)  # in a tuple: the parameters stay the model's alone

    def variational_posterior(self, x: Tensor) -> dist.TorchDistribution:
        """The exact posterior, a normal with full covariance."""
        return self._model[0].exact_posterior(x)
