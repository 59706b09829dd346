"""Likelihoods p(x given z): what the decoder's numbers mean, and which data they fit."""

from bayes_vae.models.likelihoods.bernoulli import BernoulliLikelihood
from bayes_vae.models.likelihoods.categorical import CategoricalLikelihood
from bayes_vae.models.likelihoods.columns import ColumnsLikelihood
from bayes_vae.models.likelihoods.continuous_bernoulli import ContinuousBernoulliLikelihood
from bayes_vae.models.likelihoods.discretized_logistic import DiscretizedLogisticLikelihood
from bayes_vae.models.likelihoods.laplace import LaplaceLikelihood
from bayes_vae.models.likelihoods.likelihood import Likelihood
from bayes_vae.models.likelihoods.negative_binomial import NegativeBinomialLikelihood
from bayes_vae.models.likelihoods.normal import NormalLikelihood
from bayes_vae.models.likelihoods.poisson import PoissonLikelihood
from bayes_vae.models.likelihoods.zero_inflated_negative_binomial import ZeroInflatedNegativeBinomialLikelihood

__all__ = [
    "BernoulliLikelihood",
    "CategoricalLikelihood",
    "ColumnsLikelihood",
    "ContinuousBernoulliLikelihood",
    "DiscretizedLogisticLikelihood",
    "LaplaceLikelihood",
    "Likelihood",
    "NegativeBinomialLikelihood",
    "NormalLikelihood",
    "PoissonLikelihood",
    "ZeroInflatedNegativeBinomialLikelihood",
]
