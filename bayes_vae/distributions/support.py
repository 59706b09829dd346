"""Whether observations lie in the support of their likelihood."""

from __future__ import annotations

from inspect import getattr_static
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from bayes_vae.distributions.bernoulli_logits import BernoulliLogits
from bayes_vae.distributions.properties import unwrap
from bayes_vae.errors import SupportError

__all__ = ["check_support", "in_support_where_masked"]


_EVERYWHERE = torch.ones((), dtype=torch.bool, device="cpu")


def _inside(distribution: dist.TorchDistribution, value: Tensor) -> Tensor:
    """Which values lie in the support or are masked, over the batch shape."""
    if isinstance(distribution, dist.Independent | torch.distributions.Independent):
        inside = _inside(distribution.base_dist, value)
        size = distribution.reinterpreted_batch_ndims
        return inside.flatten(inside.dim() - size).all(-1) if size else inside
    if isinstance(distribution, dist.MaskedDistribution):
        return _inside(distribution.base_dist, value) | ~torch.as_tensor(distribution._mask)
    if isinstance(getattr_static(type(distribution), "support", None), constraints.dependent_property):
        return _EVERYWHERE  # it may depend on z: that log p(x | z) = -inf says it rightly
    support = distribution.support
    return _EVERYWHERE if support is None else support.check(value)


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
    base = unwrap(distribution)
    while isinstance(base, dist.MaskedDistribution):
        base = unwrap(base.base_dist)
    if isinstance(base, BernoulliLogits | torch.distributions.Bernoulli):
        raise SupportError(
            f"site {name!r}: a Bernoulli likelihood takes zeros and ones, but the observations range over "
            f"[{low:g}, {high:g}] with values in between or outside.",
            "On gray pixels it is not a normalized likelihood: binarize them (data policy 'stochastic', 'static' or "
            "'threshold') or use a continuous Bernoulli likelihood (likelihood 'continuous-bernoulli').",
            of_bernoulli=True,
        )
    takes, remedy = getattr(base, "takes", ("", ""))
    if takes:
        raise SupportError(
            f"site {name!r}: {takes}, but the observations range over [{low:g}, {high:g}] with values in between or "
            "outside.",
            remedy,
        )
    support = getattr(base.support, "base_constraint", base.support)
    raise SupportError(
        f"site {name!r}: observations in [{low:g}, {high:g}] leave the support {support} of {type(base).__name__}.",
        "Rescale the data or choose a likelihood with that support.",
    )


def in_support_where_masked(
    distribution: dist.TorchDistribution, value: Tensor, mask: Tensor | bool | None = None
) -> Tensor:
    """The value, with some value of the support where it is masked and lies outside: NaN, say, of what is missing.

    Its density is not counted, but would be refused where arguments are validated, and its gradient would be NaN.

    Args:
        distribution: whose density is taken.
        value: shape (*batch, *event), or one that broadcasts to it.
        mask: of the site, False where the density is not counted; masks within the distribution count too.
    """
    hidden = _hidden(distribution, mask)
    if hidden is None:
        return value
    outside = hidden & (~_numbers_inside(distribution, value) if value.is_floating_point() else torch.zeros(()).bool())
    if not bool(outside.any()):
        return value
    with torch.random.fork_rng(devices=[value.device] if value.is_cuda else []), torch.no_grad():
        drawn = distribution.sample()
    return torch.where(outside, drawn.to(value.dtype), value)


def _hidden(distribution: Any, mask: Tensor | bool | None) -> Tensor | None:
    """Which numbers are masked, broadcasting to the value; None where there is no mask."""
    masks = [] if mask is None else [(torch.as_tensor(mask), len(distribution.event_shape))]
    while isinstance(distribution, dist.Independent | torch.distributions.Independent | dist.MaskedDistribution):
        if isinstance(distribution, dist.MaskedDistribution):
            masks.append((torch.as_tensor(distribution._mask), len(distribution.event_shape)))
        distribution = distribution.base_dist
    hidden: Tensor | None = None
    for one, event_dims in masks:
        here = ~one.reshape(*one.shape, *(1,) * event_dims)
        hidden = here if hidden is None else hidden | here.to(hidden.device)
    return hidden


def _numbers_inside(distribution: Any, value: Tensor) -> Tensor:
    """Which numbers, or whole events, of a value lie in the support; broadcasting to the value."""
    while isinstance(distribution, dist.Independent | torch.distributions.Independent | dist.MaskedDistribution):
        distribution = distribution.base_dist
    finite = value.isfinite()
    try:
        inside: Tensor = distribution.support.check(torch.where(finite, value, torch.zeros_like(value)))
    except NotImplementedError:
        return finite
    inside = finite & inside.reshape(*inside.shape, *(1,) * (value.dim() - inside.dim()))
    return inside
