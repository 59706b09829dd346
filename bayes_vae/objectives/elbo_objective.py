"""The ELBO as an objective."""

from __future__ import annotations

from torch import Tensor

from bayes_vae.errors import NotDefinedError, SettingsError
from bayes_vae.estimators.elbo import KL, check_kl, resolve_kl, total_kl
from bayes_vae.objectives.kl_weights import KLWeight
from bayes_vae.objectives.objective import Objective
from bayes_vae.objectives.objective_terms import ObjectiveTerms
from bayes_vae.terms.stream import BoundBatch, Pair

__all__ = ["Elbo"]


class Elbo(Objective):
    r"""The negative ELBO as an objective, with the KL weighted.

    .. math:: -\sum_n \Big( E_{q} \log p(x_n \mid z) - \beta \, \mathrm{KL}(q(z \mid x_n) \,\|\, p(z)) \Big)

    With free bits :math:`\lambda` the KL becomes :math:`\sum_d \max(\lambda, \mathrm{KL}_d(x_n))`, for each observation
    by itself: whether a dimension of one image is free does not depend on which other images are in the batch. Kingma
    et al. (2016) compare λ with the mean over the mini-batch.

    Works under ``pyro.infer.SVI``, where it registers each module of the pair under a name of its own, and as a module,
    ``Elbo()(model, guide)``, which leaves Pyro's parameter store untouched.

    Args:
        num_particles: K draws from q for each observation; their mean is still the ELBO, not a tighter bound.
        kl: "analytic", "sampled", or "auto": the closed form where the pair exposes its distributions and has one,
            else sampled, as ``Trace_ELBO`` does.
        kl_weight: β, or a function from the number of steps done to it; below 1 this is no bound on log p(x), and
            above 1 a looser one than the ELBO.
        free_bits: λ, nats of KL that are not penalized in each latent dimension of each observation.

    Raises:
        ProgramError: a scaled site, a latent without ``rsample``, or nothing to train.
        NotDefinedError: free bits where prior and guide do not factorize into normals.

    Reference: Kingma, Welling (2014), "Auto-encoding variational Bayes", eqs. 6 and 7; Kingma et al. (2016),
    "Improving variational inference with inverse autoregressive flow", on free bits.
    """

    def __init__(
        self, num_particles: int = 1, *, kl: KL = "auto", kl_weight: KLWeight = 1.0, free_bits: float = 0.0
    ) -> None:
        super().__init__(num_particles, kl_weight)
        check_kl(kl)
        if not free_bits >= 0:
            raise SettingsError(f"free_bits must be at least 0, got {free_bits}.")
        if free_bits and kl == "sampled":
            raise SettingsError(
                "free_bits needs the closed-form KL of each latent dimension: leave out kl='sampled', or free_bits."
            )
        self.kl, self.free_bits = kl, free_bits

    def _of_batch(self, pair: Pair, bound: BoundBatch) -> ObjectiveTerms:
        if self.free_bits:
            per_dimension = _kl_per_dimension(bound)
            closed: Tensor | None = per_dimension.sum(-1)
        else:
            _, sites = resolve_kl(bound, "sampled" if self.kl == "auto" and pair.source == "traces" else self.kl)
            closed = None if sites is None else total_kl(sites)
        if closed is None:
            draw = bound.draw(range(self.num_particles), None)
            log_likelihood, kl_to_prior = draw.log_likelihood, (draw.log_guide - draw.log_prior).mean(0)
        else:
            log_likelihood, kl_to_prior = bound.log_likelihood(range(self.num_particles), None), closed
        charged = per_dimension.clamp(min=self.free_bits).sum(-1) if self.free_bits else kl_to_prior
        expected_log_likelihood = log_likelihood.squeeze(0) if self.num_particles == 1 else log_likelihood.mean(0)
        loss = self.current_kl_weight * charged - expected_log_likelihood
        return ObjectiveTerms(expected_log_likelihood, kl_to_prior, loss)


def _kl_per_dimension(bound: BoundBatch) -> Tensor:
    try:
        return bound.kl_per_dimension()
    except NotDefinedError as error:
        raise NotDefinedError(f"free_bits are for each latent dimension by itself, and {error}") from error
