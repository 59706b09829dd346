"""Training by stochastic variational inference."""

from bayes_vae.pairs import build_pair
from bayes_vae.training.callbacks import Callback, EpochState
from bayes_vae.training.svi import fit
from bayes_vae.training.tensorboard import tensorboard_callback

__all__ = ["Callback", "EpochState", "build_pair", "fit", "tensorboard_callback"]
