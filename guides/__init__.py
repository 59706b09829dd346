"""Guides q(z given x): the approximate posteriors, each a Pyro program."""

from bayes_vae.guides.amortized_normal import AmortizedNormalGuide
from bayes_vae.guides.base import Guide, SingleLatentGuide
from bayes_vae.guides.exact_linear_gaussian import ExactLinearGaussianGuide

__all__ = ["AmortizedNormalGuide", "ExactLinearGaussianGuide", "Guide", "SingleLatentGuide"]
