"""What the annealed rate–distortion curve of a model is, and how far to trust each of its points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bayes_vae.estimators.annealing.estimate import LARGEST_ERROR, MORE_TEMPERATURES, error_of_log_mean, lies_above
from bayes_vae.estimators.annealing.path import COARSEST
from bayes_vae.estimators.importance.bound import effective_sample_size, importance_weighted_bound
from bayes_vae.terms.averages import Average, average
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.tabular import Column, Tabular
from bayes_vae.vocabulary.readings import Reading

__all__ = ["CurvePoint", "RateDistortion"]

LARGEST_SPREAD = 1.5
"""Nats of deviation between the chains' log weights above which a few of them carry the mean, and hide its error."""

EXCESS = 6.0
"""Errors by which the check may lie above: those of a few chains are uncertain, and a curve has many points."""


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
        check_log_weights: of a few chains to each β from a normal fitted to p(z) p(x given z)^β, shape (B, C, N), nats;
            they are no part of the curve.
        more_modes: whether more modes were found than that start has normals, shape (B, N), bool.
        resolution: how much log p(z) p(x given z)^β changes between neighbouring floats, shape (B, N), nats.
        num_temperatures: T, steps from β = 0 to the largest.
        provenance: seed, source and policy.
    """

    betas: Tensor
    log_weights: Tensor
    log_likelihood: Tensor
    check_log_weights: Tensor
    more_modes: Tensor
    resolution: Tensor
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
        r"""Error of a sum over chains, widened by (n + 1) / (n − 1), with n the effective number of chains.

        So few weights do not know their own scatter, see ``AnnealedEstimate``.
        """
        count = self.num_chains
        if count < 2:
            return torch.full_like(self.distortion, torch.nan)
        effective = torch.stack([effective_sample_size(each) for each in self.log_weights])
        error = (influence.square().sum(1) * count / (count - 1)).sqrt() * (effective + 1) / (effective - 1)
        return torch.where(self.converged, error, torch.nan)

    @property
    def chains_agree(self) -> Tensor:
        """Whether the chains agree with each other and with those of the check, shape (B, N), bool.

        They agree with each other where their log weights scatter little, at this β and all before it, since it is on
        their way. The check's mean weight is unbiased for Z_β too: where it lies above, the chains missed a part of z.
        """
        count = self.num_chains
        if count < 2:
            return torch.zeros_like(self.more_modes)
        pairs = list(zip(self.check_log_weights, self.log_weights, strict=True))
        errors = torch.stack([error_of_log_mean(each) for each in self.log_weights])
        scattered = (errors > LARGEST_ERROR) | (self.log_weights.std(1) > LARGEST_SPREAD)
        missed = self.more_modes | torch.stack([lies_above(check, weights, EXCESS) for check, weights in pairs])
        return (scattered.cumsum(0) == 0) & ~missed

    @property
    def converged(self) -> Tensor:
        """Whether the errors mean something, shape (B, N), bool: chains that agree, a density that floats resolve."""
        return self.chains_agree & (self.resolution <= COARSEST)

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
        beta, settled = float(self.betas[number]), bool(self.converged[number].all())
        ratio, low = self._distortion_bias[number], self._normalizer_bias[number]
        biases = {"distortion": ratio, "rate": low - beta * ratio}
        found = [
            average(
                name,
                getattr(self, name)[number],
                getattr(self, f"{name}_error")[number],
                self.num_chains,
                self._reading(number),
                bias=abs(float(biases[name].mean())) if settled else 0.0,
            )
            for name in ("distortion", "rate")
        ]
        return CurvePoint(beta, *found)

    def _reading(self, number: int) -> Reading:
        """How the point at one of the betas reads."""
        failed, count = int((~self.converged[number]).sum()), self.num_observations
        if not failed:
            return Reading("annealed", num_observations=count)
        if self.num_chains < 2:
            return Reading("annealed", failed, count, "one_chain")
        if bool(self.chains_agree[number].all()):
            return Reading("annealed", failed, count, "precision")
        more = (self.num_temperatures, MORE_TEMPERATURES * self.num_temperatures)
        return Reading("annealed", failed, count, "chains", temperatures=more)

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
