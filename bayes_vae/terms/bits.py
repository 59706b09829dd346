"""From nats to bits per dimension, where there are bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from bayes_vae.errors import NotDefinedError, SettingsError
from bayes_vae.terms.traits import traits_of

__all__ = ["bits_per_dimension"]

Nats = TypeVar("Nats", float, Tensor)


def bits_per_dimension(log_probability: Nats, model: Any) -> Nats:
    r"""Bits that one number of an observation costs; smaller is better.

    .. math:: -\frac{\log p(x)}{P \log 2}, \qquad P \text{ numbers in an observation}

    Only of a probability: a density depends on the unit that x is measured in, so its bits mean nothing.

    Args:
        log_probability: log p(x) or a bound on it, in nats per observation: a number, or shape (N,).
        model: with ``data_shape`` and a ``likelihood_family`` that says whether x is discrete, as ``VAE`` has.

    Returns:
        as ``log_probability``, in bits; where that is a lower bound, these are an upper bound.

    Raises:
        NotDefinedError: the likelihood is a density, or the model does not say.
    """
    family = traits_of(model).likelihood_family
    if family is None:
        raise NotDefinedError(
            f"bits per dimension need a model that says whether x is discrete, and {type(model).__name__} has no "
            "likelihood_family. Use one of bayes_vae.models, or divide by -P log 2 where x is discrete."
        )
    if not family.is_discrete:
        raise NotDefinedError(
            f"bits per dimension are defined for probabilities, and the likelihood {family.name!r} is a density: its "
            "logarithm depends on the unit of x. Use a discrete one, such as 'discretized-logistic' for 8-bit pixels."
        )
    given: Any = log_probability
    if isinstance(given, bool) or not isinstance(given, Real | Tensor | np.ndarray):
        raise SettingsError(f"log_probability must be a number or a tensor, in nats, got {type(given).__name__}.")
    dimensions: Sequence[int] = model.data_shape
    return log_probability / (-math.prod(dimensions) * math.log(2))
