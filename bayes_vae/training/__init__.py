"""Training by stochastic variational inference."""

from bayes_vae.training.pairs import build_pair
from bayes_vae.training.svi import fit

__all__ = ["build_pair", "fit"]
