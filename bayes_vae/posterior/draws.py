"""Draws of the exact posterior, and what says how far to trust them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from bayes_vae.posterior.chain_diagnostics import MINIMUM_DRAWS, chain_sample_size, r_hat
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.whole_numbers import whole_number
from bayes_vae.vocabulary.readings import Reading

__all__ = ["LARGEST_R_HAT", "SMALLEST_SAMPLE_SIZE", "PosteriorDraws", "check_numbers"]

LARGEST_R_HAT = 1.01
"""Above this the chains disagree (Vehtari et al. 2021, section 5)."""

SMALLEST_SAMPLE_SIZE = 400.0
"""Below this effective sample size the diagnostics themselves are not reliable (the same section)."""

Sites = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class PosteriorDraws:
    r"""Draws z ~ p(z given x) of several chains for each of N observations.

    What is asked of ArviZ (``r_hat``, the sample sizes and the errors) is computed once, when first asked for, column
    by column.

    Attributes:
        latents: site → (chains, draws, N, *rest).
        log_joint: log p(x, z) of each draw, shape (chains, draws, N), float64, nats.
        acceptance: mean acceptance probability after warm-up, shape (N,).
        step_size: leapfrog step, frozen after warm-up, shape (N,); NaN where there is none.
        divergences: moves after warm-up whose trajectory left what the step can follow, shape (N,), int64.
        num_warmup: moves of each chain that were thrown away.
        sampler: "Hamiltonian", "NUTS" or "closed form".
        seconds: time that it took.
        provenance: seed, source and policy.
        masked: site → (N, *rest), bool: numbers that an observation does not have, because model and guide mask them.
            They stay where one draw put them, R̂ and sample sizes are NaN there, and no failure is told of them.
    """

    latents: Sites
    log_joint: Tensor
    acceptance: Tensor
    step_size: Tensor
    divergences: Tensor
    num_warmup: int
    sampler: str
    seconds: float
    provenance: Provenance
    masked: Sites = field(default_factory=dict)

    def __repr__(self) -> str:
        """How many draws of what, by which sampler, and how they read."""
        return (
            f"PosteriorDraws of {', '.join(self.latents)} ({self.sampler}): {self.num_chains} chains of "
            f"{self.num_draws} draws for each of {self.num_observations} observations; see r_hat, mean, sd and failures"
        )

    @property
    def num_chains(self) -> int:
        """Chains of each observation."""
        return self.log_joint.shape[0]

    @property
    def num_draws(self) -> int:
        """Draws of each chain."""
        return self.log_joint.shape[1]

    @property
    def num_observations(self) -> int:
        """N."""
        return self.log_joint.shape[2]

    def _each(self, function: Callable[[Tensor], Tensor]) -> Sites:
        return {name: function(value.double()) for name, value in self.latents.items()}

    @cached_property
    def r_hat(self) -> Sites:
        """Rank-normalized split R̂ of each number of each latent, site → (N, *rest): near 1 where chains agree."""
        return self._each(r_hat)

    @cached_property
    def bulk_sample_size(self) -> Sites:
        """Effective sample size near the median, site → (N, *rest)."""
        return self._each(lambda draws: chain_sample_size(draws, "bulk"))

    @cached_property
    def tail_sample_size(self) -> Sites:
        """Effective sample size of the 5 and 95 % quantiles, the smaller, site → (N, *rest)."""
        return self._each(lambda draws: chain_sample_size(draws, "tail"))

    @property
    def mean(self) -> Sites:
        """Posterior mean, site → (N, *rest)."""
        return self._each(lambda draws: draws.mean((0, 1)))

    @property
    def sd(self) -> Sites:
        """Posterior standard deviation, site → (N, *rest)."""
        return self._each(_sd)

    @cached_property
    def mean_error(self) -> Sites:
        r"""Monte-Carlo standard error of the mean, sd/√ESS, site → (N, *rest); NaN where a chain never moved."""
        return self._each(_mean_error)

    @cached_property
    def sd_error(self) -> Sites:
        r"""Monte-Carlo standard error of the standard deviation, site → (N, *rest), to first order.

        .. math:: \frac{1}{2 s} \operatorname{se}\Big(\frac1S \sum_i (z_i - \bar z)^2\Big)
        """
        return self._each(lambda draws: _mean_error((draws - draws.mean((0, 1))).square()) / (2 * _sd(draws)))

    @cached_property
    def converged(self) -> Tensor:
        """Whether R̂ ≤ 1.01 and both sample sizes are ≥ 400 in every number of each observation, shape (N,), bool."""
        good = ~self._worst(self.r_hat, LARGEST_R_HAT, above=True)
        for sizes in (self.bulk_sample_size, self.tail_sample_size):
            good &= ~self._worst(sizes, SMALLEST_SAMPLE_SIZE, above=False)
        return good

    def _worst(self, values: Sites, limit: float, *, above: bool) -> Tensor:
        """Where any number of an observation lies beyond a limit, or is not known, shape (N,)."""
        good = {name: value <= limit if above else value >= limit for name, value in values.items()}
        rows = [(each | self.masked[name]) if name in self.masked else each for name, each in good.items()]
        return ~torch.cat([each.reshape(self.num_observations, -1) for each in rows], dim=1).all(1)

    @property
    def failures(self) -> tuple[str, ...]:
        """What is wrong with these draws, a sentence each; empty where nothing is."""
        found = []
        for text, values, limit, above in (
            (f"R̂ is above {LARGEST_R_HAT:g}", self.r_hat, LARGEST_R_HAT, True),
            (f"the bulk sample size is below {SMALLEST_SAMPLE_SIZE:g}", self.bulk_sample_size, 400.0, False),
            (f"the tail sample size is below {SMALLEST_SAMPLE_SIZE:g}", self.tail_sample_size, 400.0, False),
        ):
            rows = torch.nonzero(self._worst(values, limit, above=above)).flatten().tolist()
            if rows:
                remedy = (
                    "the chains disagree: raise num_warmup and num_draws, or think of several modes"
                    if above
                    else "raise num_draws"
                )
                found.append(f"{text} {self._where(rows)}: {remedy}.")
        rows = torch.nonzero(self.divergences).flatten().tolist()
        if rows:
            found.append(f"trajectories diverged {self._where(rows)}: a part of the posterior may be missing.")
        return tuple(found)

    def _where(self, rows: list[int]) -> str:
        return f"for {len(rows)} of {self.num_observations} observations, the first in row {rows[0]}"

    @property
    def reading(self) -> Reading:
        """How these draws read, with how many observations' chains did not converge."""
        return Reading("posterior_draws", int((~self.converged).sum()), self.num_observations)


def _sd(draws: Tensor) -> Tensor:
    return draws.flatten(0, 1).std(0)


def _mean_error(draws: Tensor) -> Tensor:
    return _sd(draws) / chain_sample_size(draws, "mean").sqrt()


def check_numbers(num_draws: int, num_chains: int, num_warmup: int = 0, num_leapfrog: int = 1) -> None:
    """Refuse numbers that no chain can run with.

    Raises:
        SettingsError: names the number and its least value.
    """
    for name, value, least in (
        ("num_draws", num_draws, MINIMUM_DRAWS),
        ("num_chains", num_chains, 2),
        ("num_warmup", num_warmup, 0),
        ("num_leapfrog", num_leapfrog, 1),
    ):
        whole_number(name, value, least)
