"""Training by stochastic variational inference."""

from bayes_vae.pairs import build_pair
from bayes_vae.training.callbacks import Callback, EpochState
from bayes_vae.training.refitted_prior import RefittedPrior
from bayes_vae.training.refitting import refit_prior
from bayes_vae.training.svi import fit
from bayes_vae.training.tensorboard import tensorboard_callback

__all__ = ["Callback", "EpochState", "RefittedPrior", "build_pair", "fit", "refit_prior", "tensorboard_callback"]
