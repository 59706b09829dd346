"""The mean of a per-observation quantity over a data set, with its two errors kept apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Average", "average", "log_mean_bias", "with_error"]


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
        note: how the figure reads, e.g. "lower bound, not converged"; empty when there is nothing to say.
    """

    name: str
    value: float
    monte_carlo_error: float
    data_error: float
    num_particles: int
    num_observations: int
    note: str = ""

    @property
    def total_error(self) -> float:
        """Standard error as an estimate for fresh data: both errors in quadrature."""
        return math.hypot(self.monte_carlo_error, self.data_error)

    def __str__(self) -> str:
        note = f" [{self.note}]" if self.note else ""
        return (
            f"{self.value:.3f} ± {_error(self.monte_carlo_error)} (Monte Carlo) "
            f"± {_error(self.data_error)} (data){note}"
        )


def with_error(value: float, error: float) -> str:
    """A value and its error to two digits of the error.

    >>> with_error(0.17239, 0.0036)
    '0.1724 ± 0.0036'
    """
    if not math.isfinite(error) or error <= 0:
        return f"{value:.3f}"
    decimals = min(6, max(0, 1 - math.floor(math.log10(error))))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def _error(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2g}"


def average(
    name: str,
    values: Tensor,
    standard_errors: Tensor,
    num_particles: int,
    note: str = "",
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
        note: how the figure reads.
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
    return Average(name, float(values.mean()), math.hypot(monte_carlo, bias), data, num_particles, count, note)


def log_mean_bias(standard_errors: Tensor) -> float:
    r"""How far the mean of log mean weights lies low, to second order.

    .. math:: \log p(x) - E\Big[\log \tfrac1K \sum_k w_k\Big] \approx \tfrac12 s^2, \qquad
        b = \frac1N \sum_n \tfrac12 s_n^2

    Each observation's logarithm lies low by about half its squared error, all in the same direction: for many
    observations this outgrows the error that averages out.
    """
    return float(standard_errors.double().square().mean()) / 2
