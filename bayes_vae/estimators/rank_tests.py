"""Are ranks uniform on 0…L? Three tests, corrected for their number, and what the ranks' shape says."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bayes_vae.errors import SettingsError
from bayes_vae.vocabulary.readings import Place, RankShape, Width

__all__ = ["TESTS", "bin_counts", "binomial_interval", "choose_num_bins", "holm", "rank_p_values", "read_shape"]

TESTS = ("uniformity", "shift", "spread")
"""The rows of :func:`rank_p_values`."""

MOST_BINS, FEWEST_IN_BIN = 20, 10
"""Bins of the chi-square test at most, and the expected count in each at least."""

QUARTILE, FARTHEST_MEDIAN, CLEAR = 0.67449, 1.5, 3.0
"""Upper quartile of a normal; the median's normal score from which a width is hidden; binomial errors that show it."""


def choose_num_bins(num_ranks: int, num_observations: int) -> int:
    """The most equal bins of L + 1 ranks, at most 20, that expect at least 10 observations each.

    Raises:
        SettingsError: there is no such number above 1.

    >>> choose_num_bins(200, 1000), choose_num_bins(200, 90)
    (20, 8)
    """
    most = min(MOST_BINS, num_observations // FEWEST_IN_BIN)
    fitting = [count for count in range(2, most + 1) if num_ranks % count == 0]
    if not fitting:
        raise SettingsError(
            f"{num_ranks} ranks of {num_observations} observations cannot be put into equal bins of at least "
            f"{FEWEST_IN_BIN} expected observations each: take more observations, or a num_draws one below a round "
            "number, such as 99 or 199."
        )
    return fitting[-1]


def bin_counts(ranks: Tensor, num_draws: int, num_bins: int) -> Tensor:
    """How many observations fall in each bin of (L + 1) / B ranks.

    Args:
        ranks: whole numbers 0…L, shape (N, D).

    Returns:
        shape (D, B), counts.
    """
    bins = torch.arange(num_bins, device=ranks.device)
    width = (num_draws + 1) // num_bins
    return (ranks.T.div(width, rounding_mode="floor").unsqueeze(-1) == bins).sum(1)


def rank_p_values(ranks: Tensor, num_draws: int, num_bins: int) -> Tensor:
    r"""p values of three tests that ranks are uniform on 0…L, for each dimension.

    .. math:: u = \frac{r + 1/2}{L + 1}, \quad
        X^2 = \sum_b \frac{(O_b - N/B)^2}{N/B}, \quad
        t = \frac{\bar u - 1/2}{\max(s_u^2, v_1)^{1/2} / \sqrt N}, \quad
        s = \frac{\overline{(u - 1/2)^2} - v_1}{\sqrt{v_2 / N}}

    X² has a chi-square distribution with B − 1 degrees of freedom and sees any shape. t sees a shift and s a wrong
    width, each with more power; both are normal. v₁ and v₂, the mean and the variance of (u − 1/2)² where ranks are
    uniform, are exact for L + 1 values. t takes the ranks' own variance where that is larger, so a width that is wrong
    is not taken for a shift.

    Args:
        ranks: shape (N, D).
        num_draws: L.
        num_bins: B, a divisor of L + 1.

    Returns:
        shape (3, D), in the order of ``TESTS``.

    Reference: Cook, Gelman, Rubin (2006), section 2; Talts et al. (2018), section 4.
    """
    count = len(ranks)
    expected = count / num_bins
    observed = bin_counts(ranks, num_draws, num_bins).double()
    chi_square = (observed - expected).square().sum(-1) / expected
    half = torch.tensor((num_bins - 1) / 2, dtype=torch.float64, device=ranks.device)
    uniformity = torch.special.gammaincc(half, chi_square / 2)
    centred = (ranks.double() + 0.5) / (num_draws + 1) - 0.5
    every = ((torch.arange(num_draws + 1, dtype=torch.float64, device="cpu") + 0.5) / (num_draws + 1) - 0.5).square()
    first, second = float(every.mean()), float(every.var(correction=0))
    variance = centred.var(0, correction=0).clamp(min=first)
    shift = centred.mean(0) / (variance / count).sqrt()
    spread = (centred.square().mean(0) - first) / math.sqrt(second / count)
    return torch.stack([uniformity, _two_sided(shift), _two_sided(spread)])


def _two_sided(z: Tensor) -> Tensor:
    p_value: Tensor = torch.special.erfc(z.abs() / math.sqrt(2))
    return p_value


def holm(p_values: Tensor) -> Tensor:
    """p values corrected for their number, whatever their dependence, in the shape given.

    Under the level α, the chance that any true hypothesis is rejected is at most α.

    Reference: Holm (1979), "A simple sequentially rejective multiple test procedure".

    >>> holm(torch.tensor([0.01, 0.04, 0.03]))
    tensor([0.0300, 0.0600, 0.0600])
    """
    flat = p_values.flatten()
    order = flat.argsort()
    factors = torch.arange(len(flat), 0, -1, dtype=flat.dtype, device=flat.device)
    adjusted = torch.empty_like(flat)
    adjusted[order] = (flat[order] * factors).cummax(0).values.clamp(max=1)
    return adjusted.reshape(p_values.shape)


def read_shape(scaled: Tensor, rejected: Tensor) -> RankShape:
    """What the shape of one dimension's ranks says, given which of the three tests reject.

    A U says that q is too narrow (the truth lies outside its draws too often), a hump that it is too wide. Where the
    ranks are shifted the shape is looked at around their median, in normal scores, and its width only named where it
    is clear; a median far in a tail hides it.

    Args:
        scaled: (r + 1/2) / (L + 1), shape (N,).
        rejected: shape (3,), bool, in the order of ``TESTS``.
    """
    place: Place | None = None
    width: Width | None = None
    if bool(rejected[1]):
        place = "too low" if float(scaled.mean()) > 0.5 else "too high"
    if bool(rejected[2]):
        width = _width_around_the_median(scaled) if place else _width(scaled)
    return RankShape(bool(rejected.any()), width, place)


def _width(scaled: Tensor) -> Width:
    return "too narrow" if float((scaled - 0.5).square().mean()) > 1 / 12 else "too wide"


def _width_around_the_median(scaled: Tensor) -> Width | None:
    """By the share of normal scores further than 0.674 from their median, one half for a normal of the right width."""
    scores = torch.special.ndtri(scaled.double())
    centre = scores.median()
    if abs(float(centre)) > FARTHEST_MEDIAN:
        return None
    outer = float(((scores - centre).abs() > QUARTILE).double().mean()) - 0.5
    if abs(outer) < CLEAR / (2 * math.sqrt(len(scaled))):
        return None
    return "too narrow" if outer > 0 else "too wide"


def binomial_interval(count: int, probability: float, level: float) -> tuple[int, int]:
    """The counts between which a binomial variable lies with at least this probability, equal tails.

    >>> binomial_interval(100, 0.5, 0.95)
    (40, 60)
    """
    k = torch.arange(count + 1, dtype=torch.float64, device="cpu")
    n = torch.tensor(float(count), dtype=torch.float64, device="cpu")
    log_choose = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    log_mass = log_choose + k * math.log(probability) + (n - k) * math.log1p(-probability)
    held = log_mass.exp().cumsum(0)
    tail = (1 - level) / 2
    low, high = (int((held < edge).sum()) for edge in (tail, 1 - tail))
    return low, min(high, count)
