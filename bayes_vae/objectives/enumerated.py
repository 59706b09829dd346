"""The ELBO of a pair with a discrete latent, which is summed over."""

from __future__ import annotations

from typing import ClassVar, cast

import pyro.poutine as poutine
import torch
from torch import Tensor

from bayes_vae.errors import ProgramError
from bayes_vae.objectives.kl_weights import KLWeight
from bayes_vae.objectives.objective import Objective
from bayes_vae.objectives.objective_terms import ObjectiveTerms
from bayes_vae.objectives.refusals import refuse_untrainable
from bayes_vae.terms.enumeration import EnumeratedBatch
from bayes_vae.terms.randomness import isolated_rng
from bayes_vae.terms.stream import BoundBatch, Pair, Source
from bayes_vae.terms.traced import TracedBatch
from bayes_vae.terms.traits import traits_of

__all__ = ["EnumeratedElbo"]


class EnumeratedElbo(Objective):
    r"""The negative ELBO, its expectation over one discrete latent y summed exactly, that over the others drawn.

    .. math:: -\sum_n \sum_y q(y \mid x_n) \, E_{q(z \mid x_n, y)} \Big( \log p(x_n \mid y, z)
        - \beta \log \frac{q(y \mid x_n) \, q(z \mid x_n, y)}{p(y, z)} \Big)

    A draw of y has no reparameterized gradient; the sum has an exact one. The pair runs once for each of the C values
    of y, side by side, so a step costs C times as much as one with y given. For any pair with one discrete latent whose
    values can be listed, one of them for each observation. The terms are read by tracing the programs.

    A guide may have a method ``label_term(*x)``, shape (N,), which is added to what is maximized: the classifier's
    α log q(y given x) of the known labels (:class:`~bayes_vae.guides.SemiSupervisedGuide`). It counts in ``loss``
    alone, in neither of the ELBO's terms.

    Args:
        num_particles: K draws of the other latents for each value of y.
        kl_weight: β, or a function from the number of steps done to it; below 1, or with a label term, this is no
            bound, and above 1 a looser one.

    Raises:
        ProgramError: no discrete latent, or more than one; one whose values cannot be listed; another latent without
            ``rsample``; a scaled site; or nothing to train.

    Reference: Kingma, Rezende, Mohamed, Welling (2014), "Semi-supervised learning with deep generative models",
    eqs. 6–9.
    """

    _source: ClassVar[Source] = "traces"

    def __init__(self, num_particles: int = 1, *, kl_weight: KLWeight = 1.0) -> None:
        super().__init__(num_particles, kl_weight)
        self._values: tuple[Pair, Tensor] | None = None

    def _refuse_untrainable(self, pair: Pair) -> None:
        refuse_untrainable(pair, type(self).__name__, summed=_discrete_site(pair))

    def _of_batch(self, pair: Pair, bound: BoundBatch) -> ObjectiveTerms:
        traced = cast(TracedBatch, bound)  # as _source says
        batch = EnumeratedBatch(traced.pair, traced.x, traced.index)
        batch.support_checked, batch.shared = traced.support_checked, traced.shared
        name, values = _discrete_site(pair), self._values_of(pair, batch)
        count, size = len(values), len(batch.index)
        each = values.reshape(count, 1, 1, *values.shape[1:]).expand(-1, self.num_particles, size, *values.shape[1:])
        draw, log_weights = batch.draw_given(name, each.flatten(0, 1))
        probabilities = log_weights.exp()
        expected_log_likelihood = (probabilities * draw.log_likelihood).sum(0) / self.num_particles
        kl_to_prior = (probabilities * (draw.log_guide - draw.log_prior)).sum(0) / self.num_particles
        loss = self.current_kl_weight * kl_to_prior - expected_log_likelihood
        label_term = traits_of(batch.pair.guide).label_term
        if label_term is not None:
            loss = loss - label_term(*batch.x)
        return ObjectiveTerms(expected_log_likelihood, kl_to_prior, loss)

    def _values_of(self, pair: Pair, batch: EnumeratedBatch) -> Tensor:
        """All values of the discrete latent, found out once for each pair."""
        if self._values is None or self._values[0] is not pair:
            with poutine.block(), isolated_rng(0, batch.index.device), torch.no_grad():  # a step draws what it would
                self._values = (pair, batch.values_of(_discrete_site(pair)))
        return self._values[1]


def _discrete_site(pair: Pair) -> str:
    if len(pair.discrete) != 1:
        found = f"{len(pair.discrete)}: {', '.join(map(repr, pair.discrete))}" if pair.discrete else "none"
        raise ProgramError(
            f"EnumeratedElbo sums over one discrete latent, and this pair has {found}. Without one use Elbo; with "
            "several pyro.infer.TraceEnum_ELBO."
        )
    return pair.discrete[0]
