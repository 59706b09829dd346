"""The discretized logistic: probabilities of 8-bit pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Size, Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid, softplus

__all__ = ["DiscretizedLogistic", "LevelConstraint", "loc_of_mean"]


class LevelConstraint(constraints.Constraint):
    """Multiples of 1/255 in [0, 1], up to the rounding of float32.

    Args:
        largest: number of the highest level.
    """

    is_discrete = True

    def __init__(self, largest: int) -> None:
        self.largest = largest
        super().__init__()

    def __repr__(self) -> str:
        return f"{{0, 1/{self.largest}, …, 1}}"

    def check(self, value: Tensor) -> Tensor:
        """Which values are levels."""
        levels = value * self.largest
        inside: Tensor = ((levels - levels.round()).abs() < 1e-3) & (value >= 0) & (value <= 1)
        return inside


class DiscretizedLogistic(dist.TorchDistribution):
    r"""Independent pixels of L levels in [0, 1], each with the mass of its bin under a logistic.

    .. math:: P(x) = \sigma\!\Big(\frac{x + \frac{1}{2(L - 1)} - \mu}{s}\Big)
        - \sigma\!\Big(\frac{x - \frac{1}{2(L - 1)} - \mu}{s}\Big)

    for levels x = 0, 1/(L − 1), …, 1; the lowest and the highest take the tails, so that the masses sum to one.

    Args:
        loc: μ, shape (*batch, *event).
        scale: s, above 0, broadcast against ``loc``.
        event_dim: number of event dimensions.
        num_levels: L.

    Reference: Salimans, Karpathy, Chen, Kingma (2017), "PixelCNN++", section 2.1, with one component.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"loc": constraints.real, "scale": constraints.positive}

    @property
    def takes(self) -> tuple[str, str]:
        """What observations are, and what to do with others, for :func:`bayes_vae.distributions.check_support`."""
        return (
            f"a discretized logistic likelihood takes multiples of 1/{self.largest} in [0, 1]",
            f"Give pixels as integers divided by {self.largest}; of gray values in between choose the likelihood "
            "'continuous-bernoulli' or 'normal'.",
        )

    def __init__(self, loc: Tensor, scale: Tensor, event_dim: int = 1, num_levels: int = 256) -> None:
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        self.largest = num_levels - 1
        split = self.loc.dim() - event_dim
        super().__init__(self.loc.shape[:split], self.loc.shape[split:], validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """The levels."""
        return constraints.independent(LevelConstraint(self.largest), len(self.event_shape))

    def numbers(self) -> DiscretizedLogistic:
        """The same with each pixel in the batch shape."""
        return DiscretizedLogistic(self.loc, self.scale, 0, self.largest + 1)

    @property
    def mean(self) -> Tensor:
        r"""Mean of each pixel, a sum over its bin edges: :math:`1 - \frac{1}{L-1} \sum_b \sigma((e_b - \mu) / s)`."""
        total = torch.zeros_like(self.loc)
        for edge in range(self.largest):
            total = total + torch.sigmoid(((edge + 0.5) / self.largest - self.loc) / self.scale)
        return 1 - total / self.largest

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw from the logistic and round to the nearest level, shape (*sample_shape, *batch, *event)."""
        shape = Size(sample_shape) + self.loc.shape
        u = torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device)
        tiny = torch.finfo(u.dtype).tiny
        drawn = self.loc + self.scale * (u.clamp(min=tiny).log() - torch.log1p(-u))
        levels: Tensor = (drawn * self.largest).round().clamp(0, self.largest)
        return levels / self.largest

    def log_prob(self, value: Tensor) -> Tensor:
        r"""Log probability, summed over the event dimensions.

        With a = the upper and b = the lower edge, in scales from μ,
        :math:`\log(\sigma(a) - \sigma(b)) = \log\sigma(a) + \log\sigma(-b) + \log(1 - e^{b - a})`.
        """
        level = (value.to(self.loc.dtype) * self.largest).round()
        upper = ((level + 0.5) / self.largest - self.loc) / self.scale
        lower = ((level - 0.5) / self.largest - self.loc) / self.scale
        width = 1 / (self.largest * self.scale)
        inner = logsigmoid(upper) - softplus(lower) + torch.log(-torch.expm1(-width))
        mass = torch.where(level == 0, logsigmoid(upper), torch.where(level == self.largest, -softplus(lower), inner))
        size = len(self.event_shape)
        return mass.flatten(mass.dim() - size).sum(-1) if size else mass

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> DiscretizedLogistic:
        """The same distribution with a larger batch shape."""
        shape = Size(batch_shape)
        if shape == self.batch_shape:
            return self
        loc, scale = (part.expand(shape + self.event_shape) for part in (self.loc, self.scale))
        return DiscretizedLogistic(loc, scale, len(self.event_shape), self.largest + 1)


def loc_of_mean(mean: Tensor, scale: float) -> Tensor:
    r"""The location at which the mean of the levels is given: the tails are cut off, so that it is another number.

    .. math:: \mu = s \log \frac{e^{m / s} - 1}{1 - e^{(m - 1) / s}}

    This inverts :math:`m = \int_0^1 1 - \sigma((t - \mu) / s) \, dt`, from which the mean of 256 levels differs by less
    than 1e-6 / s.

    Args:
        mean: m, within (0, 1).
        scale: s, at least 0.02, so that the exponentials stay finite.

    >>> mean = torch.tensor([0.05, 0.5, 0.8], dtype=torch.float64)
    >>> levels = DiscretizedLogistic(loc_of_mean(mean, 0.1), torch.tensor(0.1).double())
    >>> torch.allclose(levels.mean, mean, rtol=0, atol=1e-5)
    True
    """
    return scale * (torch.expm1(mean / scale).log() - torch.log(-torch.expm1((mean - 1) / scale)))
