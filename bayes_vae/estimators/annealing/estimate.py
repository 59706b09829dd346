"""What annealing gives for each observation, and what says how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bayes_vae.estimators.annealing.path import COARSEST
from bayes_vae.estimators.importance.bound import effective_sample_size, importance_weighted_bound
from bayes_vae.terms.averages import Average, average, log_mean_bias
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.tabular import Tabular
from bayes_vae.vocabulary.readings import Reading

__all__ = ["AnnealedEstimate"]

LARGEST_ERROR = 0.6
"""Nats of its own error above which chains disagree: a few such weights say neither log p(x) nor their error."""

EXCESS, MOST_EXCESS, NEGLIGIBLE = 3.0, 2.0, 0.01
"""Errors, and nats, by which independent chains may lie above, since E[w'] = p(x); and nats that do not matter."""

MORE_TEMPERATURES = 4
"""Times as many temperatures are proposed where chains have not converged."""


@dataclass(frozen=True, eq=False)
class AnnealedEstimate(
    Tabular,
    observation=(
        "log_evidence",
        "standard_error",
        "effective_sample_size",
        "spread",
        "acceptance",
        "doubling_step",
        "check",
        "converged",
    ),
    chain=("log_weights",),
):
    """Annealed estimate of log p(x) for each observation, and what says how far to trust it.

    Attributes:
        log_evidence: log mean weight over chains, shape (N,), nats; a lower bound in expectation.
        log_weights: of each chain, shape (K, N), nats.
        check_log_weights: of a few chains from another start, which knows nothing of the guide, with fewer
            temperatures, shape (C, N), nats; they are no part of ``log_evidence``.
        more_modes: whether more modes were found than the start has normals, shape (N,), bool.
        resolution: how much log p(x, z) changes between neighbouring floats where the chains end, shape (N,), nats.
        acceptance: mean acceptance probability of the moves, shape (N,).
        doubling_step: what the last doubling of the temperatures gained, shape (N,), nats; NaN without a tolerance.
        num_temperatures: T.
        seconds: time that it took, all levels and the check together.
        estimator: "annealed from the guide" or "annealed from the prior".
        start: where the chains started: "fitted normal" (from the guide's, fitted in the pilot), "mixture of normals"
            (for some observations: one at each mode, or a wider one beside it), "guide" (a normal with the guide's
            means and widened scales) or "prior".
        provenance: seed, source and policy.
    """

    log_evidence: Tensor
    log_weights: Tensor
    check_log_weights: Tensor
    more_modes: Tensor
    resolution: Tensor
    acceptance: Tensor
    doubling_step: Tensor
    num_temperatures: int
    seconds: float
    estimator: str
    start: str
    provenance: Provenance

    @property
    def num_chains(self) -> int:
        """K."""
        return len(self.log_weights)

    @property
    def effective_sample_size(self) -> Tensor:
        """Of the chains' weights, shape (N,), between 1 and K."""
        return effective_sample_size(self.log_weights)

    @property
    def spread(self) -> Tensor:
        """Standard deviation of the chains' log weights, shape (N,), nats: zero for perfect annealing; NaN for one."""
        if self.num_chains < 2:
            return torch.full_like(self.log_evidence, torch.nan)
        return self.log_weights.std(0)

    @property
    def check(self) -> Tensor:
        """Log mean weight of the chains from the independent start, shape (N,), nats; a lower bound in expectation."""
        return importance_weighted_bound(self.check_log_weights)

    @property
    def chain_error(self) -> Tensor:
        """Error of the log mean weight as the chains' own scatter tells it, right or not, shape (N,), nats."""
        return error_of_log_mean(self.log_weights)

    @property
    def check_error(self) -> Tensor:
        """The same of the chains from the independent start."""
        return error_of_log_mean(self.check_log_weights)

    @property
    def chains_agree(self) -> Tensor:
        r"""Whether the chains agree, with each other and with those of the independent start, shape (N,), bool.

        .. math:: s \le 0.6, \qquad \log \bar w' - \log \bar w \le 3 s + \min(3 s', 2) + 0.01

        s and s' are the errors of both figures. The check has fewer temperatures, so it may lie below, and that says
        nothing; but E[w'] = p(x), so that where it lies above by more, log p(x) does as well. Where more modes were
        found than the start has, the chains left some out and agree for no good reason.
        """
        missed = lies_above(self.check_log_weights, self.log_weights)
        return ~self.more_modes & (self.chain_error <= LARGEST_ERROR) & ~missed

    @property
    def converged(self) -> Tensor:
        """Whether the error of each estimate means something, shape (N,), bool.

        The chains agree, and log p(x, z) is resolved. Measured by ``benchmarks/annealed_criterion.py``.
        """
        return self.chains_agree & self.resolved

    @property
    def resolved(self) -> Tensor:
        """Whether log p(x, z) changes by at most 0.3 nats from one float to the next, shape (N,), bool.

        Where it changes by more, it is known at a few points only, and no mean over chains is an integral or a bound.
        """
        return self.resolution <= COARSEST

    @property
    def standard_error(self) -> Tensor:
        r"""Error of the log mean weight, shape (N,), nats; NaN, left blank, where not converged.

        .. math:: \frac{K + 1}{K - 1} \, \frac{\sqrt{\operatorname{Var}(w) / K}}{\bar w}

        It is larger by (K + 1) / (K − 1) than the scatter of K weights says, about as Student's t is wider than the
        normal: a few weights do not know their own scatter well (``benchmarks/coverage.py``).
        """
        return torch.where(self.converged, self.chain_error, torch.nan)

    @property
    def readings(self) -> list[Reading]:
        """How each figure reads: a lower bound in expectation, one that has not converged, or no bound."""
        rows = zip(self.chains_agree.split(1), self.resolved.split(1), strict=True)
        return [self._reading(*row) for row in rows]

    @property
    def reading(self) -> Reading:
        """How the data set's figure reads."""
        return self._reading(self.chains_agree, self.resolved)

    def _reading(self, agree: Tensor, resolved: Tensor) -> Reading:
        failed, count = int((~(agree & resolved)).sum()), len(agree)
        if not failed:
            return Reading("lower_bound_in_expectation", num_observations=count)
        if not bool(resolved.all()):
            return Reading("unresolved", int((~resolved).sum()), count, "precision")
        if self.num_chains < 2:
            return Reading("lower_bound_not_converged", failed, count, "one_chain")
        more = MORE_TEMPERATURES * self.num_temperatures
        return Reading("lower_bound_not_converged", failed, count, "chains", temperatures=(self.num_temperatures, more))

    def averages(self) -> dict[str, Average]:
        """Figures over the data set; the Monte-Carlo error is blank unless every observation converged.

        "log_evidence"; "acceptance", "effective_sample_size" and "spread"; "doubling_step" where there was one.
        """
        error = self.standard_error
        bias = log_mean_bias(error)
        figures = {
            "acceptance": self.acceptance,
            "effective_sample_size": self.effective_sample_size,
            "spread": self.spread,
            "doubling_step": self.doubling_step,
        }
        unknown, count = torch.full_like(self.log_evidence, torch.nan), self.num_chains
        return {
            "log_evidence": average("log_evidence", self.log_evidence, error, count, self.reading, bias=bias),
            **{
                name: average(name, values, unknown, count)
                for name, values in figures.items()
                if name != "doubling_step" or not bool(values.isnan().any())
            },
        }


def error_of_log_mean(log_weights: Tensor) -> Tensor:
    """Error of the log mean of K weights, (K, N), by the delta method, shape (N,), nats; NaN for one."""
    count = len(log_weights)
    if count < 2:
        return torch.full_like(log_weights[0], torch.nan)
    relative = (count / effective_sample_size(log_weights) - 1).clamp(min=0) * count / (count - 1)
    return (count + 1) / (count - 1) * (relative / count).sqrt()


def lies_above(check: Tensor, log_weights: Tensor, excess: float = EXCESS) -> Tensor:
    """Whether chains from another start, (C, N), say that the mean weight of these, (K, N), is too low, shape (N,)."""
    allowed = excess * error_of_log_mean(log_weights) + NEGLIGIBLE
    allowed = allowed + (EXCESS * error_of_log_mean(check)).clamp(max=MOST_EXCESS)
    return importance_weighted_bound(check) - importance_weighted_bound(log_weights) > allowed
