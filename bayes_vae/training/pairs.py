"""Building the model and the guide that settings describe."""

from __future__ import annotations

from bayes_vae.data import Data
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE
from bayes_vae.randomness import derived_seed, isolated_rng
from bayes_vae.settings import PairSettings

__all__ = ["build_pair"]


def build_pair(settings: PairSettings, data: Data, seed: int = 0) -> tuple[VAE, AmortizedNormalGuide]:
    """A VAE and its guide for a data set, the decoder started at the logit of the data's mean.

    Args:
        settings: sizes and activation of the networks.
        data: gives the shape of an observation and the mean of the training images.
        seed: of the initial weights.
    """
    with isolated_rng(derived_seed(seed, "initial weights")):
        model = VAE(settings.latent_dim, data.data_shape, settings.hidden_dims, settings.activation)
        guide = AmortizedNormalGuide(settings.latent_dim, data.data_shape, settings.hidden_dims, settings.activation)
    model.set_output_bias(data.train.mean())
    return model, guide
