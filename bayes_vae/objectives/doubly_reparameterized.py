"""The importance-weighted bound, with the doubly reparameterized gradient for the guide."""

from __future__ import annotations

from bayes_vae.objectives.fixed_draws import draw_and_fix
from bayes_vae.objectives.importance_weighted import terms_of_bound
from bayes_vae.objectives.objective import Objective
from bayes_vae.objectives.objective_terms import ObjectiveTerms
from bayes_vae.terms.stream import BoundBatch, Pair

__all__ = ["DoublyReparameterizedObjective"]


class DoublyReparameterizedObjective(Objective):
    r"""Minus the importance-weighted bound L_K, with a gradient whose noise for the guide falls as K grows.

    The value is that of :class:`~bayes_vae.objectives.ImportanceWeightedObjective`. The gradient of one observation is

    .. math:: \sum_k \tilde w_k^2 \, \frac{\partial \log w_k}{\partial z_k} \frac{d z_k}{d \phi}
        \quad \text{for the guide}, \qquad
        \sum_k \tilde w_k \, \nabla_\theta \log p_\theta(x, z_k) \quad \text{for the model},

    with normalized weights :math:`\tilde w`; both are unbiased for the gradient of L_K. A parameter that model and
    guide share gets their sum. It costs a second evaluation of the densities.

    Args:
        num_particles: K; with K = 1 this is the gradient of
            :class:`~bayes_vae.objectives.StickingTheLandingObjective`.

    Raises:
        ProgramError: a scaled site, a latent without ``rsample``, a program that draws something beside its latents, or
            nothing to train.

    Reference: Tucker, Lawson, Gu, Maddison (2019), "Doubly reparameterized gradient estimators for Monte Carlo
    objectives".
    """

    def __init__(self, num_particles: int) -> None:
        super().__init__(num_particles)

    def _of_batch(self, pair: Pair, bound: BoundBatch) -> ObjectiveTerms:
        draw, fixed = draw_and_fix(bound, self.num_particles)
        terms = terms_of_bound(draw)
        weights = draw.log_importance_weights.detach().softmax(0).to(draw.log_guide.dtype)
        log_joint = draw.log_prior + draw.log_likelihood
        fixed_joint = fixed.log_prior + fixed.log_likelihood
        path = (log_joint - fixed_joint) - (draw.log_guide - fixed.log_guide)
        surrogate = (weights.square() * path + weights * fixed_joint).sum(0)
        return terms._replace(loss=terms.loss.detach() - (surrogate - surrogate.detach()))
