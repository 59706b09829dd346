"""Prior, likelihood and q as numbers that the page can compute with; what it cannot compute with is refused by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import AffineTransform, LowRankMultivariateNormal, MultivariateNormal

from bayes_vae.distributions import normal_parts
from bayes_vae.distributions.flow_transform import FlowTransform
from bayes_vae.distributions.normal_outputs import SCALE_FLOOR, SCALE_OFFSET
from bayes_vae.distributions.positive import positive
from bayes_vae.distributions.properties import unwrap
from bayes_vae.errors import NotDefinedError
from bayes_vae.explore.networks import Step, steps_of
from bayes_vae.guides import AmortizedNormalGuide, FullCovarianceGuide
from bayes_vae.guides.network_guide import NetworkGuide
from bayes_vae.models.likelihoods import discretized_logistic, normal
from bayes_vae.models.likelihoods.columns import ColumnsLikelihood
from bayes_vae.models.network_model import NetworkModel
from bayes_vae.models.priors.component_mixture import ComponentMixture
from bayes_vae.models.vae import VAE

__all__ = ["Normals", "decoder_steps", "encoder_of", "likelihood_of", "moments_of", "normals_of", "prior_of"]

MOMENT_DRAWS = 4096
"""Draws behind the mean and covariance of a q that is no normal."""


class Normals(NamedTuple):
    """N normals over z.

    Attributes:
        loc: means, shape (N, D).
        scale_tril: lower triangular factors of the covariances, shape (N, D, D).
    """

    loc: Tensor
    scale_tril: Tensor


def likelihood_of(model: Any) -> dict[str, Any]:
    """The family of p(x given z) and its numbers that do not depend on z.

    Raises:
        NotDefinedError: a model or a family that the page does not know.
    """
    found = _family_numbers(_known_model(model).likelihood_family)
    if isinstance(model, NetworkModel):
        found["exponential"] = model.decoder_output == "mean-and-log-scale"
    return found


def _family_numbers(family: Any) -> dict[str, Any]:
    """Name, parameters per number of x, and what else the density needs."""
    name = family.name
    found: dict[str, Any] = {"family": name, "per_number": family.outputs_per_number}
    if name in ("bernoulli", "continuous-bernoulli", "categorical", "poisson"):
        return found
    if name in ("normal", "laplace"):
        found |= {"noise": family.noise, "floor": normal.SCALE_FLOOR, "exponential": False}
        if family.noise == "fixed":
            found["scale"] = float(family.scale)
        elif family.noise == "shared":
            found["scale"] = float(positive(family.raw_scale.detach(), normal.SCALE_FLOOR))
        return found
    if name == "discretized-logistic":
        return found | {"floor": discretized_logistic.SCALE_FLOOR}
    if name in ("negative-binomial", "zero-inflated-negative-binomial"):
        return found | {"log_dispersion": family.log_dispersion.detach().flatten()}
    if name == "columns":
        return found | _groups(family)
    raise NotDefinedError(f"the page cannot compute the likelihood {name!r}. bayes-vae report shows any run.")


def _groups(family: ColumnsLikelihood) -> dict[str, Any]:
    """The families of the groups, and which each number of x has; what a group knows by number, at x's places."""
    size = family.data_shape.numel()
    groups, of = [], [0] * size
    for place, (_, part, columns) in enumerate(family.parts()):
        numbers = _family_numbers(part)
        if "log_dispersion" in numbers:
            known = numbers["log_dispersion"]
            numbers["log_dispersion"] = known.new_zeros(size).index_copy(0, columns.to(known.device), known)
        groups.append(numbers)
        for column in columns.tolist():
            of[column] = place
    return {"groups": groups, "of": of}


def decoder_steps(model: Any) -> list[Step]:
    """The decoder from rows of z to rows of the likelihood's parameters, the first of every number before the second.

    Raises:
        NotDefinedError: a layer that the page does not know.
    """
    network = _known_model(model).decoder
    if not isinstance(model, NetworkModel):
        return steps_of(network, (model.latent_dim,))
    if model.decoder_output != "probabilities":
        return steps_of(network, (model.latent_dim,), lambda z: model.decode(z).flatten(1))
    steps = steps_of(network, (model.latent_dim,), lambda z: model.decode(z).flatten(1))
    if steps[-1]["step"] != "sigmoid":
        raise NotDefinedError(
            "the decoder's probabilities do not come from a last sigmoid, before which the logits are."
        )
    return steps[:-1]


def _known_model(model: Any) -> Any:
    if not isinstance(model, VAE | NetworkModel):
        raise NotDefinedError(
            f"the page shows models of one latent z and one decoder (structure 'vae', or pair_from_networks), and this "
            f"one is {type(model).__name__}. bayes-vae report shows any run."
        )
    return model


def prior_of(model: Any) -> dict[str, Any]:
    """p(z) as a mixture of normals, or as a flow of affine couplings.

    Raises:
        NotDefinedError: another distribution.
    """
    prior = model.prior()
    if isinstance(prior, ComponentMixture):
        normals = normals_of(prior.components)
        if normals is not None:
            return {"kind": "mixture", "log_weights": prior.log_weights.detach(), **normals._asdict()}
    normals = normals_of(prior)
    if normals is not None:
        loc, scale_tril = normals.loc.unsqueeze(0), normals.scale_tril.unsqueeze(0)
        return {"kind": "mixture", "log_weights": loc.new_zeros(1), "loc": loc, "scale_tril": scale_tril}
    flow = _couplings(prior)
    if flow is None:
        raise NotDefinedError(
            f"the page cannot compute the prior {type(prior).__name__}; it knows normals, mixtures of normals and "
            "flows of affine couplings."
        )
    return flow


def _couplings(prior: Any) -> dict[str, Any] | None:
    """A flow of affine couplings from a standard normal, then moved and rescaled."""
    transforms: Any = getattr(prior, "transforms", ())
    if len(transforms) != 2 or not isinstance(transforms[0], FlowTransform):
        return None
    placed: Any = transforms[1]
    steps = transforms[0]._steps
    if not isinstance(placed, AffineTransform) or not all(type(step).__name__ == "AffineCoupling" for step in steps):
        return None
    couplings = [
        {
            "kept": step.split_dim,
            "steps": steps_of(_hidden_layers(step.nn), (step.split_dim,), step.nn),
            "least": step.log_scale_min_clip,
            "most": step.log_scale_max_clip,
        }
        for step in steps
    ]
    loc, scale = (torch.as_tensor(part).detach() for part in (placed.loc, placed.scale))
    return {"kind": "flow", "loc": loc, "scale": scale, "couplings": couplings}


def _hidden_layers(network: Any) -> nn.Sequential:
    """The layers of Pyro's DenseNN, whose outputs lie in one row."""
    layers: list[nn.Module] = []
    for layer in network.layers:
        layers += [layer, network.f]
    return nn.Sequential(*layers[:-1])


def normals_of(q: Any) -> Normals | None:
    """The normals that a batch of distributions over z are; None where they are none."""
    parts = normal_parts(q)
    if parts is not None:
        loc, scale = torch.broadcast_tensors(*parts)
        return Normals(loc.detach(), scale.detach().diag_embed())
    inner = unwrap(q)
    if isinstance(inner, MultivariateNormal):
        return Normals(inner.loc.detach(), inner.scale_tril.detach())
    if isinstance(inner, LowRankMultivariateNormal):
        covariance: Tensor = inner.covariance_matrix.detach()
        return Normals(inner.loc.detach(), torch.linalg.cholesky(covariance))
    return None


def moments_of(q: Any) -> Normals:
    """Means and covariances of distributions that are no normals, from draws with the seed of the caller."""
    draws = q.sample((MOMENT_DRAWS,))
    middle = draws.mean(0)
    apart = draws - middle
    covariance = torch.einsum("knd,kne->nde", apart, apart) / (MOMENT_DRAWS - 1)
    return Normals(middle, torch.linalg.cholesky(covariance))


def encoder_of(guide: Any, data_shape: Sequence[int]) -> dict[str, Any] | None:
    """The encoder, for an image that is drawn in the page; None where the page cannot run it, which it then says."""
    flat = (math.prod(data_shape),)
    try:
        if isinstance(guide, AmortizedNormalGuide | FullCovarianceGuide):
            output = "normal" if isinstance(guide, AmortizedNormalGuide) else "full-covariance"
            floors = {"floor": SCALE_FLOOR, "offset": SCALE_OFFSET}
            return {"output": output, **floors, "steps": steps_of(guide.encoder, flat)}
        if isinstance(guide, NetworkGuide):
            shape = tuple(guide.input_shape)
            steps = steps_of(guide.encoder, shape, lambda rows: guide.encoder(rows.reshape(-1, *shape)))
            return {"output": guide.encoder_output, "steps": steps}
    except NotDefinedError:
        return None
    return None
