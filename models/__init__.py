"""Generative models p(x, z), each a Pyro program: the prior p(z) times the likelihood p(x given z)."""

from bayes_vae.models.conditional_vae import ConditionalVAE
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
from bayes_vae.models.model import Model, PartsModel, SingleLatentModel
from bayes_vae.models.network_model import NetworkModel
from bayes_vae.models.priors import (
    FlowPrior,
    LearnedNormalPrior,
    MixtureOfNormalsPrior,
    Prior,
    StandardNormalPrior,
    VampPrior,
)
from bayes_vae.models.semi_supervised_vae import SemiSupervisedVAE
from bayes_vae.models.two_layer_vae import TwoLayerVAE
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
    "NetworkModel",
    "NormalLikelihood",
    "PartsModel",
    "Prior",
    "SemiSupervisedVAE",
    "SingleLatentModel",
    "StandardNormalPrior",
    "TwoLayerVAE",
    "VampPrior",
]
