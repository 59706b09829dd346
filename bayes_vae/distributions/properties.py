"""What is read off a distribution: its base, its noise, whether it is discrete, normal or a single point."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from torch import Size, Tensor

__all__ = [
    "NORMALS",
    "diagonal_normal",
    "draw_from_noise",
    "has_normal_base",
    "is_discrete",
    "is_masked",
    "is_point_mass",
    "is_stock",
    "noise_like",
    "noise_parts",
    "noise_shape",
    "normal_parts",
    "unwrap",
]


def diagonal_normal(loc: Tensor, scale: Tensor) -> dist.Independent:
    """Normal distribution with independent dimensions; the last dimension is the event."""
    return dist.Independent(dist.Normal(loc, scale, validate_args=False), 1, validate_args=False)


def unwrap(distribution: Any) -> Any:
    """The distribution below any ``Independent``."""
    while isinstance(distribution, dist.Independent | torch.distributions.Independent):
        distribution = distribution.base_dist
    return distribution


def is_stock(distribution: Any) -> bool:
    """Whether a distribution is torch's or Pyro's own: a class derived from one may draw and weigh as it likes."""
    return type(distribution).__module__.partition(".")[0] in ("torch", "pyro")


NORMALS = (
    torch.distributions.Normal,
    torch.distributions.MultivariateNormal,
    torch.distributions.LowRankMultivariateNormal,
)


def has_normal_base(distribution: torch.distributions.Distribution) -> bool:
    """Whether a draw is a fixed function of standard-normal noise."""
    base = unwrap(distribution)
    if isinstance(base, torch.distributions.TransformedDistribution):
        return is_stock(base) and has_normal_base(base.base_dist)
    return isinstance(base, NORMALS) and is_stock(base)


def is_point_mass(distribution: dist.TorchDistribution) -> bool:
    """Whether the distribution has one possible value, as ``Delta`` has."""
    return isinstance(unwrap(distribution), dist.Delta)


def is_discrete(distribution: dist.TorchDistribution) -> bool:
    """Whether the values are discrete; unknown supports are taken as continuous."""
    try:
        support = distribution.support
    except NotImplementedError:
        return False
    return support is not None and bool(support.is_discrete)


def is_masked(distribution: torch.distributions.Distribution) -> bool:
    """Whether a distribution, or one within it, is masked."""
    within = getattr(distribution, "base_dist", None)
    return isinstance(distribution, dist.MaskedDistribution) or (within is not None and is_masked(within))


def noise_shape(distribution: torch.distributions.Distribution) -> Size:
    """Shape of the noise behind one draw: batch and event dimensions of the Normal at the base."""
    base = unwrap(distribution)
    if isinstance(base, torch.distributions.TransformedDistribution):
        return noise_shape(base.base_dist)
    if isinstance(base, torch.distributions.LowRankMultivariateNormal):  # of the factor, then of the diagonal
        return Size((*base.batch_shape, base.cov_factor.shape[-1] + base.event_shape[0]))
    return Size(base.batch_shape + base.event_shape)


def noise_parts(distribution: torch.distributions.Distribution) -> tuple[Size, ...]:
    """Shapes in which ``rsample`` draws that noise, one after the other; joined at their last dimension they are it."""
    base = unwrap(distribution)
    if isinstance(base, torch.distributions.TransformedDistribution):
        return noise_parts(base.base_dist)
    if isinstance(base, torch.distributions.LowRankMultivariateNormal):
        return Size((*base.batch_shape, base.cov_factor.shape[-1])), Size(base.batch_shape + base.event_shape)
    return (noise_shape(base),)


def noise_like(distribution: dist.TorchDistribution) -> Tensor:
    """A tensor of the dtype and device that noise for this distribution takes."""
    base = unwrap(distribution)
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
    base = unwrap(distribution)
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
    base = unwrap(distribution)
    if isinstance(base, torch.distributions.Normal) and is_stock(base):
        return base.loc, base.scale
    return None
