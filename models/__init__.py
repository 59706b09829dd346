"""Generative models p(x, z), each a Pyro program: the prior p(z) times the likelihood p(x given z)."""

from bayes_vae.models.base import Model, PartsModel, SingleLatentModel
from bayes_vae.models.conditional import ConditionalVAE
from bayes_vae.models.likelihoods import (
    BernoulliLikelihood,
    CategoricalLikelihood,
    ContinuousBernoulliLikelihood,
    DiscretizedLogisticLikelihood,
    Likelihood,
    NegativeBinomialLikelihood,
    NormalLikelihood,
)
from bayes_vae.models.linear_gaussian import LinearGaussianVAE
from bayes_vae.models.priors import (
    FlowPrior,
    LearnedNormalPrior,
    MixtureOfNormalsPrior,
    Prior,
    StandardNormalPrior,
    VampPrior,
)
from bayes_vae.models.semi_supervised import SemiSupervisedVAE
from bayes_vae.models.two_layer import TwoLayerVAE
from bayes_vae.models.vae import VAE

__all__ = [
    "VAE",
    "BernoulliLikelihood",
    "CategoricalLikelihood",
    "ConditionalVAE",
    "ContinuousBernoulliLikelihood",
    "DiscretizedLogisticLikelihood",
    "FlowPrior",
    "LearnedNormalPrior",
    "Likelihood",
    "LinearGaussianVAE",
    "MixtureOfNormalsPrior",
    "Model",
    "NegativeBinomialLikelihood",
    "NormalLikelihood",
    "PartsModel",
    "Prior",
    "SemiSupervisedVAE",
    "SingleLatentModel",
    "StandardNormalPrior",
    "TwoLayerVAE",
    "VampPrior",
]
