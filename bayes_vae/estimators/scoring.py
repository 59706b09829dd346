"""Scores of single observations: log p(x) and what it is made of, and where each stands among known observations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Unpack

import torch
from torch import Tensor

from bayes_vae.errors import SettingsError
from bayes_vae.estimators.annealing.annealed import AnnealedEstimate, anneal
from bayes_vae.estimators.elbo import KL, ElboAtDraws, ElboTerms
from bayes_vae.estimators.importance.estimate import LogEvidenceEstimate
from bayes_vae.estimators.importance.log_evidence import WeightsAtDraws
from bayes_vae.terms.averages import Average, average, log_mean_bias
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.listed_options import lists_options
from bayes_vae.terms.opened import OpenPair, Options, collect, open_pair
from bayes_vae.terms.program import Program
from bayes_vae.terms.rows import RowSource, X, as_observations
from bayes_vae.terms.tabular import Column, Tabular
from bayes_vae.terms.whole_numbers import whole_number
from bayes_vae.vocabulary.readings import Reading

__all__ = ["Scores", "percentiles", "score"]

RANKED = ("log_evidence", "expected_log_likelihood", "kl_to_prior", "inference_gap")
"""What is ranked among the reference observations."""


@dataclass(frozen=True, eq=False)
class Scores(
    Tabular,
    observation=(
        "log_evidence",
        "standard_error",
        "elbo",
        "expected_log_likelihood",
        "kl_to_prior",
        "inference_gap",
        "pareto_k",
        "effective_sample_size",
        "converged",
    ),
):
    r"""log p(x) of each observation, its parts, and its rank among reference observations.

    A high log p(x) does not say that an observation is of the data: simple outliers, such as smooth or dark pictures,
    often have a higher one than every observation of the data (Nalisnick et al., 2019). So ranks at both ends are
    remarkable, and the parts say more: an expected log likelihood that is low (not reconstructed), a KL that is high
    (a code far from the prior), a gap that is large or a high k̂ (the encoder has not seen its like).

    Attributes:
        log_evidence: shape (N,), nats, by one estimator for all observations.
        standard_error: Monte-Carlo error of each, shape (N,); NaN where it is unknown.
        converged: whether the estimator's criterion holds, shape (N,), bool; else log_evidence is a lower bound.
        terms: the ELBO and its two terms.
        bound: L_K of the same draws, with k̂.
        estimator: of log p(x).
        reading: how the mean of log p(x) reads.
        ranks: name → percentile among the reference observations, shape (N,); empty where there are none.
        num_reference: reference observations.
    """

    log_evidence: Tensor
    standard_error: Tensor
    converged: Tensor
    terms: ElboTerms
    bound: LogEvidenceEstimate
    estimator: str
    reading: Reading
    ranks: Mapping[str, Tensor] = field(default_factory=dict)
    num_reference: int = 0

    @property
    def elbo(self) -> Tensor:
        """Shape (N,), nats."""
        return self.terms.elbo

    @property
    def expected_log_likelihood(self) -> Tensor:
        """Shape (N,), nats: how well x is explained by its codes."""
        return self.terms.expected_log_likelihood

    @property
    def kl_to_prior(self) -> Tensor:
        """Shape (N,), nats: how unusual its codes are."""
        return self.terms.kl_to_prior

    @property
    def inference_gap(self) -> Tensor:
        """log p(x) − ELBO, shape (N,), nats: KL(q(z given x) to p(z given x)), or a lower bound on it."""
        return self.log_evidence - self.elbo

    @property
    def pareto_k(self) -> Tensor:
        """k̂ of the importance weights, shape (N,)."""
        return self.bound.pareto_k

    @property
    def effective_sample_size(self) -> Tensor:
        """Of the importance weights, shape (N,)."""
        return self.bound.effective_sample_size

    @property
    def provenance(self) -> Provenance:
        """Seed, source and policy."""
        return self.terms.provenance

    def columns(self) -> dict[str, Column]:
        """What is known of each observation, its percentiles last."""
        ranks: dict[str, Column] = {f"{name}_percentile": ("observation", rank) for name, rank in self.ranks.items()}
        return {**super().columns(), **ranks}

    def averages(self) -> dict[str, Average]:
        """Means over the observations."""
        count, bias = self.bound.num_particles, log_mean_bias(self.standard_error)
        found = average("log_evidence", self.log_evidence, self.standard_error, count, self.reading, bias)
        return {"log_evidence": found, **self.terms.averages()}


@lists_options
def score(
    model: Program,
    guide: Program,
    x: X,
    num_particles: int = 500,
    *,
    num_temperatures: int = 0,
    reference: X | Scores | None = None,
    kl: KL = "auto",
    **options: Unpack[Options],
) -> Scores:
    r"""log p(x), ELBO, expected log likelihood, KL, gap and k̂ of each observation, with percentiles.

    .. math:: \mathrm{percentile}(s) = \frac{100}{M} \sum_m \big( [s_m < s] + \tfrac12 [s_m = s] \big)

    All observations, and the reference, have one estimator of log p(x): the exact one where the model has it, else
    annealing where ``num_temperatures`` is above 0, else L_K.

    Args:
        x: as in :func:`bayes_vae.log_terms`; batches are read one after another.
        num_particles: K, draws from q for the ELBO's terms and L_K.
        num_temperatures: of annealing; 0 takes L_K, which is faster and, where k̂ is high, a lower bound.
        reference: observations to rank among, such as ``data.test``, or their scores with the same settings.
        kl: as in :func:`bayes_vae.elbo_terms`.
        Others: as in :func:`bayes_vae.log_terms`.

    Returns:
        :class:`bayes_vae.Scores`, shape (N,), nats; percentiles from 0 to 100.

    Raises:
        SettingsError: reference scores of another estimator, K or data policy.
        ProgramError, SupportError, NumericalError: as :func:`bayes_vae.log_terms`.

    Reference: Nalisnick, Matsukawa, Teh, Gorur, Lakshminarayanan (2019), "Do deep generative models know what they
    don't know?".
    """
    settings = {
        "num_particles": whole_number("num_particles", num_particles),
        "num_temperatures": whole_number("num_temperatures", num_temperatures, 0),
    }
    with open_pair(model, guide, x, **options) as opened:
        if not isinstance(reference, Scores | RowSource | None):
            as_observations(reference, "reference")
        found = _scores_of(opened, kl, **settings)
    if reference is None:
        return found
    if not isinstance(reference, Scores):
        others = {name: value for name, value in options.items() if name not in ("index", "progress")}
        reference = score(model, guide, reference, kl=kl, **settings, **others)  # type: ignore[arg-type]
    _refuse_other_settings(found, reference)
    ranks = {name: percentiles(getattr(found, name), getattr(reference, name)) for name in RANKED}
    count = len(reference.log_evidence)
    return replace(found, ranks=ranks, num_reference=count)


def percentiles(values: Tensor, reference: Tensor) -> Tensor:
    """Where each value stands among reference values, from 0 (below all) to 100; equal ones count half.

    Args:
        values: shape (N,).
        reference: shape (M,).

    >>> percentiles(torch.tensor([0.0, 2.0, 9.0]), torch.tensor([1.0, 2.0, 3.0, 4.0])).tolist()
    [0.0, 37.5, 100.0]
    """
    ordered, values = reference.double().sort().values, values.double()
    below = torch.searchsorted(ordered, values.contiguous())
    not_above = torch.searchsorted(ordered, values.contiguous(), right=True)
    return 50 * (below + not_above).double() / len(ordered)


def _scores_of(opened: OpenPair, kl: KL, num_particles: int, num_temperatures: int) -> Scores:
    """Without ranks."""
    elbo, weights = ElboAtDraws(kl), WeightsAtDraws(num_particles)
    exact = opened.log_evidence()
    annealing = num_temperatures > 0 and exact is None and not opened.pair.discrete
    collect(opened.phase(0, 2) if annealing else opened, num_particles, elbo, weights)
    terms, bound = elbo.result(opened), weights.result(opened)
    if exact is not None:
        sure = torch.ones_like(exact, dtype=torch.bool)
        return Scores(exact, torch.zeros_like(exact), sure, terms, bound, "exact", Reading("exact"))
    if annealing:
        best: AnnealedEstimate | LogEvidenceEstimate = anneal(opened.phase(1, 2), num_temperatures=num_temperatures)
    else:
        best = bound
    values = (best.log_evidence, best.standard_error, best.converged)
    return Scores(*values, terms, bound, best.estimator, best.reading)


def _refuse_other_settings(found: Scores, reference: Scores) -> None:
    about = [(one.estimator, one.bound.num_particles, one.provenance.data_policy) for one in (found, reference)]
    if about[0] != about[1]:
        told = [f"{estimator}, K = {count}, data policy {policy!r}" for estimator, count, policy in about]
        raise SettingsError(
            f"the observations are scored by {told[0]}, and the reference by {told[1]}: percentiles among other "
            "figures mean nothing. Score both with the same settings."
        )
