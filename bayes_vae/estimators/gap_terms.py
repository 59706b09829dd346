"""What is known of log p(x) − ELBO: the whole gap, and its two parts where it can be split."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bayes_vae.errors import NotDefinedError
from bayes_vae.terms.averages import Average, average
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.tabular import Tabular
from bayes_vae.vocabulary.number_text import with_error
from bayes_vae.vocabulary.readings import ESTIMATE, LOWER_BOUND, Reading

__all__ = ["GapSplit", "InferenceGap"]

MARGIN = 4.0
"""Standard errors below zero from which a gap that cannot be negative is reported as a failure."""

REMEDIES = {
    "inference_gap": "log p(x) came out below the ELBO, so it is underestimated: raise num_temperatures or num_chains",
    "approximation_gap": "log p(x) came out below the best ELBO, so it is underestimated: raise num_temperatures or "
    "num_chains",
    "amortization_gap": "the optimised q is worse than the amortized one: lower tolerance or raise max_steps",
}


@dataclass(frozen=True, eq=False)
class GapSplit:
    """What the search for the best q of the family found.

    Attributes:
        best_elbo: of q*, from draws that did not serve to find it, shape (N,).
        best_elbo_error: Monte-Carlo standard error, shape (N,).
        amortization_gap_error: the same; both ELBOs share their draws, so it is below what theirs would give.
        converged: whether the search for q* ended by its rule, shape (N,), bool.
        num_steps: its steps, shape (N,).
    """

    best_elbo: Tensor
    best_elbo_error: Tensor
    amortization_gap_error: Tensor
    converged: Tensor
    num_steps: Tensor


@dataclass(frozen=True, eq=False)
class InferenceGap(
    Tabular,
    observation=(
        "log_evidence",
        "log_evidence_error",
        "elbo",
        "elbo_error",
        "inference_gap",
        "inference_gap_error",
        "approximation_gap",
        "approximation_gap_error",
        "amortization_gap",
        "amortization_gap_error",
        "converged",
    ),
):
    r"""log p(x) − ELBO for each observation, in nats, split into what the family and what the encoder loses.

    .. math:: \underbrace{\log p(x) - \mathrm{ELBO}(q)}_{\mathrm{KL}(q \,\|\, p(z \mid x))} =
        \underbrace{\log p(x) - \mathrm{ELBO}(q^*)}_{\text{approximation gap}} +
        \underbrace{\mathrm{ELBO}(q^*) - \mathrm{ELBO}(q)}_{\text{amortization gap}}

    q is the guide's and q* the best of its family for that observation alone. The split is made where prior and guide
    are factorized normals; elsewhere only the whole gap is known, and asking for a part raises ``NotDefinedError``.

    Attributes:
        log_evidence: log p(x), shape (N,).
        elbo: of the guide's q, shape (N,).
        log_evidence_error: Monte-Carlo standard error, shape (N,); zero for the closed form and quadrature, NaN where
            annealing has not converged.
        elbo_error: the same.
        rounding: what floating-point rounding, and the refinement of quadrature, may do to a gap, shape (N,), nats.
        split: what is known of q*; None where the gap is not split.
        why_not_split: the reason, a sentence; empty where it is.
        estimator: where log p(x) is from: "closed form", "quadrature on a grid, D = 2", or "annealed from the guide",
            a lower bound in expectation.
        evidence_reading: how that log p(x) reads.
        num_particles: K, draws behind each ELBO.
        provenance: seed, source and policy.
    """

    log_evidence: Tensor
    elbo: Tensor
    log_evidence_error: Tensor
    elbo_error: Tensor
    rounding: Tensor
    split: GapSplit | None
    why_not_split: str
    estimator: str
    evidence_reading: Reading
    num_particles: int
    provenance: Provenance

    @property
    def inference_gap(self) -> Tensor:
        """log_evidence − elbo, shape (N,): KL(q(z given x) to p(z given x)), at least 0 up to its error."""
        return self.log_evidence - self.elbo

    @property
    def inference_gap_error(self) -> Tensor:
        """Monte-Carlo standard error, shape (N,)."""
        return torch.hypot(self.log_evidence_error, self.elbo_error)

    @property
    def approximation_gap(self) -> Tensor:
        """log_evidence − best_elbo, shape (N,): what the family of q cannot express."""
        return self.log_evidence - self.best_elbo

    @property
    def approximation_gap_error(self) -> Tensor:
        """Monte-Carlo standard error, shape (N,)."""
        return torch.hypot(self.log_evidence_error, self.best_elbo_error)

    @property
    def amortization_gap(self) -> Tensor:
        """best_elbo − elbo, shape (N,): what one encoder for all observations loses."""
        return self.best_elbo - self.elbo

    @property
    def amortization_gap_error(self) -> Tensor:
        """Monte-Carlo standard error, shape (N,)."""
        return self._split().amortization_gap_error

    @property
    def best_elbo(self) -> Tensor:
        """ELBO of q*, shape (N,)."""
        return self._split().best_elbo

    @property
    def best_elbo_error(self) -> Tensor:
        """Monte-Carlo standard error, shape (N,)."""
        return self._split().best_elbo_error

    @property
    def converged(self) -> Tensor:
        """Whether the search for q* ended by its rule, shape (N,), bool."""
        return self._split().converged

    @property
    def num_steps(self) -> Tensor:
        """Steps of that search, shape (N,)."""
        return self._split().num_steps

    def _split(self) -> GapSplit:
        if self.split is None:
            raise NotDefinedError(f"{self.why_not_split} inference_gap, the sum of the two parts, is defined.")
        return self.split

    @property
    def names(self) -> tuple[str, ...]:
        """The gaps that are known: the whole, and its parts where it is split."""
        return ("inference_gap",) if self.split is None else tuple(REMEDIES)

    @property
    def num_observations(self) -> int:
        """N."""
        return len(self.elbo)

    @property
    def failures(self) -> tuple[str, ...]:
        """What is wrong with these figures, a sentence each; empty where nothing is."""
        found = [text for name in self.names for text in self._negative(name)]
        unfinished = 0 if self.split is None else int((~self.split.converged).sum())
        if unfinished:
            found.append(
                f"the best q had not converged for {unfinished} of {self.num_observations} observations after "
                f"{int(self.num_steps.max())} steps, so approximation_gap is too large there: raise max_steps."
            )
        return tuple(found)

    def _negative(self, name: str) -> list[str]:
        """Where a gap is negative beyond its error: in some observations, or in the mean over all."""
        values, errors = getattr(self, name), getattr(self, f"{name}_error")
        where = torch.nonzero(values < -(MARGIN * errors + self.rounding)).flatten().tolist()
        if where:
            row = where[0]
            text = with_error(float(values[row]), float(errors[row]))
            place = f"for {len(where)} of {self.num_observations} observations, the first in row {row} ({text})"
            return [f"{name} is negative beyond its error {place}: {REMEDIES[name]}."]
        mean = self.averages()[name]
        if mean.value < -(MARGIN * mean.monte_carlo_error + float(self.rounding.mean())):
            text = with_error(mean.value, mean.monte_carlo_error)
            return [f"{name} is negative beyond its error in the mean ({text}): {REMEDIES[name]}."]
        return []

    def averages(self) -> dict[str, Average]:
        """The figures over the data set, with Monte-Carlo and data error apart."""
        readings = self._readings
        names = ("log_evidence", "elbo", *(() if self.split is None else ("best_elbo",)), *self.names)
        return {
            name: average(
                name,
                getattr(self, name),
                getattr(self, f"{name}_error"),
                self.num_particles,
                readings[name],
            )
            for name in names
        }

    @property
    def _readings(self) -> dict[str, Reading]:
        """How each figure over the data set reads."""
        evidence = self.evidence_reading
        gap = ESTIMATE if evidence.kind == "quadrature" and evidence.settled else evidence
        return {
            "log_evidence": evidence,
            "elbo": LOWER_BOUND,
            "best_elbo": LOWER_BOUND,
            "inference_gap": gap if self.split else Reading("not_split", reason=self.why_not_split),
            "approximation_gap": Reading("at_most"),
            "amortization_gap": Reading("at_least"),
        }
