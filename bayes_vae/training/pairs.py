"""Building the model and the guide that settings describe."""

from __future__ import annotations

from typing import Any

from bayes_vae.data import Data
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE
from bayes_vae.randomness import derived_seed, isolated_rng
from bayes_vae.settings import PairSettings

__all__ = ["build_pair"]


def build_pair(settings: PairSettings, data: Data, seed: int = 0) -> tuple[Any, Any]:
    """The model and the guide for a data set, the decoder started where the likelihood's mean is the data's.

    Args:
        settings: which model and guide, and the sizes and activation of their networks.
        data: gives the shape of an observation and the mean of the training images.
        seed: of the initial weights.

    Raises:
        SettingsError: parts that cannot work together; the message says why.
        SupportError: data that the likelihood has no density for.
    """
    networks: dict[str, Any] = {
        "data_shape": data.data_shape,
        "hidden_dims": settings.hidden_dims,
        "activation": settings.activation,
        "network": settings.network,
    }
    with isolated_rng(derived_seed(seed, "initial weights")):
        model = VAE(settings.latent_dim, **networks)
        guide = AmortizedNormalGuide(settings.latent_dim, **networks)
    model.set_output_bias(data.train.mean())
    return model, guide
