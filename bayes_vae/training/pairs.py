"""Building the model and the guide that settings describe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from bayes_vae.data import Data, require_fit
from bayes_vae.guides import (
    AmortizedNormalGuide,
    AutoregressiveFlowGuide,
    ConditionalNormalGuide,
    FullCovarianceGuide,
    LocalNormalGuide,
    LowRankGuide,
    PriorGuide,
    SemiAmortizedGuide,
    SemiSupervisedGuide,
    SplineFlowGuide,
    TwoLayerNormalGuide,
)
from bayes_vae.models import VAE, ConditionalVAE, SemiSupervisedVAE, TwoLayerVAE
from bayes_vae.models.likelihoods import LIKELIHOODS
from bayes_vae.parts.combinations import check_combination
from bayes_vae.settings import PairSettings
from bayes_vae.terms.randomness import derived_seed, isolated_rng

__all__ = ["build_pair"]

PSEUDO_INPUT_RANGES = {"binary": "pixels", "gray": "pixels", "counts": "positive", "real": "real"}
"""Kind of observations → range of a VampPrior's pseudo-inputs."""


def build_pair(settings: PairSettings, data: Data, seed: int = 0) -> tuple[Any, Any]:
    """The model and the guide for a data set, the decoder started where the likelihood's mean is the data's.

    Args:
        settings: which model and guide, and the sizes and activation of their networks.
        data: gives the shape of an observation, the mean of the training observations and the number of classes.
        seed: of the initial weights.

    Raises:
        SettingsError: parts that cannot work together; the message says why.
        SupportError: data that the likelihood has no density for.
        DataError: a structure with labels, and data without.
    """
    check_combination(settings)
    require_fit(data, LIKELIHOODS[settings.likelihood])
    with isolated_rng(derived_seed(seed, "initial weights")):
        build = _single_latent if settings.structure == "vae" else _STRUCTURES[settings.structure]
        model, guide = build(settings, data)
        model.set_output_bias(data.train.mean())
    return model, guide


def _networks(settings: PairSettings, data: Data) -> dict[str, Any]:
    """What the networks of model and guide share."""
    return {
        "data_shape": data.data_shape,
        "hidden_dims": settings.hidden_dims,
        "activation": settings.activation,
    }


def _single_latent(settings: PairSettings, data: Data) -> tuple[Any, Any]:
    """A VAE with a prior and a likelihood of choice, and one of the guides of a single latent."""
    networks = {"latent_dim": settings.latent_dim, **_networks(settings, data), "network": settings.network}
    parts: dict[str, Any] = {"likelihood": _likelihood(settings, data), "prior": _prior(settings, data)}
    model = VAE(**networks, **parts)
    guide = _guide(settings, data, model, networks)
    model.attach_guide(guide)
    batch = data.train.observations(torch.arange(min(len(data.train), settings.num_components)))
    model.start_prior_at(batch)
    return model, guide


def _guide(settings: PairSettings, data: Data, model: Any, networks: dict[str, Any]) -> Any:
    makers: dict[str, Callable[[], Any]] = {
        "normal": lambda: AmortizedNormalGuide(**networks),
        "full-covariance": lambda: FullCovarianceGuide(**networks),
        "low-rank": lambda: LowRankGuide(**networks, rank=settings.rank),
        "autoregressive-flow": lambda: AutoregressiveFlowGuide(**networks, num_transforms=settings.num_transforms),
        "spline-flow": lambda: SplineFlowGuide(**networks, num_transforms=settings.num_transforms),
        "local": lambda: LocalNormalGuide(settings.latent_dim, _room(data)),
        "semi-amortized": lambda: SemiAmortizedGuide(model, **networks, num_refinements=settings.num_refinements),
        "prior": lambda: PriorGuide(model),
    }
    return makers[settings.guide]()


def _room(data: Data) -> int:
    """One more than the largest index of the data set."""
    return 1 + max(int(split.index.max()) for split in (data.train, data.validation, data.test))


def _likelihood(settings: PairSettings, data: Data) -> str | dict[str, Any]:
    """The likelihood with its options."""
    if settings.likelihood == "normal":
        return {"name": "normal", "scale": settings.noise_scale, "noise": settings.noise}
    if settings.likelihood == "categorical":
        largest = max(int(split.values.max()) for split in (data.train, data.validation, data.test))
        return {"name": "categorical", "num_categories": settings.num_categories or 1 + largest}
    return settings.likelihood


def _prior(settings: PairSettings, data: Data) -> str | dict[str, Any]:
    """The prior with its options."""
    if settings.prior == "mixture":
        return {"name": "mixture", "num_components": settings.num_components}
    if settings.prior == "vamp":
        values = PSEUDO_INPUT_RANGES[data.observation_kind]
        return {"name": "vamp", "num_components": settings.num_components, "values": values}
    if settings.prior == "flow":
        return {"name": "flow", "num_transforms": settings.num_transforms}
    return settings.prior


def _two_layer(settings: PairSettings, data: Data) -> tuple[Any, Any]:
    sizes = {"latent_dim": settings.latent_dim, "top_latent_dim": settings.top_latent_dim}
    networks = {**sizes, **_networks(settings, data), "top_hidden_dims": settings.top_hidden_dims}
    return TwoLayerVAE(**networks, likelihood=_likelihood(settings, data)), TwoLayerNormalGuide(**networks)


def _conditional(settings: PairSettings, data: Data) -> tuple[Any, Any]:
    networks = {"latent_dim": settings.latent_dim, "num_classes": data.num_classes, **_networks(settings, data)}
    return ConditionalVAE(**networks, likelihood=_likelihood(settings, data)), ConditionalNormalGuide(**networks)


def _semi_supervised(settings: PairSettings, data: Data) -> tuple[Any, Any]:
    networks = {"latent_dim": settings.latent_dim, "num_classes": data.num_classes, **_networks(settings, data)}
    return SemiSupervisedVAE(**networks, likelihood=_likelihood(settings, data)), SemiSupervisedGuide(**networks)


_STRUCTURES: dict[str, Callable[[PairSettings, Data], tuple[Any, Any]]] = {
    "two-layer": _two_layer,
    "conditional": _conditional,
    "semi-supervised": _semi_supervised,
}
