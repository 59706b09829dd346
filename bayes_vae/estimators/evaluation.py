"""Every term of Bayes' rule for a data set, with one figure for log p(x): what ``bayes-vae evaluate`` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Unpack

import torch
from torch import Tensor

from bayes_vae.estimators.annealing.annealed import AnnealedEstimate
from bayes_vae.estimators.elbo import KL, ElboAtDraws, ElboTerms
from bayes_vae.estimators.importance.estimate import LogEvidenceEstimate
from bayes_vae.estimators.importance.proposals import Proposal
from bayes_vae.estimators.rungs.annealed_rung import annealed_of
from bayes_vae.estimators.rungs.climb import climb
from bayes_vae.estimators.rungs.rung import Rung, beside, leading, why_leading, within_error
from bayes_vae.terms.averages import Average, average
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.listed_options import lists_options
from bayes_vae.terms.opened import Accumulator, OpenPair, Options, open_pair
from bayes_vae.terms.program import Program
from bayes_vae.terms.rows import X
from bayes_vae.terms.tabular import Column, Tabular
from bayes_vae.terms.whole_numbers import whole_number
from bayes_vae.vocabulary.readings import ESTIMATE, Reading

__all__ = ["Evaluation", "evaluate", "evaluation_of"]


@dataclass(frozen=True, eq=False)
class Evaluation(Tabular, observation=("log_evidence", "inference_gap")):
    r"""The ELBO's terms, the importance-weighted bound of the same draws, and the best known log p(x).

    .. math:: \mathrm{ELBO}(x) \le L_K(x) \le \log p(x), \qquad
        \log p(x) - \mathrm{ELBO}(x) = \mathrm{KL}(q(z \mid x) \,\|\, p(z \mid x))

    Attributes:
        terms: the ELBO and its two terms.
        bound: L_K with its reliability.
        rungs: what is known of log p(x), from L_K up to the exact value, as on the ladder of
            :func:`bayes_vae.compare`.
        left_out: name of a rung → why it is not there, where that must be said.
        seconds: time of the ELBO and L_K together; the other rungs have their own.
    """

    terms: ElboTerms
    bound: LogEvidenceEstimate
    rungs: tuple[Rung, ...]
    left_out: Mapping[str, str]
    seconds: float

    @property
    def leading(self) -> Rung:
        """The rung that stands for log p(x): one for all observations, by an order fixed before drawing."""
        return leading(self.rungs)

    @property
    def log_evidence(self) -> Tensor:
        """log p(x) of the leading rung, shape (N,), nats."""
        return self.leading.values

    @property
    def why_leading(self) -> str:
        """Why that rung leads and none before it; empty where it is the first in the order."""
        return why_leading(self.rungs)

    @property
    def _bound_rung(self) -> Rung:
        return next(rung for rung in self.rungs if rung.result is self.bound)

    @property
    def why_not_annealed(self) -> str:
        """Why nothing is annealed; empty where something is."""
        return self.left_out.get("annealed", "")

    @property
    def annealed(self) -> AnnealedEstimate | None:
        """Annealed from the guide; None where it was left out."""
        return annealed_of(self.rungs)

    @property
    def inference_gap(self) -> Tensor:
        """log_evidence − elbo, shape (N,), nats: KL(q(z given x) to p(z given x)), or a lower bound on it."""
        return self.log_evidence - self.terms.elbo

    @property
    def estimator(self) -> str:
        """Which estimator log_evidence is from."""
        return self.leading.estimator

    @property
    def estimators(self) -> dict[str, str]:
        """How each of :meth:`averages` was computed."""
        closed, draws = self.terms.kl == "analytic", "mean over draws from q"
        return {
            "expected_log_likelihood": draws,
            "kl_to_prior": "closed form" if closed else draws,
            "elbo": draws + (", KL in closed form" if closed else ""),
            "importance_weighted_bound": self.bound.estimator,
            "log_evidence": self.estimator,
            "inference_gap": f"log p(x) ({self.estimator}) minus the ELBO",
        }

    @property
    def num_observations(self) -> int:
        """N."""
        return self.terms.num_observations

    @property
    def provenance(self) -> Provenance:
        """Seed, source and policy."""
        return self.terms.provenance

    def columns(self) -> dict[str, Column]:
        """The terms, the bound and the evidence of each observation."""
        bound = {f"bound_{name}": column for name, column in self.bound.columns().items()}
        return {**self.terms.columns(), **bound, **super().columns()}

    def averages(self) -> dict[str, Average]:
        """Figures over the data set, from the likelihood's term to the gap."""
        figures = self.terms.averages()
        bound = beside(self.leading, self._bound_rung)
        figures["importance_weighted_bound"] = replace(bound, name="importance_weighted_bound")
        top = self.leading
        figures["log_evidence"] = replace(top.average, name="log_evidence")
        error = torch.hypot(top.standard_errors, self.terms.elbo_error)
        gap = ("inference_gap", self.inference_gap, error, top.num_particles, self._reading_of_gap, top.bias)
        figures["inference_gap"] = _as_difference(average(*gap))
        return figures

    @property
    def _reading_of_gap(self) -> Reading:
        """An estimate where log p(x) is exact, since the ELBO is one; else as log p(x) reads."""
        reading = self.leading.reading
        return ESTIMATE if reading.settled and reading.kind in ("exact", "quadrature") else reading


def _as_difference(gap: Average) -> Average:
    """A gap that is zero up to its error reads so: the ELBO and log p(x) are then equal within error."""
    equal = within_error(gap) and gap.reading.settled
    return replace(gap, reading=replace(gap.reading, equal=True)) if equal else gap


@lists_options
def evaluate(
    model: Program,
    guide: Program,
    x: X,
    num_particles: int = 500,
    *,
    num_temperatures: int = 50,
    proposal: Proposal = "guide",
    kl: KL = "auto",
    **options: Unpack[Options],
) -> Evaluation:
    r"""Estimate every term of Bayes' rule for every observation.

    The ELBO's terms and L_K share their draws; annealing has its own, so that for single observations, and on easy
    data, it may come out below L_K by chance.

    log p(x) is one figure for the whole data set, the first in this order whose criterion holds for every observation:
    exact (where ``model.log_evidence(x)`` exists), quadrature (one or two latent dimensions), annealed, a refined
    proposal, L_K. Where none holds the first of those there are leads, and its reading says for how many observations
    it failed.

    Args:
        num_particles: K, draws from q for the ELBO's terms and L_K.
        num_temperatures: of :func:`bayes_vae.annealed_log_evidence` from the guide; 0 leaves it out. It is left out
            as well where a latent is discrete, and the result says so.
        proposal: another than "guide" adds K draws from a refined proposal, as in
            :func:`bayes_vae.estimate_log_evidence`.
        kl: as in :func:`bayes_vae.elbo_terms`.
        Others: as in :func:`bayes_vae.log_terms`.

    Returns:
        :class:`Evaluation`, shape (N,), nats.

    Raises:
        ProgramError, SupportError, NumericalError: as :func:`bayes_vae.log_terms`.
    """
    with open_pair(model, guide, x, task="evaluation", **options) as opened:
        return evaluation_of(opened, num_particles, num_temperatures=num_temperatures, proposal=proposal, kl=kl)


def evaluation_of(
    opened: OpenPair,
    num_particles: int = 500,
    *accumulators: Accumulator,
    num_temperatures: int = 50,
    proposal: Proposal = "guide",
    kl: KL = "auto",
) -> Evaluation:
    """:func:`evaluate` of a pair that is open; other accumulators share the draws of the ELBO and L_K."""
    elbo, sizes = ElboAtDraws(kl), (whole_number("num_particles", num_particles),)
    shared = climb(
        opened, sizes, elbo, *accumulators, num_temperatures=num_temperatures, tolerance=None, proposal=proposal
    )
    return Evaluation(elbo.result(opened), shared.estimate, shared.rungs(), shared.left_out, shared.seconds)
