"""Independent Bernoulli pixels given by logits, with an analytic gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Size, Tensor
from torch.distributions import constraints
from torch.nn.functional import softplus

__all__ = ["BernoulliLogits"]


def _log_density(logits: Tensor, pixels: Tensor) -> Tensor:
    linear: Tensor = torch.linalg.vecdot(logits, pixels)
    return linear - softplus(logits).sum(-1)


class _BernoulliLogDensity(torch.autograd.Function):
    """Sum over pixels of x l − log(1 + e^l), whose gradient x − σ(l) is written down rather than recorded."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, pixels: Tensor) -> Tensor:
        ctx.save_for_backward(logits, pixels)
        return _log_density(logits, pixels)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        logits, pixels = ctx.saved_tensors
        for_logits = for_pixels = None
        if ctx.needs_input_grad[0]:
            for_logits = ((pixels - logits.sigmoid()) * gradient.unsqueeze(-1)).sum_to_size(logits.shape)
        if ctx.needs_input_grad[1]:
            for_pixels = (logits * gradient.unsqueeze(-1)).sum_to_size(pixels.shape)
        return for_logits, for_pixels


class BernoulliLogits(dist.TorchDistribution):
    r"""Independent Bernoulli pixels, given by their logits.

    .. math:: \log p(x \mid \ell) = \sum_i x_i \ell_i - \log(1 + e^{\ell_i})

    The gradient is analytic, which makes a pass forward and backward about twice as fast as
    ``Bernoulli(logits=...).to_event()``.

    Args:
        logits: shape (*batch, *event).
        event_dim: number of event dimensions.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"logits": constraints.real}
    has_enumerate_support = False

    def __init__(self, logits: Tensor, event_dim: int = 1) -> None:
        self.logits = logits
        split = logits.dim() - event_dim
        super().__init__(logits.shape[:split], logits.shape[split:], validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """Zeros and ones."""
        return constraints.independent(constraints.boolean, len(self.event_shape))

    def numbers(self) -> BernoulliLogits:
        """The same with each pixel in the batch shape."""
        return type(self)(self.logits, 0)

    @property
    def mean(self) -> Tensor:
        """Probability of a one, pixel by pixel."""
        return self.logits.sigmoid()

    @property
    def variance(self) -> Tensor:
        """p (1 − p), pixel by pixel."""
        return self.mean * (1 - self.mean)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw zeros and ones, shape (*sample_shape, *batch, *event)."""
        with torch.no_grad():
            return torch.bernoulli(self.mean.expand(Size(sample_shape) + self.logits.shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log probability, summed over the event dimensions."""
        size = self.event_shape.numel()
        logits = self.logits.reshape(*self.batch_shape, size)
        pixels = value.to(logits.dtype).reshape(*value.shape[: value.dim() - len(self.event_shape)], size)
        transformed = torch._C._functorch.peek_interpreter_stack() is not None  # inside torch.func.vmap and the like
        log_prob: Tensor = (_log_density if transformed else _BernoulliLogDensity.apply)(logits, pixels)
        return log_prob

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> BernoulliLogits:
        """The same distribution with a larger batch shape."""
        shape = Size(batch_shape)
        if shape == self.batch_shape:
            return self
        return BernoulliLogits(self.logits.expand(shape + self.event_shape), len(self.event_shape))
