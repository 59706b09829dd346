"""Training by stochastic variational inference."""

from bayes_vae.training.fit import fit
from bayes_vae.training.pairs import build_pair

__all__ = ["build_pair", "fit"]
