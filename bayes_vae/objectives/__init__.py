"""Objectives for training: each a ``pyro.infer.ELBO``, right for each observation."""

from bayes_vae.objectives.base import Objective, ObjectiveModule
from bayes_vae.objectives.doubly_reparameterized import DoublyReparameterizedObjective
from bayes_vae.objectives.elbo import Elbo
from bayes_vae.objectives.enumerated import EnumeratedElbo
from bayes_vae.objectives.importance_weighted import ImportanceWeightedObjective
from bayes_vae.objectives.kl_weights import ConstantWeight, Cyclical, KLWeight, WarmUp
from bayes_vae.objectives.sticking_the_landing import StickingTheLandingObjective
from bayes_vae.objectives.terms import ObjectiveTerms

__all__ = [
    "ConstantWeight",
    "Cyclical",
    "DoublyReparameterizedObjective",
    "Elbo",
    "EnumeratedElbo",
    "ImportanceWeightedObjective",
    "KLWeight",
    "Objective",
    "ObjectiveModule",
    "ObjectiveTerms",
    "StickingTheLandingObjective",
    "WarmUp",
]
