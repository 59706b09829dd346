"""Likelihoods p(x given z): what the decoder's numbers mean, and which data they fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bayes_vae.models.likelihoods.bernoulli import BernoulliLikelihood
from bayes_vae.models.likelihoods.categorical import CategoricalLikelihood
from bayes_vae.models.likelihoods.continuous_bernoulli import ContinuousBernoulliLikelihood
from bayes_vae.models.likelihoods.discretized_logistic import DiscretizedLogisticLikelihood
from bayes_vae.models.likelihoods.likelihood import Likelihood
from bayes_vae.models.likelihoods.negative_binomial import NegativeBinomialLikelihood
from bayes_vae.models.likelihoods.normal import NormalLikelihood
from bayes_vae.models.named_parts import make_part

__all__ = [
    "LIKELIHOODS",
    "BernoulliLikelihood",
    "CategoricalLikelihood",
    "ContinuousBernoulliLikelihood",
    "DiscretizedLogisticLikelihood",
    "Likelihood",
    "NegativeBinomialLikelihood",
    "NormalLikelihood",
    "make_likelihood",
]

LIKELIHOODS: dict[str, type[Likelihood]] = {
    kind.name: kind
    for kind in (
        BernoulliLikelihood,
        ContinuousBernoulliLikelihood,
        NormalLikelihood,
        DiscretizedLogisticLikelihood,
        CategoricalLikelihood,
        NegativeBinomialLikelihood,
    )
}
"""Name in settings → likelihood."""


def make_likelihood(chosen: str | Mapping[str, Any], data_shape: Sequence[int]) -> Likelihood:
    """The likelihood of a name, or of a mapping with the name under "name" and its options.

    Args:
        chosen: such as "bernoulli" or ``{"name": "normal", "scale": 0.1}``.
        data_shape: shape of one observation.

    Raises:
        SettingsError: an unknown name or option.

    >>> make_likelihood("bernoulli", (8, 8)).num_outputs
    64
    """
    return make_part("likelihood", LIKELIHOODS, chosen, data_shape)
