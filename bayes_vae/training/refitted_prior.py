"""What refitting a prior came to: both priors on the same test rows, and which of them is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from bayes_vae.estimators import AggregatePosteriorTerms
from bayes_vae.estimators.contenders import Contender
from bayes_vae.estimators.model_comparison import Difference, ModelComparison
from bayes_vae.runs import Run
from bayes_vae.terms.averages import Average, average
from bayes_vae.training.prior_fitting import FittedPrior
from bayes_vae.vocabulary.number_text import with_error

__all__ = ["NEW", "OLD", "RefittedPrior"]

OLD, NEW = "old prior", "new prior"

ERRORS = 2.0
"""Errors by which log p(x) must have risen for the new prior to be kept."""


@dataclass(frozen=True, eq=False)
class RefittedPrior:
    """A pair under its old and a refitted prior.

    Attributes:
        old_model: as it was given.
        new_model: the same decoder under the new prior.
        guide: of both.
        comparison: log p(x) of the test rows under both.
        log_prior_ratios: log p_new(z) − log p_old(z) at draws from q of the test rows, shape (K, N), nats.
        marginal: the parts of the KL under the old and the new prior; empty where they are not defined.
        why_no_marginal: why they are not.
        fitted: how the new prior was fitted.
        candidate: the run of the new prior, whether or not it is kept.
    """

    old_model: Any
    new_model: Any
    guide: Any
    comparison: ModelComparison
    log_prior_ratios: Tensor = field(repr=False)
    marginal: tuple[AggregatePosteriorTerms, ...]
    why_no_marginal: str
    fitted: FittedPrior
    candidate: Run

    @property
    def rise(self) -> Difference:
        """log p(x) under the new prior minus that under the old, with its paired error."""
        named = {each.name: each for each in self.comparison.contenders}
        return Difference(named[NEW], named[OLD])

    @property
    def elbo_rise(self) -> Average:
        r"""How much the ELBO rose, which is how much the marginal KL fell, at shared draws from q.

        .. math:: E_{q(z \mid x)} [\log p_{new}(z) - \log p_{old}(z)]
        """
        ratios = self.log_prior_ratios
        return average("elbo_rise", ratios.mean(0), ratios.std(0) / len(ratios) ** 0.5, len(ratios))

    @property
    def decided_by(self) -> Literal["log p(x)", "ELBO"]:
        """What decides: log p(x), or the ELBO where the lower of the two log p(x) has not converged.

        Such a figure is a lower bound: log p(x) may lie above the other, so their order cannot be stated.
        """
        return "log p(x)" if self._lower.reading.settled else "ELBO"

    @property
    def _lower(self) -> Contender:
        return self.comparison.contenders[-1]

    @property
    def kept(self) -> Literal["old", "new"]:
        """The prior to go on with: the new one where log p(x) of the test rows rose by more than twice its error."""
        by = self.rise.average if self.decided_by == "log p(x)" else self.elbo_rise
        return "new" if by.value > ERRORS * by.known_error else "old"

    @property
    def model(self) -> Any:
        """The model under the prior that is kept."""
        return self.new_model if self.kept == "new" else self.old_model

    @property
    def run(self) -> Run | None:
        """The run to save, with the new prior; None where the old one is kept."""
        return self.candidate if self.kept == "new" else None

    def marginal_kl(self) -> tuple[Average, ...]:
        """KL of the aggregate posterior of the test rows to the old and to the new prior, with errors."""
        return tuple(each.averages()["marginal_kl_to_prior"] for each in self.marginal)

    def sentence(self) -> str:
        """What happened, and which prior is kept."""
        rise, elbo = self.rise.average, self.elbo_rise
        by = f"{with_error(abs(rise.value), rise.known_error)} nats per observation"
        if self.decided_by == "ELBO":
            moved = f"{'rose' if elbo.value > 0 else 'fell'} by {with_error(abs(elbo.value), elbo.known_error)}"
            return (
                f"log p(x) under the {self._lower.name} has not converged, so the ELBO decides: on the test rows it "
                f"{moved} nats per observation. The {self.kept} prior is kept."
            )
        if self.kept == "new":
            least = "" if self._of(NEW).reading.settled else "at least "
            return f"log p(x) of the test rows rose by {least}{by}: the new prior is kept."
        if rise.value < -ERRORS * rise.known_error:
            return f"log p(x) of the test rows fell by {by}: the old prior is kept."
        return f"log p(x) of the test rows changed by {by}, which is no rise that can be told: the old prior is kept."

    def as_json(self) -> dict[str, Any]:
        """The figures in JSON types."""
        rise = self.rise.average
        marginal = [_figure(each) for each in self.marginal_kl()]
        return {
            "kept": self.kept,
            "decided_by": self.decided_by,
            "sentence": self.sentence(),
            "epochs": len(self.fitted.history),
            "best_epoch": self.fitted.best_epoch,
            "log_evidence": {**{name: _figure(self._of(name).average) for name in (OLD, NEW)}, "rise": _figure(rise)},
            "marginal_kl_to_prior": dict(zip((OLD, NEW), marginal, strict=True)) if marginal else None,
            "why_no_marginal_kl": self.why_no_marginal,
            "elbo_rise": _figure(self.elbo_rise),
            "comparison": self.comparison.as_json(),
        }

    def _of(self, name: str) -> Contender:
        return next(each for each in self.comparison.contenders if each.name == name)

    def __str__(self) -> str:
        lines = [f"{name}: log p(x) {self._of(name).average}" for name in (OLD, NEW)]
        lines += [f"{name}: marginal KL {found}" for name, found in zip((OLD, NEW), self.marginal_kl(), strict=False)]
        return "\n".join([*lines, self.sentence()])


def _figure(found: Average) -> dict[str, Any]:
    return {
        "value": found.value,
        "monte_carlo_error": found.monte_carlo_error,
        "data_error": found.data_error,
        "num_particles": found.num_particles,
        "num_observations": found.num_observations,
        "reading": found.reading.as_json(),
    }
