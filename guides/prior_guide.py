"""The prior as the guide: what inference without looking at x is worth."""

from __future__ import annotations

from typing import Protocol

import pyro.distributions as dist
from torch import Tensor

from bayes_vae.guides.guide import SingleLatentGuide

__all__ = ["PriorGuide"]


class _HasPrior(Protocol):
    def prior(self) -> dist.TorchDistribution: ...


class PriorGuide(SingleLatentGuide):
    r"""q(z \mid x) = p(z), whatever x is: for teaching.

    .. math:: \mathrm{KL}(q \,\|\, p) = 0, \qquad \mathrm{ELBO}(x) = E_{p(z)} \log p(x \mid z)

    It has no parameters, and no observation changes what it says. The importance weight of a draw is p(x given z), so
    L_K is the plain Monte-Carlo estimate of p(x): right in the limit, and hopeless where few hypotheses explain x.

    Args:
        model: a model with ``prior()``.
    """

    def __init__(self, model: _HasPrior) -> None:
        super().__init__()
        self._model = (model,)  # in a tuple: the parameters stay the model's alone

    def variational_posterior(self, x: Tensor) -> dist.TorchDistribution:
        """The prior, once for each observation."""
        prior = self._model[0].prior()
        expanded: dist.TorchDistribution = prior.expand((len(x),))
        return expanded
