"""The aggregate posterior q(z) = mean_n q(z given x_n), and what the mean KL to the prior is made of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bayes_vae.averages import Average, average
from bayes_vae.distributions import normal_parts
from bayes_vae.errors import NumericalError, SettingsError
from bayes_vae.randomness import KeyedNoise
from bayes_vae.tables import Tabular
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.exposed import ExposedPair
from bayes_vae.terms.factorized import read_factorized_pair, variational_normal
from bayes_vae.terms.program import Observations, Program, as_observations, take_rows, undisturbed
from bayes_vae.terms.stream import Progress, as_index, provenance

__all__ = ["ACTIVE_VARIANCE", "AggregatePosteriorTerms", "aggregate_posterior_terms"]

ACTIVE_VARIANCE = 0.01
"""A latent dimension is active where the variance of its posterior means exceeds this (Burda et al. 2016)."""

DRAWS_AT_ONCE = 1024
"""Draws that meet the mixture together."""

DENSITIES_AT_ONCE = 2**20
"""Draws times components times dimensions in one pass (8 MiB)."""

PARTS = ("index_code_mutual_information", "total_correlation", "dimensionwise_kl")


@dataclass(frozen=True, eq=False)
class AggregatePosteriorTerms(
    Tabular,
    observation=(
        "kl_to_prior",
        "index_code_mutual_information",
        "marginal_kl_to_prior",
        "total_correlation",
        "dimensionwise_kl",
    ),
    dimension=("kl_per_dimension",),
):
    r"""The three parts of the mean KL to the prior, as each observation's share, in nats.

    .. math:: \frac1N \sum_n \mathrm{KL}(q(z \mid x_n) \,\|\, p(z)) = \underbrace{I(n; z)}_{\text{mutual information}}
        + \underbrace{\mathrm{KL}(q(z) \,\|\, \textstyle\prod_d q(z_d))}_{\text{total correlation}}
        + \underbrace{\textstyle\sum_d \mathrm{KL}(q(z_d) \,\|\, p(z_d))}_{\text{dimensionwise KL}}

    The figure of the data set is the mean over observations, which :meth:`averages` gives with its errors. All parts
    come from the same draws, so the sums hold draw by draw and are properties.

    Attributes:
        index_code_mutual_information: E_{q(z given x_n)} log q(z given x_n) / q(z), shape (N,). Its mean is the mutual
            information of an observation's index and its code; at most log N, each share and the mean.
        total_correlation: E_{q(z given x_n)} log q(z) / Π_d q(z_d), shape (N,).
        dimensionwise_kl: E_{q(z given x_n)} Σ_d log q(z_d) / p(z_d), shape (N,).
        covariance: Monte-Carlo covariance of these three, in this order, shape (N, 3, 3); NaN for K = 1.
        kl_per_dimension: closed-form KL(q(z_d given x_n) to p(z_d)), shape (N, D).
        posterior_mean_variance: variance over the observations of the mean of q(z_d given x), shape (D,).
        num_particles: K draws for each observation.
        provenance: seed, source and policy.
    """

    index_code_mutual_information: Tensor
    total_correlation: Tensor
    dimensionwise_kl: Tensor
    covariance: Tensor
    kl_per_dimension: Tensor
    posterior_mean_variance: Tensor
    num_particles: int
    provenance: Provenance

    @property
    def marginal_kl_to_prior(self) -> Tensor:
        """E_{q(z given x_n)} log q(z) / p(z), shape (N,): total_correlation + dimensionwise_kl."""
        return self.total_correlation + self.dimensionwise_kl

    @property
    def kl_to_prior(self) -> Tensor:
        """KL(q(z given x_n) to p(z)), shape (N,): index_code_mutual_information + marginal_kl_to_prior, sampled."""
        return self.index_code_mutual_information + self.marginal_kl_to_prior

    @property
    def largest_mutual_information(self) -> float:
        """log N: N observations cannot tell a code of more information from one of this much."""
        return math.log(self.num_observations)

    @property
    def mean_kl_per_dimension(self) -> Tensor:
        """Mean over observations of the closed-form KL, shape (D,); its sum is the exact mean KL."""
        return self.kl_per_dimension.mean(0)

    @property
    def active(self) -> Tensor:
        """Which dimensions are active: posterior_mean_variance above 0.01, shape (D,), bool."""
        return self.posterior_mean_variance > ACTIVE_VARIANCE

    @property
    def active_units(self) -> int:
        """How many dimensions are active."""
        return int(self.active.sum())

    @property
    def num_observations(self) -> int:
        """N, which is also the number of components of q(z)."""
        return len(self.total_correlation)

    def standard_error(self, name: str) -> Tensor:
        """Monte-Carlo standard error of one of the five quantities for each observation, shape (N,).

        Args:
            name: "kl_to_prior", "marginal_kl_to_prior", or one of the three parts.
        """
        sums = {"kl_to_prior": PARTS, "marginal_kl_to_prior": PARTS[1:]}
        if name not in (*PARTS, *sums):
            raise SettingsError(f"name must be one of {', '.join((*PARTS, *sums))}, got {name!r}.")
        which = self.covariance.new_tensor([part in sums.get(name, (name,)) for part in PARTS])
        variance = torch.einsum("i,nij,j->n", which, self.covariance, which)
        return variance.clamp(min=0).sqrt()

    def averages(self) -> dict[str, Average]:
        """The five figures over the data set.

        The Monte-Carlo error is for these observations and their mixture. The data error takes each share as the
        observation's influence on the figure, which is right to first order; it does not show the cap.
        """
        cap = f"at most log N = {self.largest_mutual_information:.3f}"
        return {
            name: average(
                name,
                getattr(self, name),
                self.standard_error(name),
                self.num_particles,
                cap if name == "index_code_mutual_information" else "",
            )
            for name in ("kl_to_prior", PARTS[0], "marginal_kl_to_prior", *PARTS[1:])
        }


def aggregate_posterior_terms(
    model: Program,
    guide: Program,
    x: Tensor | tuple[Tensor, ...],
    num_particles: int = 10,
    *,
    seed: int = 0,
    index: Tensor | None = None,
    batch_size: int | None = None,
    chunk_size: int | None = None,
    data_policy: str = "unstated",
    progress: Progress | None = None,
) -> AggregatePosteriorTerms:
    r"""Split the mean KL to the prior into mutual information, total correlation and dimensionwise KL.

    .. math:: q(z) = \frac1N \sum_{n=1}^N q(z \mid x_n), \qquad q(z_d) = \frac1N \sum_{n=1}^N q(z_d \mid x_n)

    Both mixtures run over all N observations given, never a minibatch, and are evaluated exactly; only the
    expectation over z is sampled, with K draws for each x_n. The cost is K N² D densities, in bounded memory.

    Args:
        model, guide: a pair that exposes its distributions, prior and guide factorized normals.
        num_particles: K draws for each observation; errors need at least 2.
        batch_size: observations drawn for at once.
        chunk_size: components of the mixture at once; neither changes a result beyond rounding.
        Others: as in :func:`bayes_vae.log_terms`.

    Returns:
        :class:`AggregatePosteriorTerms`, shape (N,), nats; the mean of every figure is at least 0, up to its error.

    Raises:
        NotDefinedError: any other pair; the message says why.

    Reference: Hoffman, Johnson (2016), "ELBO surgery", section 2; Chen, Li, Grosse, Duvenaud (2018), "Isolating
    sources of disentanglement in variational autoencoders", eq. 2; active units: Burda, Grosse, Salakhutdinov (2016),
    "Importance weighted autoencoders", section 5.2.
    """
    _check(num_particles=num_particles, batch_size=batch_size, chunk_size=chunk_size)
    parts = as_observations(x)
    indices = as_index(index, len(parts[0]), parts[0].device)
    size = batch_size or max(1, DRAWS_AT_ONCE // num_particles)
    with undisturbed(model, guide, device=parts[0].device, seed=seed):
        pair = read_factorized_pair(
            model,
            guide,
            parts,
            indices,
            "aggregate_posterior_terms",
            "needs q(z_d given x) of each dimension by itself",
        )
        mixture, kl = _encode(pair, parts, indices)
        noise = KeyedNoise(seed)
        rows: list[tuple[Tensor, Tensor]] = []
        for start in range(0, len(indices), size):
            batch = slice(start, min(start + size, len(indices)))
            values = list(_shares(pair, mixture, batch, indices[batch], noise, num_particles, chunk_size))
            rows.append(_mean_and_covariance(torch.cat(values)))
            if progress is not None:
                progress(batch.stop, len(indices))
    means, covariance = (torch.cat(column) for column in zip(*rows, strict=True))
    if not bool(torch.isfinite(means).all()):
        raise NumericalError(
            "log q(z given x) is not finite: look for NaN in the data, a scale of the guide that reached zero or "
            "infinity, or weights that diverged."
        )
    information, correlation, dimensionwise = means.unbind(-1)
    return AggregatePosteriorTerms(
        information,
        correlation,
        dimensionwise,
        covariance,
        kl,
        mixture.loc.var(0, correction=0),
        num_particles,
        provenance(pair, seed, data_policy),
    )


def _check(**numbers: int | None) -> None:
    for name, value in numbers.items():
        if value is not None and not (hasattr(value, "__index__") and value >= 1):
            raise SettingsError(f"{name} must be a whole number of at least 1, got {value!r}.")


@dataclass(frozen=True, eq=False)
class _Mixture:
    """The N components of q(z), float64, each (N, D)."""

    loc: Tensor
    scale: Tensor

    def log_density(self, z: Tensor, components: slice = slice(None)) -> Tensor:
        """log q(z_d given x_n) for draws (S, 1, D), or (S, N, D) with component n for draw n."""
        loc, scale = self.loc[components], self.scale[components]
        return _normal_log_density(z, loc, scale)

    def log_mixture(self, z: Tensor, chunk_size: int | None) -> tuple[Tensor, Tensor]:
        """log q(z) of shape (S,) and log q(z_d) of shape (S, D) for draws (S, D), components chunk by chunk."""
        count = len(self.loc)
        step = chunk_size or max(1, DENSITIES_AT_ONCE // z.numel())
        joint, marginal = z.new_full((len(z),), -torch.inf), torch.full_like(z, -torch.inf)
        for start in range(0, count, step):
            densities = self.log_density(z.unsqueeze(1), slice(start, start + step))
            joint = torch.logaddexp(joint, densities.sum(-1).logsumexp(1))
            marginal = torch.logaddexp(marginal, densities.logsumexp(1))
        return joint - math.log(count), marginal - math.log(count)


def _normal_log_density(z: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """log N(z; loc, scale²), dimension by dimension."""
    return ((z - loc) / scale).square().mul(-0.5) - (scale.log() + 0.5 * math.log(2 * math.pi))


def _encode(pair: ExposedPair, x: Observations, index: Tensor) -> tuple[_Mixture, Tensor]:
    """Run the encoder on every observation: the mixture, and the closed-form KL by dimension."""
    rows = []
    for start in range(0, len(index), DRAWS_AT_ONCE):
        batch = slice(start, start + DRAWS_AT_ONCE)
        bound = pair.bind(take_rows(x, batch), index[batch])
        loc, scale = variational_normal(bound)
        rows.append((loc.double(), scale.double(), bound.kl_per_dimension().double()))
    loc, scale, kl = (torch.cat(column) for column in zip(*rows, strict=True))
    return _Mixture(loc, scale), kl


def _shares(
    pair: ExposedPair,
    mixture: _Mixture,
    batch: slice,
    index: Tensor,
    noise: KeyedNoise,
    num_particles: int,
    chunk_size: int | None,
) -> Iterator[Tensor]:
    """The three parts at draws from each q(z given x_n) of a batch, chunks of shape (K, N, 3)."""
    parts = normal_parts(pair.model.prior())
    assert parts is not None, "read_factorized_pair has looked"
    loc, scale = mixture.loc[batch], mixture.scale[batch]
    step = max(1, DRAWS_AT_ONCE // len(index))
    for start in range(0, num_particles, step):
        particles = range(start, min(start + step, num_particles))
        z = loc + scale * noise.normal("z", index, particles, loc.shape[1:], loc)
        own = mixture.log_density(z, batch).sum(-1)
        prior = _normal_log_density(z, parts[0].double(), parts[1].double()).sum(-1)
        joint, marginal = mixture.log_mixture(z.flatten(0, 1), chunk_size)
        joint, product = joint.reshape(own.shape), marginal.sum(-1).reshape(own.shape)
        yield torch.stack([own - joint, joint - product, product - prior], dim=-1)


def _mean_and_covariance(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over K draws (N, 3), and its covariance (N, 3, 3), from values (K, N, 3)."""
    count, mean = len(values), values.mean(0)
    if count < 2:
        return mean, mean.new_full((*mean.shape, mean.shape[-1]), torch.nan)
    centred = values - mean
    return mean, torch.einsum("kni,knj->nij", centred, centred) / (count - 1) / count
