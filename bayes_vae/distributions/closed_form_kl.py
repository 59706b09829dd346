"""Closed-form KL divergences between a guide's distribution and a prior."""

from __future__ import annotations

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import kl_divergence
from torch.distributions.kl import _KL_REGISTRY as KL_REGISTRY

from bayes_vae.distributions.properties import NORMALS, is_stock, normal_parts, unwrap
from bayes_vae.errors import NotDefinedError

__all__ = ["analytic_kl", "analytic_kl_per_dimension"]


def analytic_kl(q: dist.TorchDistribution, p: dist.TorchDistribution) -> Tensor | None:
    r"""Closed-form KL(q to p), or None where no closed form is known.

    .. math:: \mathrm{KL}(q \,\|\, p) = \int q(z) \log \frac{q(z)}{p(z)} \, dz \ge 0

    A full-covariance or low-rank normal against a factorized one is added to the pairs that torch registers. A class
    derived from torch's or Pyro's has a closed form only where one is registered for that very class.

    Returns:
        shape of the batch, nats.
    """
    bases = unwrap(q), unwrap(p)
    if not (all(map(is_stock, bases)) or (type(bases[0]), type(bases[1])) in KL_REGISTRY):
        return None
    parts = normal_parts(p)
    if parts is not None and normal_parts(q) is not None and len(q.event_shape) == len(p.event_shape) == 1:
        return kl_divergence(*bases).sum(-1)  # what Pyro's rule for Independent does, without its reshape
    if isinstance(unwrap(q), NORMALS[1:]) and parts is not None:
        p = dist.MultivariateNormal(parts[0], scale_tril=parts[1].diag_embed(), validate_args=False)
        q = unwrap(q)
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
                f"{type(unwrap(distribution)).__name__}: its dimensions are not independent, or no closed form "
                "is known. Use kl_to_prior, the KL over all dimensions."
            )
    return kl_divergence(unwrap(q), unwrap(p))
