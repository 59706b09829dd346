"""The likelihood of numbers that stand for one of a few values."""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from bayes_vae.errors import SettingsError
from bayes_vae.models.likelihoods.likelihood import Likelihood

__all__ = ["CategoricalLikelihood"]


class _Levels(dist.Categorical):
    """A categorical over 0…C−1 whose values are numbers, so that it has a mean, and whose draws are floats."""

    @property
    def takes(self) -> tuple[str, str]:
        """What observations are, and what to do with others, for :func:`bayes_vae.distributions.check_support`."""
        most = self.logits.shape[-1] - 1
        return (
            f"a categorical likelihood of {most + 1} categories takes whole numbers from 0 to {most}",
            "Build it with num_categories above the largest value; of counts without a largest choose the likelihood "
            "'negative-binomial', of gray pixels 'discretized-logistic'.",
        )

    @property
    def mean(self) -> Tensor:
        """Expected value."""
        return self.probs @ torch.arange(self.probs.shape[-1], dtype=self.probs.dtype, device=self.probs.device)

    @property
    def variance(self) -> Tensor:
        """Variance of the value."""
        levels = torch.arange(self.probs.shape[-1], dtype=self.probs.dtype, device=self.probs.device)
        return self.probs @ levels.square() - self.mean.square()

    @property
    def support(self) -> constraints.Constraint:
        """0…C−1."""
        return constraints.integer_interval(0, self.logits.shape[-1] - 1)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw numbers of the logits' dtype."""
        drawn: Tensor = super().sample(torch.Size(sample_shape))  # type: ignore[no-untyped-call]
        return drawn.to(self.logits.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log probability."""
        log_probability: Tensor = super().log_prob(value.long())  # type: ignore[no-untyped-call]
        return log_probability


class CategoricalLikelihood(Likelihood):
    r"""Whole numbers 0…C−1: the decoder outputs C logits for each, in no order.

    .. math:: \log p(x \mid z) = \sum_i f_{x_i, i}(z) - \log \sum_{c=0}^{C-1} e^{f_{c,i}(z)}

    A probability, so it has bits per dimension. Fits counts below C, under the data policy ``none``.

    Args:
        data_shape: shape of one observation.
        num_categories: C.

    Raises:
        SettingsError: fewer than two categories, or no whole number of them.
    """

    def __init__(self, data_shape: Sequence[int], num_categories: int) -> None:
        super().__init__(data_shape, num_categories=num_categories)
        if not isinstance(num_categories, int) or num_categories < 2:
            raise SettingsError(
                f"a categorical likelihood needs num_categories, a whole number of at least 2, got {num_categories!r}."
            )
        self.outputs_per_number = num_categories

    def forward(self, parameters: Tensor) -> dist.TorchDistribution:
        """p(x given z): independent categoricals."""
        logits = parameters.movedim(parameters.dim() - len(self.data_shape) - 1, -1)
        return dist.Independent(_Levels(logits=logits, validate_args=False), len(self.data_shape), validate_args=False)

    def initial_outputs(self, mean: Tensor) -> Tensor:
        """Logits of the binomial over 0…C−1 whose mean is the data's, which is clipped to inside the range."""
        most = self.outputs_per_number - 1
        levels = torch.arange(most + 1, dtype=mean.dtype, device=mean.device).reshape(-1, *(1,) * mean.dim())
        chance = (mean / most).clamp(0.01, 0.99)
        ways = -torch.lgamma(levels + 1) - torch.lgamma(most - levels + 1)
        return ways + levels * chance.log() + (most - levels) * torch.log1p(-chance)
