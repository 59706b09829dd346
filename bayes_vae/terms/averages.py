"""The mean of a per-observation quantity over a data set, with its two errors kept apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from bayes_vae.vocabulary.number_text import short_error
from bayes_vae.vocabulary.readings import ESTIMATE, Reading

__all__ = ["Average", "average", "log_mean_bias"]


@dataclass(frozen=True)
class Average:
    """A data set's figure, in nats per observation.

    Attributes:
        name: the quantity, as in the table of terms.
        value: mean over the observations.
        monte_carlo_error: standard error from finite K, for these very observations; NaN where it is unknown.
        data_error: standard error from finite N, the Monte-Carlo part taken out; NaN for one observation.
        num_particles: K.
        num_observations: N.
        reading: how the figure reads; ``str(reading)`` is what must be said beside it, often nothing.
    """

    name: str
    value: float
    monte_carlo_error: float
    data_error: float
    num_particles: int
    num_observations: int
    reading: Reading = ESTIMATE

    @property
    def total_error(self) -> float:
        """Standard error as an estimate for fresh data: both errors in quadrature."""
        return math.hypot(self.monte_carlo_error, self.data_error)

    @property
    def known_error(self) -> float:
        """The same, of what is known: an error that is NaN is left out."""
        return math.hypot(*(error for error in (self.monte_carlo_error, self.data_error) if not math.isnan(error)))

    def __str__(self) -> str:
        said = f" [{self.reading}]" if str(self.reading) else ""
        return (
            f"{self.value:.3f} ± {short_error(self.monte_carlo_error)} (Monte Carlo) "
            f"± {short_error(self.data_error)} (data){said}"
        )


def average(
    name: str,
    values: Tensor,
    standard_errors: Tensor,
    num_particles: int,
    reading: Reading = ESTIMATE,
    bias: float = 0.0,
) -> Average:
    r"""Mean over observations with Monte-Carlo and data error apart.

    .. math::

        \bar v = \frac1N \sum_n v_n, \quad
        e_\mathrm{MC}^2 = \frac1{N^2} \sum_n s_n^2 + b^2, \quad
        e_\mathrm{data}^2 = \max\Big(0, \frac{\operatorname{Var}_n v_n}{N} - e_\mathrm{MC}^2\Big)

    Args:
        name: the quantity.
        values: shape (N,), nats.
        standard_errors: the Monte-Carlo standard error of each value, shape (N,); NaN where it is unknown, and
            then the Monte-Carlo error of the mean is unknown too and the data error holds both.
        num_particles: K.
        reading: how the figure reads.
        bias: b, a known size of an error that all observations share, which does not average out.

    >>> import torch
    >>> average("elbo", torch.tensor([1.0, 3.0]), torch.tensor([0.3, 0.4]), 10).value
    2.0
    """
    values, standard_errors = values.double(), standard_errors.double()
    count = values.numel()
    monte_carlo = float(standard_errors.square().sum().sqrt()) / count
    variance = float(values.var()) / count if count > 1 else math.nan
    known = 0.0 if math.isnan(monte_carlo) else monte_carlo**2
    data = math.nan if math.isnan(variance) else math.sqrt(max(0.0, variance - known))
    return Average(name, float(values.mean()), math.hypot(monte_carlo, bias), data, num_particles, count, reading)


def log_mean_bias(standard_errors: Tensor) -> float:
    r"""How far the mean of log mean weights lies low, to second order.

    .. math:: \log p(x) - E\Big[\log \tfrac1K \sum_k w_k\Big] \approx \tfrac12 s^2, \qquad
        b = \frac1N \sum_n \tfrac12 s_n^2

    Each observation's logarithm lies low by about half its squared error, all in the same direction: for many
    observations this outgrows the error that averages out.
    """
    return float(standard_errors.double().square().mean()) / 2
