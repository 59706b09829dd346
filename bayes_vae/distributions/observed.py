r"""The density of what was observed: NaN in x marks a missing number, which has no part in it.

With x = (u, m), u observed and m missing, and numbers that are independent given z,

.. math:: p(u \mid z) = \int p(u, m \mid z) \, dm = \prod_{i \text{ observed}} p(x_i \mid z),

so that leaving the missing factors out is exact. That log p(u) is the evidence assumes that values are missing at
random: which ones are missing may depend on what was observed, not on the missing values themselves.

Reference: Rubin (1976), "Inference and missing data", section 6; Mattei, Frellsen (2019), "MIWAE", section 2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from bayes_vae.distributions.properties import unwrap
from bayes_vae.distributions.support import in_support_where_masked
from bayes_vae.errors import NotDefinedError

__all__ = ["ObservedPart", "by_number", "missing_in", "observed_log_prob", "observed_part"]


class ObservedPart(NamedTuple):
    """A likelihood without the factors of missing numbers, and x with values of the support in their place."""

    likelihood: dist.TorchDistribution
    x: Tensor

    @property
    def log_prob(self) -> Tensor:
        """log p(x_observed given z), over the batch shape, nats."""
        log_density: Tensor = self.likelihood.log_prob(self.x)
        return log_density


def missing_in(x: Tensor) -> Tensor | None:
    """Which numbers are missing, NaN, shaped as x; None where none is."""
    if not x.is_floating_point() or not bool(x.sum().isnan()):
        return None  # the sum is NaN where any number is, and quicker to take
    missing = x.isnan()
    return missing if bool(missing.any()) else None


def observed_part(likelihood: dist.TorchDistribution, x: Tensor, missing: Tensor | None) -> ObservedPart:
    """p(x_observed given z), and a finite x to evaluate it at; both as they are where nothing is missing.

    A missing number is zero, or a draw where zero has no density: its factor is not counted, but would be NaN, and its
    gradient NaN even where it is not counted.

    Args:
        likelihood: p(x given z), whose numbers are independent given z; batch shape (*batch, N), event shape *event.
        x: shape (N, *event), NaN where missing.
        missing: which numbers, as :func:`missing_in` finds them; None where none is.

    Raises:
        NotDefinedError: numbers that are not independent given z, whose joint density cannot be restricted.
    """
    if missing is None:
        return ObservedPart(likelihood, x)
    event_dims = len(likelihood.event_shape)
    numbers: Any = by_number(likelihood)
    masked = numbers.mask(~missing)
    observed = dist.Independent(masked, event_dims, validate_args=False) if event_dims else masked
    x = torch.where(missing, torch.zeros_like(x), x) if _zero_has_a_density(numbers) else x
    return ObservedPart(observed, in_support_where_masked(observed, x))


def _zero_has_a_density(numbers: Any) -> bool:
    """Whether zero has a finite density whatever the parameters, as a gamma has not: only then does it stand in."""
    if hasattr(numbers, "numbers"):
        return True
    try:
        return numbers.support is constraints.real or bool(numbers.support.is_discrete)
    except NotImplementedError:
        return False


def observed_log_prob(likelihood: dist.TorchDistribution, x: Tensor) -> Tensor:
    """log p(x_observed given z), over the batch shape of the likelihood, nats; log p(x given z) without NaN in x."""
    return observed_part(likelihood, x, missing_in(x)).log_prob


def by_number(likelihood: dist.TorchDistribution) -> dist.TorchDistribution:
    """The same with each number of an observation in the batch shape, so that log_prob is that of each.

    Our distributions over several numbers have ``numbers()``.

    Raises:
        NotDefinedError: numbers that are not independent given z.
    """
    event_dims, base = len(likelihood.event_shape), unwrap(likelihood)
    if base.event_shape and hasattr(base, "numbers"):
        base = base.numbers()
    if base.event_shape:
        raise NotDefinedError(
            f"x has missing values, and the likelihood {type(base).__name__} has no density of some of its numbers "
            f"alone: expected {event_dims} event dimension(s) declared with .to_event, of numbers that are independent "
            "given z. Remove the observations with missing values, or write p(x_observed given z) as a Pyro program."
        )
    shape = likelihood.batch_shape + likelihood.event_shape
    numbers: dist.TorchDistribution = base if base.batch_shape == shape else base.expand(shape)
    return numbers
