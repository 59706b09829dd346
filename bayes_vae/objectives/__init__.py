"""Objectives for training: each a ``pyro.infer.ELBO``, right for each observation."""

from bayes_vae.objectives.doubly_reparameterized import DoublyReparameterizedObjective
from bayes_vae.objectives.elbo_objective import Elbo
from bayes_vae.objectives.enumerated import EnumeratedElbo
from bayes_vae.objectives.importance_weighted import ImportanceWeightedObjective
from bayes_vae.objectives.kl_weights import ConstantWeight, Cyclical, KLWeight, WarmUp
from bayes_vae.objectives.objective import Objective, ObjectiveModule
from bayes_vae.objectives.objective_terms import ObjectiveTerms
from bayes_vae.objectives.sticking_the_landing import StickingTheLandingObjective

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
