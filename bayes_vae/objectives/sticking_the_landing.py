"""The ELBO, with a gradient that vanishes where q is the exact posterior."""

from __future__ import annotations

from bayes_vae.objectives.fixed_draws import draw_and_fix
from bayes_vae.objectives.kl_weights import KLWeight
from bayes_vae.objectives.objective import Objective
from bayes_vae.objectives.objective_terms import ObjectiveTerms
from bayes_vae.terms.stream import BoundBatch, Pair

__all__ = ["StickingTheLandingObjective"]


class StickingTheLandingObjective(Objective):
    r"""The negative ELBO with a sampled KL, without the score of q in its gradient.

    .. math:: -\sum_n \frac{1}{K} \sum_k \log p(x_n \mid z_k) + \beta \big( \log p(z_k) - \log q(z_k \mid x_n) \big)

    The gradient of log q at a given z has expectation 0 and is left out; what goes through z stays. So the guide's
    gradient is unbiased, and for β = 1 it is zero, draw by draw, where q is the exact posterior. It costs a second
    evaluation of the densities.

    Args:
        num_particles: K draws from q for each observation; their mean is still the ELBO, not a tighter bound.
        kl_weight: β, or a function from the number of steps done to it; below 1 this is no bound on log p(x), and
            above 1 a looser one than the ELBO.

    Raises:
        ProgramError: a scaled site, a latent without ``rsample``, a program that draws something beside its latents, or
            nothing to train.

    Reference: Roeder, Wu, Duvenaud (2017), "Sticking the landing: simple, lower-variance gradient estimators for
    variational inference".
    """

    def __init__(self, num_particles: int = 1, *, kl_weight: KLWeight = 1.0) -> None:
        super().__init__(num_particles, kl_weight)

    def _of_batch(self, pair: Pair, bound: BoundBatch) -> ObjectiveTerms:
        draw, fixed = draw_and_fix(bound, self.num_particles)
        weight = self.current_kl_weight
        kl_to_prior = (draw.log_guide - draw.log_prior).mean(0)
        expected_log_likelihood = draw.log_likelihood.mean(0)
        score = weight * fixed.log_guide.mean(0)
        loss = weight * kl_to_prior - expected_log_likelihood - (score - score.detach())
        return ObjectiveTerms(expected_log_likelihood, kl_to_prior, loss)
