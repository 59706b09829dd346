"""How far the ELBO falls short of log p(x), and whose fault it is: the family's or the encoder's."""

from __future__ import annotations

from dataclasses import fields
from typing import NamedTuple, Unpack, cast

import torch
from torch import Tensor

from bayes_vae.errors import NotDefinedError, NumericalError
from bayes_vae.estimators.annealing.annealed import anneal
from bayes_vae.estimators.annealing.chains import Tick, ticker
from bayes_vae.estimators.best_normal import WINDOW, Plan, best_normal, log_weights
from bayes_vae.estimators.gap_terms import GapSplit, InferenceGap
from bayes_vae.estimators.rungs.quadrature_rung import quadrature_of
from bayes_vae.terms.factorized import FactorizedBatch, factorized, variational_normal
from bayes_vae.terms.listed_options import lists_options
from bayes_vae.terms.opened import WEIGHTS_AT_ONCE, Batch, OpenPair, Options, open_pair
from bayes_vae.terms.program import Program
from bayes_vae.terms.randomness import KeyedNoise, derived_seed
from bayes_vae.terms.rows import X
from bayes_vae.terms.whole_numbers import real_number, whole_number
from bayes_vae.vocabulary.readings import Reading

__all__ = ["InferenceGap", "inference_gap"]

OBSERVATIONS_AT_ONCE = 256
"""Observations whose best q is searched together."""

ROUNDING = 100.0
"""Units in the last place of log p(x) that are forgiven as rounding."""


@lists_options
def inference_gap(
    model: Program,
    guide: Program,
    x: X,
    num_particles: int = 1000,
    *,
    tolerance: float = 0.01,
    max_steps: int = 2000,
    num_temperatures: int = 50,
    num_chains: int = 10,
    **options: Unpack[Options],
) -> InferenceGap:
    r"""log p(x) − ELBO, and its split into approximation gap and amortization gap, observation by observation.

    .. math:: \log p(x) - \mathrm{ELBO}(q) = \mathrm{KL}(q(z \mid x) \,\|\, p(z \mid x))

    log p(x) is the model's closed form where it has ``log_evidence``; by quadrature where z has one or two dimensions
    and its levels agree for every observation; else annealed from the guide, if that converged or z has more. Where
    prior and guide are factorized normals, the best q of the family is found for each observation by itself, as
    :func:`bayes_vae.estimators.best_normal.best_normal` says: Adam from the amortized q, with a stopping rule of its
    own. Both ELBOs are means of log p(x, z) − log q(z) over the same K fresh draws of noise, so where q is the exact
    posterior the gap is zero draw by draw. An imperfect optimum makes approximation_gap larger and amortization_gap
    smaller by the same amount, never the reverse; the errors do not hold it. Where the optimum is known, for normal
    posteriors, it is short by about D / 50,000 nats (0.001 for D = 50), and by less than the tolerance from a start
    that is far off.
    For any other pair the gap is not split.

    Args:
        model, guide: any pair with continuous latents; one whose prior and guide are factorized normals for the split.
        num_particles: K draws behind each ELBO, at least 2.
        tolerance: the search stalls where a window of steps gains less than so many nats.
        max_steps: where it ends, not converged; in whole windows of 50.
        num_temperatures, num_chains: as in :func:`bayes_vae.annealed_log_evidence`; at least 2 chains.
        Others: as in :func:`bayes_vae.log_terms`.

    Returns:
        :class:`InferenceGap`, shape (N,), nats; ``failures`` says what is wrong with it.

    Raises:
        NotDefinedError: a discrete latent, and no closed form for log p(x).
        SettingsError: numbers too small for an error, or a tolerance that is not positive.

    Reference: Cremer, Li, Duvenaud (2018), "Inference suboptimality in variational autoencoders", eqs. 4–6.
    """
    with open_pair(model, guide, x, task="inference gap", **options) as opened:
        return gap_of(
            opened,
            num_particles,
            tolerance=tolerance,
            max_steps=max_steps,
            num_temperatures=num_temperatures,
            num_chains=num_chains,
        )


def gap_of(
    opened: OpenPair,
    num_particles: int = 1000,
    *,
    tolerance: float = 0.01,
    max_steps: int = 2000,
    num_temperatures: int = 50,
    num_chains: int = 10,
) -> InferenceGap:
    """:func:`inference_gap` of a pair that is open."""
    num_particles = whole_number("num_particles", num_particles, least=2)
    num_chains = whole_number("num_chains", num_chains, least=2)
    num_temperatures = whole_number("num_temperatures", num_temperatures)
    plan = _checked_plan(tolerance, max_steps)
    traced, opened = opened, opened.with_normals()
    why_not_split = _why_not_split(opened)
    rounds = 1 if opened.traits.log_evidence else 2
    size = max(1, min(OBSERVATIONS_AT_ONCE, WEIGHTS_AT_ONCE // num_particles))
    elbos: list[_Elbo] = []
    num_dimensions = 0
    splits: list[GapSplit] = []
    first = opened.phase(0, of=rounds)
    for batch in first.batches(num_particles, batch_size=size):
        if why_not_split:
            draws = list(batch.draws())
            num_dimensions = sum(value[0, 0].numel() for value in draws[0].latents.values())
            epsilon = torch.finfo(draws[0].log_likelihood.dtype).eps
            elbos.append(_elbo_of(torch.cat([draw.log_importance_weights for draw in draws]), epsilon))
        else:
            tick = ticker(first.progress, batch.rows, opened.num_observations, plan.max_steps + WINDOW)
            elbo, split = _compare_elbos(batch, KeyedNoise(derived_seed(opened.seed, "best q")), plan, tick)
            elbos.append(elbo)
            splits.append(split)
            num_dimensions = variational_normal(cast(FactorizedBatch, batch.bound))[0].shape[-1]
    evidence = _evidence(traced, num_dimensions, num_temperatures, num_chains)
    found = _Elbo(*map(torch.cat, zip(*elbos, strict=True)))
    return InferenceGap(
        evidence.value,
        found.mean,
        evidence.error,
        found.error,
        ROUNDING * found.epsilon * evidence.value.abs().clamp(min=1) + evidence.refinement,
        _joined(splits),
        why_not_split,
        evidence.estimator,
        evidence.reading,
        num_particles,
        opened.provenance,
    )


def _why_not_split(opened: OpenPair) -> str:
    """Why the gap is not split; empty where it is."""
    if opened.source == "traces":
        return "The gap is split from the pair's distributions, and source='traces' reads none."
    try:
        wanted = "optimises a normal with independent dimensions for each x"
        factorized(opened.pair, opened.rows, "the split of inference_gap", wanted)
    except NotDefinedError as error:
        return str(error)
    return ""


def _checked_plan(tolerance: float, max_steps: int) -> Plan:
    return Plan(real_number("tolerance", tolerance, "positive, in nats"), whole_number("max_steps", max_steps))


class _Evidence(NamedTuple):
    """log p(x) and its Monte-Carlo error, each (N,), where they are from, and the error of refinement, (N,)."""

    value: Tensor
    error: Tensor
    estimator: str
    reading: Reading
    refinement: Tensor


def _evidence(opened: OpenPair, num_dimensions: int, num_temperatures: int, num_chains: int) -> _Evidence:
    """The model's closed form where it has one; else quadrature or annealed from the guide, as on the ladder.

    The first of the two that converged for every observation, and quadrature where neither did.
    """
    values = opened.log_evidence()
    if values is not None:
        none = torch.zeros_like(values)
        return _Evidence(values, none, "closed form", Reading("exact"), none)
    second = opened.purpose("annealed").phase(1, of=2)
    exact = _by_quadrature(second, num_dimensions)
    if exact is not None and exact.reading.settled:
        return exact
    found = anneal(second, num_temperatures=num_temperatures, num_chains=num_chains)
    reading, none = Reading("lower_bound_in_expectation"), torch.zeros_like(found.log_evidence)
    failed = int(found.standard_error.isnan().sum())
    if failed and exact is not None:
        return exact
    if failed:
        reading = Reading("lower_bound_not_converged", failed, len(none), "chains")
    return _Evidence(found.log_evidence, found.standard_error, found.estimator, reading, none)


def _by_quadrature(opened: OpenPair, num_dimensions: int) -> _Evidence | None:
    """On the grid of the ladder; None where there is none. Where its levels do not agree the error is not known."""
    try:
        found = quadrature_of(opened, num_dimensions)
    except (NotDefinedError, NumericalError):
        return None
    if found is None:
        return None
    error = torch.zeros_like(found.log_evidence).masked_fill(~found.converged, torch.nan)
    where = f"quadrature on a grid, D = {num_dimensions}"
    return _Evidence(found.log_evidence, error, where, found.reading, found.refinement_error)


class _Elbo(NamedTuple):
    """Mean of log weights over K draws, its error, and the rounding unit they were computed in, each (N,)."""

    mean: Tensor
    error: Tensor
    epsilon: Tensor


def _elbo_of(log_weights: Tensor, epsilon: float) -> _Elbo:
    mean = log_weights.mean(0)
    return _Elbo(mean, _error_of_mean(log_weights), torch.full_like(mean, epsilon))


def _compare_elbos(batch: Batch, noise: KeyedNoise, plan: Plan, tick: Tick | None) -> tuple[_Elbo, GapSplit]:
    """The ELBO of the guide's q and of the best, on the same noise."""
    bound = cast(FactorizedBatch, batch.bound)
    amortized: list[Tensor] = []
    best: list[Tensor] = []
    loc, _ = variational_normal(bound)
    optimum = None
    for particles, draw in zip(batch.chunks, batch.draws(), strict=True):
        # the first draw is checked, for the data's support too, before anything is optimised
        optimum = optimum or best_normal(bound, noise, plan, tick)
        fresh = KeyedNoise(batch.seed).normal("z", batch.index, particles, loc.shape[1:], loc)
        amortized.append(draw.log_importance_weights)
        best.append(log_weights(bound, optimum.loc, optimum.scale, fresh))
    assert optimum is not None
    of_guide, of_best = torch.cat(amortized), torch.cat(best)
    split = GapSplit(
        of_best.mean(0),
        _error_of_mean(of_best),
        _error_of_mean(of_best - of_guide),
        optimum.converged,
        optimum.num_steps,
    )
    return _elbo_of(of_guide, torch.finfo(loc.dtype).eps), split


def _joined(splits: list[GapSplit]) -> GapSplit | None:
    """The batches one after another; None where the gap is not split."""
    if not splits:
        return None
    return GapSplit(*(torch.cat([getattr(split, field.name) for split in splits]) for field in fields(GapSplit)))


def _error_of_mean(values: Tensor) -> Tensor:
    """Standard error of the mean over K draws, shape (N,)."""
    return (values.var(0) / len(values)).sqrt()
