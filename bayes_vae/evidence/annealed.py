"""Annealed importance sampling: log p(x) along a path from the guide, or the prior, to the posterior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, NamedTuple, cast

import pyro.poutine as poutine
import torch
from torch import Tensor

from bayes_vae.averages import Average, average
from bayes_vae.errors import SettingsError
from bayes_vae.evidence.bound import effective_sample_size, importance_weighted_bound
from bayes_vae.evidence.latent_space import LatentSpace, whitened_space
from bayes_vae.evidence.path import WIDENING, GuidePath, Path, PriorPath, hamiltonian_move
from bayes_vae.randomness import KeyedNoise, derived_seed, isolated_rng
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.program import Program, as_observations, undisturbed
from bayes_vae.terms.stream import (
    Batch,
    Progress,
    Source,
    as_index,
    provenance,
    read_pair,
    stream,
)

__all__ = ["AnnealedEstimate", "annealed_log_evidence"]

PILOT_DRAWS = 64
"""Draws of the guide, or the prior, that set the scales; thrown away."""

FIRST_STEP, TARGET_ACCEPTANCE, ADAPTATION = 0.3, 0.85, 0.4
"""The pilot's first leapfrog step, what it aims at, and how fast its logarithm follows."""

PILOT_CHAINS = 2
"""Chains of the pilot."""

MOST_TEMPERATURES = 20_000
"""Where doubling ends."""

SIGMOID_WIDTH = 4.0
"""Half the range of the sigmoid schedule (Wu et al. 2017)."""

Schedule = Literal["linear", "sigmoid"]


@dataclass(frozen=True, eq=False)
class AnnealedEstimate:
    """Annealed estimate of log p(x) for each observation, and what says how far to trust it.

    Attributes:
        log_evidence: log mean weight over chains, shape (N,), nats; a lower bound in expectation.
        log_weights: of each chain, shape (K, N), nats.
        acceptance: mean acceptance probability of the moves, shape (N,).
        doubling_step: this level minus the one with half the temperatures, shape (N,); NaN where there is none.
        num_temperatures: T.
        estimator: "annealed from the guide" or "annealed from the prior".
        provenance: seed, source and policy.
    """

    log_evidence: Tensor
    log_weights: Tensor
    acceptance: Tensor
    doubling_step: Tensor
    num_temperatures: int
    estimator: str
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
        """Standard deviation of the chains' log weights, shape (N,), nats: zero for perfect annealing."""
        return self.log_weights.std(0)

    @property
    def standard_error(self) -> Tensor:
        r"""Delta-method error of the log mean weight, shape (N,), nats; NaN for one chain.

        .. math:: \sqrt{\operatorname{Var}(w) / K} \, / \, \bar w
        """
        count = self.num_chains
        if count < 2:
            return torch.full_like(self.log_evidence, torch.nan)
        relative = (count / self.effective_sample_size - 1).clamp(min=0) * count / (count - 1)
        return (relative / count).sqrt()

    def averages(self) -> dict[str, Average]:
        """Figures over the data set."""
        return {"log_evidence": average("log_evidence", self.log_evidence, self.standard_error, self.num_chains)}


def annealed_log_evidence(
    model: Program,
    x: Tensor | tuple[Tensor, ...],
    guide: Program | None = None,
    *,
    num_temperatures: int = 50,
    num_chains: int = 4,
    num_leapfrog: int = 5,
    schedule: Schedule = "linear",
    tolerance: float | None = None,
    seed: int = 0,
    index: Tensor | None = None,
    source: Source = "auto",
    data_policy: str = "unstated",
    progress: Progress | None = None,
) -> AnnealedEstimate:
    r"""Annealed importance sampling with Hamiltonian moves, for every observation at once.

    .. math:: f_\beta(z) = s(z)^{1-\beta} \, p(x, z)^\beta, \qquad
        \log w = \sum_t (\beta_t - \beta_{t-1}) \log \frac{p(x, z_{t-1})}{s(z_{t-1})}

    The start s is a normal with the guide's means and its scales times 1.2 (in unconstrained coordinates), or the prior
    where no guide is given. Steps are preconditioned by those scales and tuned for each temperature and observation in
    a pilot whose weights are thrown away, then frozen, so the mean weight is unbiased.

    Args:
        model: Pyro program of p(x, z) with continuous latents.
        x: observations, as in :func:`bayes_vae.log_terms`.
        guide: Pyro program of q(z given x) to start from; None starts from the prior.
        num_temperatures: T, steps from β = 0 to 1.
        num_chains: K, independent chains for each observation.
        num_leapfrog: leapfrog steps of a move.
        schedule: "linear", or "sigmoid" (finer at both ends).
        tolerance: doubles the temperatures, on fresh draws, until two levels' means agree to so many nats; starts at
            ``num_temperatures``.
        seed, index, source, data_policy, progress: as in :func:`bayes_vae.log_terms`.

    Returns:
        :class:`AnnealedEstimate`, shape (N,), nats; a lower bound on log p(x) in expectation.

    Raises:
        NotDefinedError: a discrete latent.
        SettingsError: numbers below one, or a tolerance that is not positive.

    Reference: Neal (2001), "Annealed importance sampling"; Wu, Burda, Salakhutdinov, Grosse (2017), "On the
    quantitative analysis of decoder-based generative models".
    """
    _check(num_temperatures, num_chains, num_leapfrog, schedule, tolerance)
    parts = as_observations(x)
    indices = as_index(index, len(parts[0]), parts[0].device)
    proposal = _prior_as_guide(model, source) if guide is None else guide
    with undisturbed(model, proposal, device=parts[0].device, seed=seed):
        pair = read_pair(model, proposal, parts, indices, source)

        def level(temperatures: int) -> _Level:
            plan = _Plan(_betas(temperatures, schedule), num_chains, num_leapfrog, guide is None)
            batches = stream(pair, parts, indices, num_chains, derived_seed(seed, temperatures), progress=progress)
            rows = [_anneal(batch, plan) for batch in batches]
            return _Level(*(torch.cat(column, dim=-1) for column in zip(*rows, strict=True)))

        found, step, temperatures = _until_levels_agree(level, num_temperatures, tolerance)
    return AnnealedEstimate(
        found.bound,
        found.log_weights,
        found.acceptance,
        step,
        temperatures,
        f"annealed from the {'prior' if guide is None else 'guide'}",
        provenance(pair, seed, data_policy),
    )


class _Level(NamedTuple):
    """What one number of temperatures gave."""

    bound: Tensor
    log_weights: Tensor
    acceptance: Tensor


def _check(num_temperatures: int, num_chains: int, num_leapfrog: int, schedule: str, tolerance: float | None) -> None:
    numbers = {"num_temperatures": num_temperatures, "num_chains": num_chains, "num_leapfrog": num_leapfrog}
    for name, value in numbers.items():
        if value < 1:
            raise SettingsError(f"{name} must be at least 1, got {value}.")
    if schedule not in ("linear", "sigmoid"):
        raise SettingsError(f"schedule must be 'linear' or 'sigmoid', got {schedule!r}.")
    if tolerance is not None and tolerance <= 0:
        raise SettingsError(f"tolerance must be positive, in nats, got {tolerance}.")


def _until_levels_agree(
    level: Callable[[int], _Level], temperatures: int, tolerance: float | None
) -> tuple[_Level, Tensor, int]:
    """The last level, what it gained over the one before, and its number of temperatures."""
    found = level(temperatures)
    step = torch.full_like(found.bound, torch.nan)
    while tolerance is not None and (bool(step.isnan().any()) or abs(float(step.mean())) > tolerance):
        if temperatures >= MOST_TEMPERATURES:
            raise SettingsError(
                f"two levels still differ by {float(step.mean()):.3g} nats at {temperatures} temperatures, more than "
                f"tolerance={tolerance:g}: allow more, or ask for more chains."
            )
        temperatures *= 2
        finer = level(temperatures)
        found, step = finer, finer.bound - found.bound
    return found, step, temperatures


def _betas(num_temperatures: int, schedule: str) -> list[float]:
    """Inverse temperatures 0 = β_0 < β_1 < … < β_T = 1."""
    grid = torch.linspace(0, 1, num_temperatures + 1, dtype=torch.float64)
    if schedule == "sigmoid":
        bent = torch.sigmoid(SIGMOID_WIDTH * (2 * grid - 1))
        grid = (bent - bent[0]) / (bent[-1] - bent[0])
    return grid.tolist()


@dataclass(frozen=True)
class _Plan:
    """How the chains run."""

    betas: list[float]
    num_chains: int
    num_leapfrog: int
    from_prior: bool


def _anneal(batch: Batch, plan: _Plan) -> _Level:
    """Pilot, then the chains that count, for one batch of observations."""
    space = whitened_space(batch.bound, _latents(batch, PILOT_DRAWS, "scales"))
    _, steps = _run_chains(batch, space, replace(plan, num_chains=PILOT_CHAINS), "pilot", None)
    level, _ = _run_chains(batch, space, plan, "chains", steps)
    return level


def _latents(batch: Batch, count: int, purpose: str) -> dict[str, Tensor]:
    """Draws of the guide, of which no weight is taken."""
    seed = derived_seed(batch.seed, purpose)
    if batch.keyed:
        return batch.bound.draw(range(count), KeyedNoise(seed)).latents
    with isolated_rng(derived_seed(seed, batch.number), batch.index.device):
        return batch.bound.draw(range(count), None).latents


def _run_chains(
    batch: Batch, space: LatentSpace, plan: _Plan, purpose: str, steps: list[Tensor] | None
) -> tuple[_Level, list[Tensor]]:
    """Anneal from β = 0 to 1, with given steps, or adapting them (a pilot, whose weights nobody may use)."""
    noise = KeyedNoise(derived_seed(batch.seed, purpose))
    like, shape = space.loc, (space.size + 1,)

    def drawn(time: int) -> Tensor:
        return noise.normal(f"time {time}", batch.index, range(plan.num_chains), shape, like)

    path: Path = PriorPath(batch.bound, space) if plan.from_prior else GuidePath(batch.bound, space)
    if plan.from_prior:
        state = path.state(space.coordinates(_latents(batch, plan.num_chains, f"{purpose} start")))
    else:
        state = path.state(WIDENING * drawn(0)[..., :-1])
    log_weights = torch.zeros_like(state.log_start, dtype=torch.float64)
    step, used, acceptances = torch.full_like(like[:, 0], FIRST_STEP), [], []
    for time, (before, beta) in enumerate(pairwise(plan.betas), start=1):
        log_weights = log_weights + (beta - before) * state.delta.double()
        if time == len(plan.betas) - 1:
            break
        step = step if steps is None else steps[time - 1]
        state, acceptance = hamiltonian_move(path, state, like.new_tensor(beta), step, plan.num_leapfrog, drawn(time))
        used.append(step)
        acceptances.append(acceptance.mean(0))
        step = step * torch.exp(ADAPTATION * (acceptance.mean(0) - TARGET_ACCEPTANCE))
    accepted = torch.stack(acceptances).mean(0) if acceptances else torch.ones_like(step)
    return _Level(importance_weighted_bound(log_weights), log_weights, accepted), used


class _PriorGuide:
    """The prior as the guide of a model that exposes its distributions."""

    exposes_distributions = True

    def __init__(self, model: Any) -> None:
        self.model = model

    def variational_posterior(self, x: Tensor) -> Any:
        return self.model.prior().expand((len(x),))


def _prior_as_guide(model: Any, source: str) -> Program:
    """A guide that samples the model's latents from the prior and does not look at x."""
    if source != "traces" and getattr(model, "exposes_distributions", False):
        return cast(Program, _PriorGuide(model))
    hidden: Program = poutine.block(model, hide_fn=lambda site: site["type"] == "sample" and site["is_observed"])
    return hidden
