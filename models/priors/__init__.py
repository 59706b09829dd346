"""Priors p(z): what is believed of a hypothesis before any observation."""

from bayes_vae.models.priors.flow import FlowPrior
from bayes_vae.models.priors.learned_normal import LearnedNormalPrior
from bayes_vae.models.priors.mixture_of_normals import MixtureOfNormalsPrior
from bayes_vae.models.priors.prior import Prior
from bayes_vae.models.priors.standard_normal import StandardNormalPrior
from bayes_vae.models.priors.vamp import VampPrior

__all__ = [
    "FlowPrior",
    "LearnedNormalPrior",
    "MixtureOfNormalsPrior",
    "Prior",
    "StandardNormalPrior",
    "VampPrior",
]
