"""A pair that was trained by cross-entropy on gray pixels: as it was trained, and as a density of binarized pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyro.distributions as dist
import torch
from torch import Size, Tensor
from torch.distributions import constraints

from bayes_vae.data import Data, Split
from bayes_vae.diagnosis.measure.groups import Budget, measure
from bayes_vae.diagnosis.measure.measurement import Measurement
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.distributions import BernoulliLogits
from bayes_vae.distributions.properties import unwrap
from bayes_vae.models import SingleLatentModel
from bayes_vae.terms.exposed import exposes_distributions

__all__ = ["AsTrained", "CrossEntropy", "as_density", "as_trained", "binarized", "on_binarized"]

OF_DENSITY = ("elbo", "generalization", "balance")
"""Checks that are made on binarized pixels too."""

SHOWN = ("test_elbo", "kl_weight_of_means", "kl_weight_of_scales")
"""What is shown of them."""


class CrossEntropy(BernoulliLogits):
    r"""Minus the binary cross-entropy of values in [0, 1], which is no normalized density of them.

    .. math:: \sum_i x_i \ell_i - \log(1 + e^{\ell_i})
    """

    @property
    def support(self) -> constraints.Constraint:
        """All of [0, 1]."""
        return constraints.independent(constraints.unit_interval, len(self.event_shape))

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> CrossEntropy:
        """The same with a larger batch shape."""
        shape = Size(batch_shape)
        return CrossEntropy(self.logits.expand(shape + self.event_shape), len(self.event_shape))


class AsTrained(SingleLatentModel):
    """A model whose Bernoulli likelihood is taken for the cross-entropy that it was trained by.

    Args:
        model: with ``prior()`` and ``likelihood(z)``.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.latent_dim, self.data_shape = model.latent_dim, model.data_shape

    def prior(self) -> dist.TorchDistribution:
        """p(z)."""
        found: dist.TorchDistribution = self.model.prior()
        return found

    def likelihood(self, z: Tensor) -> dist.TorchDistribution:
        """The cross-entropy, for z of shape (*batch, D)."""
        found = self.model.likelihood(z)
        logits = unwrap(found).logits
        event = len(found.event_shape)
        return CrossEntropy(logits.expand(found.batch_shape + found.event_shape), event)


def as_trained(subject: Subject) -> Subject | None:
    """The pair on gray pixels, under the objective of its training; None where its likelihood cannot be replaced."""
    if not exposes_distributions(subject.model, subject.guide):
        return None
    return _another(subject, model=AsTrained(subject.model))


def binarized(data: Data) -> Data:
    """The same pixels, zeros and ones drawn from them: a pixel is one with the probability of its gray value."""
    train, validation, test = map(_drawn, (data.train, data.validation, data.test))
    return replace(data, kind="gray", train=train, validation=validation, test=test)


def _drawn(split: Split) -> Split:
    gray = split.values if split.values.dtype == torch.uint8 else (255 * split.values.clamp(0, 1)).round().byte()
    return replace(split, values=gray, policy="stochastic")


def on_binarized(subject: Subject) -> Subject:
    """The pair on binarized pixels."""
    return _another(subject, data=binarized(subject.data))


def as_density(subject: Subject, budget: Budget) -> dict[str, Measurement]:
    """What the pair is worth as a density: a few numbers on binarized pixels, named so."""
    of_density = on_binarized(subject)
    measure(of_density, budget, only=OF_DENSITY)
    return {f"{name}_on_binarized": of_density.measured[name] for name in SHOWN if name in of_density.measured}


def _another(subject: Subject, **changes: Any) -> Subject:
    """The subject with something changed, of which nothing was measured."""
    return replace(subject, measured={}, notes={}, void=set(), **changes)
