"""The importance-weighted bound as an objective."""

from __future__ import annotations

import math

from bayes_vae.objectives.objective import Objective
from bayes_vae.objectives.objective_terms import ObjectiveTerms
from bayes_vae.terms.containers import Draw
from bayes_vae.terms.stream import BoundBatch, Pair

__all__ = ["ImportanceWeightedObjective", "terms_of_bound"]


class ImportanceWeightedObjective(Objective):
    r"""Minus the importance-weighted bound L_K.

    .. math:: -\sum_n \log \frac{1}{K} \sum_{k=1}^K w_{kn}, \qquad
        w_{kn} = \frac{p(x_n, z_{kn})}{q(z_{kn} \mid x_n)}

    Each observation has weights of its own: the mean inside the logarithm is over particles, never over the batch. The
    gradient is the reparameterized one, :math:`\sum_k \tilde w_k \nabla \log w_k` with normalized weights
    :math:`\tilde w`; relative to its size, its part for the guide gets noisier as K grows. L_K has no KL to weigh.

    Args:
        num_particles: K; with K = 1 this is the ELBO.

    Raises:
        ProgramError: a scaled site, a latent without ``rsample``, or nothing to train.

    Reference: Burda, Grosse, Salakhutdinov (2016), "Importance weighted autoencoders", eqs. 8 and 14; Rainforth et al.
    (2018), "Tighter variational bounds are not necessarily better", theorem 1.
    """

    def __init__(self, num_particles: int) -> None:
        super().__init__(num_particles)

    def _of_batch(self, pair: Pair, bound: BoundBatch) -> ObjectiveTerms:
        return terms_of_bound(bound.draw(range(self.num_particles), None))


def terms_of_bound(draw: Draw) -> ObjectiveTerms:
    """The terms of some draws, with minus L_K as the loss."""
    bound = draw.log_importance_weights.logsumexp(0) - math.log(len(draw.log_prior))
    return ObjectiveTerms(
        draw.log_likelihood.mean(0),
        (draw.log_guide - draw.log_prior).mean(0),
        -bound.to(draw.log_likelihood.dtype),
    )
