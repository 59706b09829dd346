"""Generative models p(x, z), each a Pyro program: the prior p(z) times the likelihood p(x given z)."""

from bayes_vae.models.conditional_vae import ConditionalVAE
from bayes_vae.models.likelihoods import (
    BernoulliLikelihood,
    CategoricalLikelihood,
    ColumnsLikelihood,
    ContinuousBernoulliLikelihood,
    DiscretizedLogisticLikelihood,
    LaplaceLikelihood,
    Likelihood,
    NegativeBinomialLikelihood,
    NormalLikelihood,
    PoissonLikelihood,
    ZeroInflatedNegativeBinomialLikelihood,
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
    "ColumnsLikelihood",
    "ConditionalVAE",
    "ContinuousBernoulliLikelihood",
    "DiscretizedLogisticLikelihood",
    "FlowPrior",
    "LaplaceLikelihood",
    "LearnedNormalPrior",
    "Likelihood",
    "LinearGaussianVAE",
    "MixtureOfNormalsPrior",
    "Model",
    "NegativeBinomialLikelihood",
    "NetworkModel",
    "NormalLikelihood",
    "PartsModel",
    "PoissonLikelihood",
    "Prior",
    "SemiSupervisedVAE",
    "SingleLatentModel",
    "StandardNormalPrior",
    "TwoLayerVAE",
    "VampPrior",
    "ZeroInflatedNegativeBinomialLikelihood",
]
