"""How far the ELBO falls short of log p(x), and whose fault it is: the family's or the encoder's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor

from bayes_vae.averages import Average, average, with_error
from bayes_vae.best_normal import Plan, best_normal, log_weights
from bayes_vae.distributions import noise_like
from bayes_vae.errors import SettingsError
from bayes_vae.evidence.annealed import annealed_log_evidence
from bayes_vae.randomness import KeyedNoise, derived_seed
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.exposed import ExposedBatch
from bayes_vae.terms.factorized import read_factorized_pair, variational_normal
from bayes_vae.terms.program import Observations, Program, as_observations, undisturbed
from bayes_vae.terms.stream import WEIGHTS_AT_ONCE, Batch, Progress, as_index, provenance, stream

__all__ = ["InferenceGap", "inference_gap"]

OBSERVATIONS_AT_ONCE = 256
"""Observations whose best q is searched together."""

MARGIN = 4.0
"""Standard errors below zero from which a gap that cannot be negative is reported as a failure."""

ROUNDING = 100.0
"""Units in the last place of log p(x) that are forgiven as rounding."""

REMEDIES = {
    "inference_gap": "log p(x) came out below the ELBO, so it is underestimated: raise num_temperatures or num_chains",
    "approximation_gap": "log p(x) came out below the best ELBO, so it is underestimated: raise num_temperatures or "
    "num_chains",
    "amortization_gap": "the optimised q is worse than the amortized one: lower tolerance or raise max_steps",
}


@dataclass(frozen=True, eq=False)
class InferenceGap:
    r"""log p(x) − ELBO for each observation, in nats, split into what the family and what the encoder loses.

    .. math:: \underbrace{\log p(x) - \mathrm{ELBO}(q)}_{\mathrm{KL}(q \,\|\, p(z \mid x))} =
        \underbrace{\log p(x) - \mathrm{ELBO}(q^*)}_{\text{approximation gap}} +
        \underbrace{\mathrm{ELBO}(q^*) - \mathrm{ELBO}(q)}_{\text{amortization gap}}

    q is the guide's and q* the best of its family for that observation alone.

    Attributes:
        log_evidence: log p(x), shape (N,).
        elbo: of the guide's q, shape (N,).
        best_elbo: of q*, from draws that did not serve to find it, shape (N,).
        log_evidence_error: Monte-Carlo standard error, shape (N,); zero for the closed form.
        elbo_error: the same.
        best_elbo_error: the same.
        amortization_gap_error: the same; both ELBOs share their draws, so it is below what theirs would give.
        converged: whether the search for q* ended by its rule, shape (N,), bool.
        num_steps: its steps, shape (N,).
        rounding: what floating-point rounding may do to a gap, shape (N,), nats.
        estimator: where log p(x) is from: "closed form", or "annealed from the guide", a lower bound in expectation.
        num_particles: K, draws behind each ELBO.
        provenance: seed, source and policy.
    """

    log_evidence: Tensor
    elbo: Tensor
    best_elbo: Tensor
    log_evidence_error: Tensor
    elbo_error: Tensor
    best_elbo_error: Tensor
    amortization_gap_error: Tensor
    converged: Tensor
    num_steps: Tensor
    rounding: Tensor
    estimator: str
    num_particles: int
    provenance: Provenance

    @property
    def inference_gap(self) -> Tensor:
        """log_evidence − elbo, shape (N,): KL(q(z given x) to p(z given x)), at least 0 up to its error."""
        return self.log_evidence - self.elbo

    @property
    def approximation_gap(self) -> Tensor:
        """log_evidence − best_elbo, shape (N,): what the family of q cannot express."""
        return self.log_evidence - self.best_elbo

    @property
    def amortization_gap(self) -> Tensor:
        """best_elbo − elbo, shape (N,): what one encoder for all observations loses."""
        return self.best_elbo - self.elbo

    @property
    def inference_gap_error(self) -> Tensor:
        """Monte-Carlo standard error, shape (N,)."""
        return torch.hypot(self.log_evidence_error, self.elbo_error)

    @property
    def approximation_gap_error(self) -> Tensor:
        """Monte-Carlo standard error, shape (N,)."""
        return torch.hypot(self.log_evidence_error, self.best_elbo_error)

    @property
    def num_observations(self) -> int:
        """N."""
        return len(self.elbo)

    @property
    def failures(self) -> tuple[str, ...]:
        """What is wrong with these figures, a sentence each; empty where nothing is."""
        found = [text for name in REMEDIES for text in self._negative(name)]
        unfinished = int((~self.converged).sum())
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
        names = ("log_evidence", "elbo", "best_elbo", "inference_gap", "approximation_gap", "amortization_gap")
        return {
            name: average(name, getattr(self, name), getattr(self, f"{name}_error"), self.num_particles)
            for name in names
        }


def inference_gap(
    model: Program,
    guide: Program,
    x: Tensor | tuple[Tensor, ...],
    num_particles: int = 1000,
    *,
    tolerance: float = 0.01,
    max_steps: int = 2000,
    num_temperatures: int = 50,
    num_chains: int = 10,
    seed: int = 0,
    index: Tensor | None = None,
    batch_size: int | None = None,
    chunk_size: int | None = None,
    data_policy: str = "unstated",
    progress: Progress | None = None,
) -> InferenceGap:
    r"""Split log p(x) − ELBO into approximation gap and amortization gap, observation by observation.

    .. math:: \log p(x) - \mathrm{ELBO}(q) = \mathrm{KL}(q(z \mid x) \,\|\, p(z \mid x))

    log p(x) is the model's closed form where it has ``log_evidence``, else annealed from the guide. The best q of the
    family is found for each observation by itself, as :func:`bayes_vae.best_normal.best_normal` says: Adam from the
    amortized q, with a stopping rule of its own. Both ELBOs are means of log p(x, z) − log q(z) over the same K fresh
    draws of noise, so where q is the exact posterior the gap is zero draw by draw. An imperfect optimum makes
    approximation_gap larger and amortization_gap smaller by the same amount, never the reverse: about D / 800 nats
    where the posterior is nearly normal, which the errors do not hold.

    Args:
        model, guide: a pair that exposes its distributions, prior and guide factorized normals.
        num_particles: K draws behind each ELBO, at least 2.
        tolerance: the search stalls where a window of steps gains less than so many nats.
        max_steps: where it ends, not converged; in whole windows of 50.
        num_temperatures, num_chains: as in :func:`bayes_vae.annealed_log_evidence`; at least 2 chains.
        Others: as in :func:`bayes_vae.log_terms`.

    Returns:
        :class:`InferenceGap`, shape (N,), nats; ``failures`` says what is wrong with it.

    Raises:
        NotDefinedError: any other pair; the message says why.
        SettingsError: numbers too small for an error, or a tolerance that is not positive.

    Reference: Cremer, Li, Duvenaud (2018), "Inference suboptimality in variational autoencoders", eqs. 4–6.
    """
    plan = _checked_plan(num_particles, tolerance, max_steps, num_chains)
    parts = as_observations(x)
    indices = as_index(index, len(parts[0]), parts[0].device)
    most = max(1, min(OBSERVATIONS_AT_ONCE, WEIGHTS_AT_ONCE // num_particles))
    size = most if batch_size is None else batch_size
    rows: list[_Row] = []
    with undisturbed(model, guide, device=parts[0].device, seed=seed):
        pair = read_factorized_pair(
            model, guide, parts, indices, "inference_gap", "optimises a normal with independent dimensions for each x"
        )
        for batch in stream(pair, parts, indices, num_particles, seed, size, chunk_size, progress):
            rows.append(_compare_elbos(batch, KeyedNoise(derived_seed(seed, "best q")), plan))
        evidence = _closed_form(model, parts)
    if evidence is None:
        chains = annealed_log_evidence(
            model,
            x,
            guide,
            num_temperatures=num_temperatures,
            num_chains=num_chains,
            seed=derived_seed(seed, "annealed"),
            index=indices,
        )
        evidence = _Evidence(chains.log_evidence, chains.standard_error, chains.estimator)
    found = _Row(*(torch.cat(column) for column in zip(*rows, strict=True)))
    epsilon = torch.finfo(noise_like(pair.model.prior()).dtype).eps
    return InferenceGap(
        evidence.value,
        found.elbo,
        found.best_elbo,
        evidence.error,
        found.elbo_error,
        found.best_elbo_error,
        found.difference_error,
        found.converged,
        found.num_steps,
        ROUNDING * epsilon * evidence.value.abs().clamp(min=1),
        evidence.estimator,
        num_particles,
        provenance(pair, seed, data_policy),
    )


def _checked_plan(num_particles: int, tolerance: float, max_steps: int, num_chains: int) -> Plan:
    for name, value, least in (
        ("num_particles", num_particles, 2),
        ("num_chains", num_chains, 2),
        ("max_steps", max_steps, 1),
    ):
        if not (hasattr(value, "__index__") and value >= least):
            raise SettingsError(f"{name} must be a whole number of at least {least}, got {value!r}.")
    if not tolerance > 0:
        raise SettingsError(f"tolerance must be positive, in nats, got {tolerance}.")
    return Plan(tolerance, max_steps)


class _Evidence(NamedTuple):
    """log p(x) and its error, each (N,), and where they are from."""

    value: Tensor
    error: Tensor
    estimator: str


def _closed_form(model: Program, x: Observations) -> _Evidence | None:
    log_evidence = getattr(model, "log_evidence", None)
    if log_evidence is None:
        return None
    values = log_evidence(*x).double()
    return _Evidence(values, torch.zeros_like(values), "closed form")


class _Row(NamedTuple):
    """What one batch of observations gave, each (N,)."""

    elbo: Tensor
    best_elbo: Tensor
    elbo_error: Tensor
    best_elbo_error: Tensor
    difference_error: Tensor
    converged: Tensor
    num_steps: Tensor


def _compare_elbos(batch: Batch, noise: KeyedNoise, plan: Plan) -> _Row:
    """The ELBO of the guide's q and of the best, on the same noise."""
    bound = cast(ExposedBatch, batch.bound)
    amortized: list[Tensor] = []
    best: list[Tensor] = []
    loc, _ = variational_normal(bound)
    optimum = None
    for particles, draw in zip(batch.chunks, batch.draws(), strict=True):
        # the first draw is checked, for the data's support too, before anything is optimised
        optimum = optimum or best_normal(bound, noise, plan)
        fresh = KeyedNoise(batch.seed).normal("z", batch.index, particles, loc.shape[1:], loc)
        amortized.append(draw.log_prior.double() + draw.log_likelihood.double() - draw.log_guide.double())
        best.append(log_weights(bound, optimum.loc, optimum.scale, fresh))
    assert optimum is not None
    of_guide, of_best = torch.cat(amortized), torch.cat(best)
    return _Row(
        of_guide.mean(0),
        of_best.mean(0),
        _error_of_mean(of_guide),
        _error_of_mean(of_best),
        _error_of_mean(of_best - of_guide),
        optimum.converged,
        optimum.num_steps,
    )


def _error_of_mean(values: Tensor) -> Tensor:
    """Standard error of the mean over K draws, shape (N,)."""
    return (values.var(0) / len(values)).sqrt()
