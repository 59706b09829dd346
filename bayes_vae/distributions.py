"""The distributions of our pairs, noise in and draws out, and closed-form KL divergences.

All of them skip torch's own argument validation; the support of the data is checked once, by :func:`check_support`.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import getattr_static
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Size, Tensor
from torch.distributions import constraints, kl_divergence
from torch.distributions.kl import _KL_REGISTRY as KL_REGISTRY
from torch.nn.functional import softplus

from bayes_vae.errors import NotDefinedError, SupportError

__all__ = [
    "BernoulliLogits",
    "analytic_kl",
    "analytic_kl_per_dimension",
    "check_support",
    "diagonal_normal",
    "draw_from_noise",
    "has_normal_base",
    "is_discrete",
    "is_point_mass",
    "noise_like",
    "noise_shape",
    "normal_parts",
]


def diagonal_normal(loc: Tensor, scale: Tensor) -> dist.Independent:
    """Normal distribution with independent dimensions; the last dimension is the event."""
    return dist.Independent(dist.Normal(loc, scale, validate_args=False), 1, validate_args=False)


class _BernoulliLogDensity(torch.autograd.Function):
    """Sum over pixels of x l − log(1 + e^l), whose gradient x − σ(l) is written down rather than recorded."""

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, pixels: Tensor) -> Tensor:
        linear: Tensor = torch.linalg.vecdot(logits, pixels)
        return linear - softplus(logits).sum(-1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

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
        log_prob: Tensor = _BernoulliLogDensity.apply(logits, pixels)
        return log_prob

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> BernoulliLogits:
        """The same distribution with a larger batch shape."""
        shape = Size(batch_shape)
        if shape == self.batch_shape:
            return self
        return BernoulliLogits(self.logits.expand(shape + self.event_shape), len(self.event_shape))


def _unwrap(distribution: Any) -> Any:
    while isinstance(distribution, dist.Independent | torch.distributions.Independent):
        distribution = distribution.base_dist
    return distribution


def _is_stock(distribution: Any) -> bool:
    """Whether a distribution is torch's or Pyro's own: a class derived from one may draw and weigh as it likes."""
    return type(distribution).__module__.partition(".")[0] in ("torch", "pyro")


_NORMALS = (
    torch.distributions.Normal,
    torch.distributions.MultivariateNormal,
    torch.distributions.LowRankMultivariateNormal,
)


def has_normal_base(distribution: torch.distributions.Distribution) -> bool:
    """Whether a draw is a fixed function of standard-normal noise."""
    base = _unwrap(distribution)
    if isinstance(base, torch.distributions.TransformedDistribution):
        return _is_stock(base) and has_normal_base(base.base_dist)
    return isinstance(base, _NORMALS) and _is_stock(base)


def is_point_mass(distribution: dist.TorchDistribution) -> bool:
    """Whether the distribution has one possible value, as ``Delta`` has."""
    return isinstance(_unwrap(distribution), dist.Delta)


def is_discrete(distribution: dist.TorchDistribution) -> bool:
    """Whether the values are discrete; unknown supports are taken as continuous."""
    try:
        support = distribution.support
    except NotImplementedError:
        return False
    return support is not None and bool(support.is_discrete)


def noise_shape(distribution: torch.distributions.Distribution) -> Size:
    """Shape of the noise behind one draw: batch and event dimensions of the Normal at the base."""
    base = _unwrap(distribution)
    if isinstance(base, torch.distributions.TransformedDistribution):
        return noise_shape(base.base_dist)
    if isinstance(base, torch.distributions.LowRankMultivariateNormal):  # of the factor, then of the diagonal
        return Size((*base.batch_shape, base.cov_factor.shape[-1] + base.event_shape[0]))
    return Size(base.batch_shape + base.event_shape)


def noise_like(distribution: dist.TorchDistribution) -> Tensor:
    """A tensor of the dtype and device that noise for this distribution takes."""
    base = _unwrap(distribution)
    like: Tensor = noise_like(base.base_dist) if hasattr(base, "base_dist") else base.loc
    return like


def draw_from_noise(distribution: torch.distributions.Distribution, noise: Tensor) -> Tensor:
    """Turn standard-normal noise into a reparameterized draw.

    Args:
        distribution: one for which :func:`has_normal_base` holds.
        noise: shape (*sample, *noise_shape(distribution)).

    Returns:
        shape (*sample, *batch, *event); differentiable in the distribution's parameters.
    """
    base = _unwrap(distribution)
    if isinstance(base, torch.distributions.TransformedDistribution):
        value = draw_from_noise(base.base_dist, noise)
        for transform in base.transforms:
            value = transform(value)
        return value
    if isinstance(base, torch.distributions.Normal):
        offset: Tensor = base.scale * noise
    elif isinstance(base, torch.distributions.LowRankMultivariateNormal):
        rank = base.cov_factor.shape[-1]
        offset = (base._unbroadcasted_cov_factor @ noise[..., :rank].unsqueeze(-1)).squeeze(-1)
        offset = offset + base._unbroadcasted_cov_diag.sqrt() * noise[..., rank:]
    else:
        offset = (base._unbroadcasted_scale_tril @ noise.unsqueeze(-1)).squeeze(-1)
    drawn: Tensor = base.loc + offset
    return drawn


def normal_parts(distribution: dist.TorchDistribution) -> tuple[Tensor, Tensor] | None:
    """Means and deviations of a normal with independent dimensions; None for any other distribution."""
    base = _unwrap(distribution)
    if isinstance(base, torch.distributions.Normal) and _is_stock(base):
        return base.loc, base.scale
    return None


def analytic_kl(q: dist.TorchDistribution, p: dist.TorchDistribution) -> Tensor | None:
    r"""Closed-form KL(q to p), or None where no closed form is known.

    .. math:: \mathrm{KL}(q \,\|\, p) = \int q(z) \log \frac{q(z)}{p(z)} \, dz \ge 0

    A full-covariance or low-rank normal against a factorized one is added to the pairs that torch registers. A class
    derived from torch's or Pyro's has a closed form only where one is registered for that very class.

    Returns:
        shape of the batch, nats.
    """
    bases = _unwrap(q), _unwrap(p)
    if not (all(map(_is_stock, bases)) or (type(bases[0]), type(bases[1])) in KL_REGISTRY):
        return None
    parts = normal_parts(p)
    if isinstance(_unwrap(q), _NORMALS[1:]) and parts is not None:
        p = dist.MultivariateNormal(parts[0], scale_tril=parts[1].diag_embed(), validate_args=False)
        q = _unwrap(q)
    try:
        return kl_divergence(q, p)
    except NotImplementedError:
        return None


def analytic_kl_per_dimension(q: dist.TorchDistribution, p: dist.TorchDistribution) -> Tensor:
    """Closed-form KL(q to p), one term for each latent dimension.

    Returns:
        shape (*batch, *event), nats; its sum over the event is :func:`analytic_kl`.

    Raises:
        NotDefinedError: where q or p does not factorize over its dimensions.
    """
    for name, distribution in (("variational posterior", q), ("prior", p)):
        if normal_parts(distribution) is None:
            raise NotDefinedError(
                f"kl_per_dimension needs a prior and a guide that factorize into normals, but the {name} is "
                f"{type(_unwrap(distribution)).__name__}: its dimensions are not independent, or no closed form "
                "is known. Use kl_to_prior, the KL over all dimensions."
            )
    return kl_divergence(_unwrap(q), _unwrap(p))


def _inside(distribution: dist.TorchDistribution, value: Tensor) -> Tensor:
    """Which values lie in the support or are masked, over the batch shape."""
    if isinstance(distribution, dist.Independent | torch.distributions.Independent):
        inside = _inside(distribution.base_dist, value)
        size = distribution.reinterpreted_batch_ndims
        return inside.flatten(inside.dim() - size).all(-1) if size else inside
    if isinstance(distribution, dist.MaskedDistribution):
        return _inside(distribution.base_dist, value) | ~torch.as_tensor(distribution._mask)
    if isinstance(getattr_static(type(distribution), "support", None), constraints.dependent_property):
        return torch.ones((), dtype=torch.bool)  # it may depend on z: that log p(x | z) = -inf says it rightly
    support = distribution.support
    return torch.ones((), dtype=torch.bool) if support is None else support.check(value)


def check_support(
    name: str, distribution: dist.TorchDistribution, value: Tensor, mask: Tensor | bool | None = None
) -> None:
    """Refuse observations outside the support of their likelihood, but for those that are masked.

    Raises:
        SupportError: names the range that arrived and what to do; for gray pixels under a Bernoulli likelihood it
            names the continuous Bernoulli and binarization, and for our other distributions says what they ``take``.
    """
    try:
        inside = _inside(distribution, value)
    except NotImplementedError:
        return
    if mask is not None:
        inside = inside | ~torch.as_tensor(mask)
    if bool(inside.all()):
        return
    low, high = float(value.min()), float(value.max())
    base = _unwrap(distribution)
    while isinstance(base, dist.MaskedDistribution):
        base = _unwrap(base.base_dist)
    if isinstance(base, BernoulliLogits | torch.distributions.Bernoulli):
        raise SupportError(
            f"site {name!r}: a Bernoulli likelihood takes zeros and ones, but the observations range over "
            f"[{low:g}, {high:g}] with values in between or outside. On gray pixels it is not a normalized "
            "likelihood: binarize them (data policy 'stochastic', 'static' or 'threshold') or use a continuous "
            "Bernoulli likelihood (likelihood 'continuous-bernoulli')."
        )
    takes, remedy = getattr(base, "takes", ("", ""))
    if takes:
        raise SupportError(
            f"site {name!r}: {takes}, but the observations range over [{low:g}, {high:g}] with values in between or "
            f"outside. {remedy}"
        )
    support = getattr(base.support, "base_constraint", base.support)
    raise SupportError(
        f"site {name!r}: observations in [{low:g}, {high:g}] leave the support {support} of "
        f"{type(base).__name__}. Rescale the data or choose a likelihood with that support."
    )
