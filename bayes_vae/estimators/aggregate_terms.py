"""What is known of the aggregate posterior: the parts of the mean KL to the prior, and which dimensions are active."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bayes_vae.errors import NotDefinedError, SettingsError
from bayes_vae.terms.averages import Average, average
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.tabular import Tabular
from bayes_vae.vocabulary.readings import ESTIMATE, Reading

__all__ = ["ACTIVE_VARIANCE", "PARTS", "AggregatePosteriorTerms"]

ACTIVE_VARIANCE = 0.01
"""A latent dimension is active where the variance of its posterior means exceeds this (Burda et al. 2016)."""

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
    come from the same draws, so the sums hold draw by draw and are properties. Where the marginals q(z_d given x) are
    not known (a flow, say), the last two parts are not, and asking for one raises ``NotDefinedError``; their sum, the
    marginal KL, is known for every q with a density.

    Attributes:
        shares: E_{q(z given x_n)} of each part, shape (N, P).
        parts: their names, in order: three, or the first and marginal_kl_to_prior.
        covariance: Monte-Carlo covariance of these, shape (N, P, P); NaN for K = 1.
        closed_form_kl: KL(q(z_d given x_n) to p(z_d)), shape (N, D), where prior and guide factorize; else None.
        mean_variance: variance over the observations of the mean of q(z_d given x), shape (D,); None where the mean
            is not known.
        why_undefined: what this guide lacks, a sentence; empty for factorized normals.
        num_particles: K draws for each observation.
        provenance: seed, source and policy.
    """

    shares: Tensor
    parts: tuple[str, ...]
    covariance: Tensor
    closed_form_kl: Tensor | None
    mean_variance: Tensor | None
    why_undefined: str
    num_particles: int
    provenance: Provenance

    @property
    def index_code_mutual_information(self) -> Tensor:
        """E_{q(z given x_n)} log q(z given x_n) / q(z), shape (N,); at most log N, each share and the mean.

        Its mean is the mutual information of an observation's index and its code.
        """
        return self._sum("index_code_mutual_information")

    @property
    def total_correlation(self) -> Tensor:
        """E_{q(z given x_n)} log q(z) / Π_d q(z_d), shape (N,)."""
        return self._sum("total_correlation")

    @property
    def dimensionwise_kl(self) -> Tensor:
        """E_{q(z given x_n)} Σ_d log q(z_d) / p(z_d), shape (N,)."""
        return self._sum("dimensionwise_kl")

    @property
    def marginal_kl_to_prior(self) -> Tensor:
        """E_{q(z given x_n)} log q(z) / p(z), shape (N,): total_correlation + dimensionwise_kl."""
        return self._sum("marginal_kl_to_prior")

    @property
    def kl_to_prior(self) -> Tensor:
        """KL(q(z given x_n) to p(z)), shape (N,): index_code_mutual_information + marginal_kl_to_prior, sampled."""
        return self._sum("kl_to_prior")

    @property
    def names(self) -> tuple[str, ...]:
        """The figures that are known."""
        rest = PARTS[1:] if self.parts == PARTS else ()
        return ("kl_to_prior", PARTS[0], "marginal_kl_to_prior", *rest)

    def _which(self, name: str) -> Tensor:
        """One for each part that a figure is the sum of."""
        sums = {"kl_to_prior": self.parts, "marginal_kl_to_prior": self.parts[1:]}
        if name not in (*PARTS, *sums):
            raise SettingsError(f"name must be one of {', '.join((*PARTS, *sums))}, got {name!r}.")
        if name not in self.names:
            raise NotDefinedError(f"{name} is not defined here: {self.why_undefined}")
        return self.covariance.new_tensor([part in sums.get(name, (name,)) for part in self.parts])

    def _sum(self, name: str) -> Tensor:
        return self.shares @ self._which(name)

    @property
    def kl_per_dimension(self) -> Tensor:
        """Closed-form KL(q(z_d given x_n) to p(z_d)), shape (N, D)."""
        if self.closed_form_kl is None:
            raise NotDefinedError(f"kl_per_dimension is not defined here: {self.why_undefined}")
        return self.closed_form_kl

    @property
    def posterior_mean_variance(self) -> Tensor:
        """Variance over the observations of the mean of q(z_d given x), shape (D,)."""
        if self.mean_variance is None:
            raise NotDefinedError(f"posterior_mean_variance is not defined here: {self.why_undefined}")
        return self.mean_variance

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
        return len(self.shares)

    def standard_error(self, name: str) -> Tensor:
        """Monte-Carlo standard error of one of the five quantities for each observation, shape (N,).

        Args:
            name: "kl_to_prior", "marginal_kl_to_prior", or one of the three parts.
        """
        which = self._which(name)
        variance = torch.einsum("i,nij,j->n", which, self.covariance, which)
        return variance.clamp(min=0).sqrt()

    def averages(self) -> dict[str, Average]:
        """The figures over the data set, five where all are known.

        The Monte-Carlo error is for these observations and their mixture. The data error takes each share as the
        observation's influence on the figure, which is right to first order; it does not show the cap.
        """
        capped = Reading("capped", limit=self.largest_mutual_information)
        return {
            name: average(
                name,
                getattr(self, name),
                self.standard_error(name),
                self.num_particles,
                capped if name == "index_code_mutual_information" else ESTIMATE,
            )
            for name in self.names
        }
