"""The rate–distortion curve of one fixed model, by annealing from its prior."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import torch
from torch import Tensor

from bayes_vae.errors import SettingsError
from bayes_vae.estimators.annealing.annealed import start_of
from bayes_vae.estimators.annealing.chains import Plan, make_plan, ticker, tune
from bayes_vae.estimators.annealing.estimate import LARGEST_ERROR, MORE_TEMPERATURES, error_of_log_mean
from bayes_vae.estimators.annealing.path import State
from bayes_vae.estimators.annealing.temperatures import inverse_temperatures
from bayes_vae.estimators.importance.bound import importance_weighted_bound
from bayes_vae.settings.setting_types import LARGEST_REAL
from bayes_vae.terms.averages import Average, average
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.listed_options import lists_options
from bayes_vae.terms.opened import Batch, OpenPair, Options, open_pair
from bayes_vae.terms.program import Program
from bayes_vae.terms.rows import X
from bayes_vae.terms.tabular import Column, Tabular
from bayes_vae.terms.whole_numbers import real_number, several
from bayes_vae.vocabulary.readings import Reading

__all__ = ["BETAS", "CurvePoint", "RateDistortion", "rate_distortion", "rate_distortion_of"]

BETAS = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
"""Where the curve is read unless others are asked for."""


@dataclass(frozen=True)
class CurvePoint:
    """The curve at one β, averaged over the observations.

    Attributes:
        beta: β.
        distortion: −E[log p(x given z)], nats.
        rate: KL(p_β(z given x) to p(z)), nats.
    """

    beta: float
    distortion: Average
    rate: Average


@dataclass(frozen=True, eq=False)
class RateDistortion(Tabular):
    r"""Rate and distortion of one model at several β, for each observation.

    .. math:: p_\beta(z \mid x) = p(z) \, p(x \mid z)^\beta / Z_\beta(x)

    Attributes:
        betas: β, ascending from 0, shape (B,), float64.
        log_weights: of the chains at each β, shape (B, K, N), nats; their mean weight is unbiased for Z_β(x).
        log_likelihood: log p(x given z) of the chains at each β, shape (B, K, N), nats.
        num_temperatures: T, steps from β = 0 to the largest.
        provenance: seed, source and policy.
    """

    betas: Tensor
    log_weights: Tensor
    log_likelihood: Tensor
    num_temperatures: int
    provenance: Provenance

    @property
    def num_chains(self) -> int:
        """K."""
        return self.log_weights.shape[1]

    @property
    def num_observations(self) -> int:
        """N."""
        return self.log_weights.shape[2]

    @property
    def _shares(self) -> Tensor:
        """Each chain's part of the weight, shape (B, K, N)."""
        return self.log_weights.softmax(1)

    @property
    def _apart(self) -> Tensor:
        """log p(x given z) of each chain, its weighted mean taken off, shape (B, K, N)."""
        return self.log_likelihood + self.distortion.unsqueeze(1)

    @property
    def distortion(self) -> Tensor:
        """−E[log p(x given z)] under p_β(z given x), shape (B, N), nats."""
        return -(self._shares * self.log_likelihood).sum(1)

    @property
    def log_normalizer(self) -> Tensor:
        """log Z_β(x), shape (B, N), nats; a lower bound in expectation. At β = 1 it is log p(x)."""
        return torch.stack([importance_weighted_bound(each) for each in self.log_weights])

    @property
    def rate(self) -> Tensor:
        r"""KL(p_β(z given x) to p(z)), shape (B, N), nats: an upper bound in expectation, as far as E is exact.

        .. math:: \beta \, E[\log p(x \mid z)] - \log Z_\beta(x)
        """
        return -self.betas.unsqueeze(-1) * self.distortion - self.log_normalizer

    @property
    def distortion_error(self) -> Tensor:
        """Monte-Carlo error by the delta method for a ratio of means, shape (B, N), nats; NaN where not converged."""
        return self._error(self._shares * self._apart)

    @property
    def rate_error(self) -> Tensor:
        """The same of the rate, whose two terms share their chains."""
        count = self.num_chains
        return self._error(self.betas[:, None, None] * self._shares * self._apart - (self._shares - 1 / count))

    def _error(self, influence: Tensor) -> Tensor:
        """Error of a sum over chains, widened as that of every log mean weight, see ``AnnealedEstimate``."""
        count = self.num_chains
        if count < 2:
            return torch.full_like(self.distortion, torch.nan)
        error = (influence.square().sum(1) * count / (count - 1)).sqrt() * (count + 1) / (count - 1)
        return torch.where(self.converged, error, torch.nan)

    @property
    def converged(self) -> Tensor:
        """Whether the chains agree on Z_β well enough that the errors mean something, shape (B, N), bool."""
        errors = torch.stack([error_of_log_mean(each) for each in self.log_weights])
        return errors <= LARGEST_ERROR  # False for one chain, whose error is NaN

    @property
    def _distortion_bias(self) -> Tensor:
        """How far the ratio lies above −E, to second order, shape (B, N)."""
        return (self._shares.square() * self._apart).sum(1)

    @property
    def _normalizer_bias(self) -> Tensor:
        """How far log Z_β lies low, to second order, shape (B, N): half the squared error of its log mean weight."""
        count = self.num_chains
        return (self._shares - 1 / count).square().sum(1) * count / max(1, count - 1) / 2

    def averages_at(self, number: int) -> CurvePoint:
        """The curve at one of the betas."""
        beta, converged = float(self.betas[number]), self.converged[number]
        failed, count = int((~converged).sum()), self.num_observations
        more = (self.num_temperatures, MORE_TEMPERATURES * self.num_temperatures)
        cause: Any = "one_chain" if self.num_chains < 2 else "chains"
        reading = Reading("annealed", failed, count, cause if failed else None, temperatures=more if failed else None)
        ratio, low = self._distortion_bias[number], self._normalizer_bias[number]
        biases = {"distortion": ratio, "rate": low - beta * ratio}
        found = [
            average(
                name,
                getattr(self, name)[number],
                getattr(self, f"{name}_error")[number],
                self.num_chains,
                reading,
                bias=0.0 if failed else abs(float(biases[name].mean())),
            )
            for name in ("distortion", "rate")
        ]
        return CurvePoint(beta, *found)

    def curve(self) -> tuple[CurvePoint, ...]:
        """The curve, averaged over the observations, from β = 0 on."""
        return tuple(self.averages_at(number) for number in range(len(self.betas)))

    def averages(self) -> dict[str, Average]:
        """Rate and distortion at each β."""
        return {
            f"{name} at β = {point.beta:g}": getattr(point, name)
            for point in self.curve()
            for name in ("rate", "distortion")
        }

    def columns(self) -> dict[str, Column]:
        """Rate and distortion of each observation at each β."""
        return {
            f"{name}_{float(beta):g}": ("observation", getattr(self, name)[number])
            for number, beta in enumerate(self.betas)
            for name in ("rate", "distortion")
        }

    def as_json(self) -> list[dict[str, Any]]:
        """The curve in JSON types; unknown numbers are None."""
        return [
            {
                "beta": point.beta,
                **{
                    name: {
                        "value": found.value,
                        "monte_carlo_error": found.monte_carlo_error,
                        "data_error": found.data_error,
                        "reading": found.reading.as_json(),
                        "note": str(found.reading),
                    }
                    for name, found in (("rate", point.rate), ("distortion", point.distortion))
                },
            }
            for point in self.curve()
        ]


@lists_options
def rate_distortion(
    model: Program,
    guide: Program | None,
    x: X,
    betas: Sequence[float] = BETAS,
    *,
    num_temperatures: int = 200,
    num_chains: int = 8,
    num_leapfrog: int = 5,
    **options: Unpack[Options],
) -> RateDistortion:
    r"""The rate–distortion curve of one fixed model: what its decoder can do at each rate, without retraining.

    .. math:: D_\beta = -E_{p_\beta}[\log p(x \mid z)], \qquad
        R_\beta = \mathrm{KL}(p_\beta(z \mid x) \,\|\, p(z)) = \beta \, E_{p_\beta}[\log p(x \mid z)] - \log Z_\beta(x)

    with p_β(z given x) in proportion to p(z) p(x given z)^β. Chains start at draws from the prior and pass through the
    same inverse temperatures for every observation, tuned steps apart; at each β the chains' states are weighted by
    their weights there. At β = 0 the rate is 0; at β = 1 the distribution is the exact posterior, and
    R + D = −log p(x). No q with this decoder and this prior lies below the curve. The guide is not used.

    Args:
        guide: ignored, and may be None: every estimator takes (model, guide, x).
        betas: where the curve is read, above 0; beyond 1 the distortion is less than that of the posterior. β = 0 is
            always there.
        num_temperatures: T, steps from 0 to the largest β, spaced as (t/T)³; those of ``betas`` come in between.
        num_chains: K, independent chains for each observation; at least 2 for errors.
        num_leapfrog: leapfrog steps of a move.
        Others: as in :func:`bayes_vae.log_terms`.

    Returns:
        :class:`RateDistortion`, shape (B, N), nats.

    Raises:
        NotDefinedError: a discrete latent.
        SettingsError: betas that are not finite, positive and different, or numbers below one.

    Reference: Huang, Makhzani, Cao, Grosse (2020), "Evaluating lossy compression rates of deep generative models",
    algorithm 1; Alemi et al. (2018), "Fixing a broken ELBO", on rate and distortion.
    """
    prior = start_of(model, guide, "prior", options.get("source", "auto"))
    with open_pair(model, prior, x, **options) as opened:
        numbers = {"num_temperatures": num_temperatures, "num_chains": num_chains, "num_leapfrog": num_leapfrog}
        return rate_distortion_of(opened, betas, **numbers)


def rate_distortion_of(
    opened: OpenPair,
    betas: Sequence[float] = BETAS,
    *,
    num_temperatures: int = 200,
    num_chains: int = 8,
    num_leapfrog: int = 5,
) -> RateDistortion:
    """:func:`rate_distortion` of a pair that is open, the prior in its guide's place."""
    wanted = torch.tensor([0.0, *_checked(betas)], dtype=torch.float64, device="cpu")
    plan = make_plan(num_temperatures, num_chains, num_leapfrog, None, from_prior=True)
    grid = inverse_temperatures(plan.num_temperatures, "cubic") * wanted[-1]
    ladder = torch.cat([grid, wanted]).unique()
    plan = Plan(len(ladder) - 1, plan.num_chains, plan.num_leapfrog, "adaptive", True, ladder=ladder)
    places = torch.searchsorted(ladder, wanted)
    opened.check_memory(2 * len(wanted) * plan.num_chains, f"{len(betas)} betas and num_chains={plan.num_chains}")
    found = [_at_places(opened, batch, plan, places) for batch in opened.batches(plan.num_chains, "rate distortion")]
    weights, likelihoods = (torch.cat(rows, dim=-1).cpu() for rows in zip(*found, strict=True))
    return RateDistortion(wanted, weights, likelihoods, plan.num_temperatures, opened.provenance)


def _at_places(opened: OpenPair, batch: Batch, plan: Plan, places: Tensor) -> tuple[Tensor, Tensor]:
    """Log weights and log p(x given z) of a batch's chains at some of the ladder's places, each (B, K, N)."""
    wanted = set(places.tolist())
    weights: list[Tensor] = []
    likelihoods: list[Tensor] = []

    def watch(place: int, log_weights: Tensor, state: State) -> None:
        if place in wanted:
            weights.append(log_weights)
            likelihoods.append(state.delta.double())

    tick = ticker(opened.progress, batch.rows, opened.num_observations, plan.pilot_ticks + plan.run_ticks)
    tune(batch, plan, tick).forward(tick, watch)
    return torch.stack(weights), torch.stack(likelihoods)


def _checked(betas: Sequence[float]) -> list[float]:
    """The betas in ascending order.

    Raises:
        SettingsError: none, or one that is not a finite number above 0, or twice the same.
    """
    wanted = f"different finite numbers above 0, such as {BETAS}"
    found = sorted(real_number("betas", beta, wanted, below=LARGEST_REAL) for beta in several("betas", betas, wanted))
    if not found or len(set(found)) < len(found):
        raise SettingsError(f"betas must be {wanted}, got {reprlib.repr(betas)}; β = 0 is always there.")
    return found
