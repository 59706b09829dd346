"""The three log densities of Bayes' rule, and how they came about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bayes_vae.terms.tabular import Tabular

__all__ = ["Draw", "JointTerms", "LogTerms", "ModelSite", "Provenance", "join_particles"]


class Draw(NamedTuple):
    """Terms of some particles of some observations, each (K, N), in the pair's dtype and differentiable.

    ``by_group`` has the log likelihood of each group of columns, or of each observed site where there are several;
    they sum to ``log_likelihood``. ``by_latent`` has log q − log p of each latent site where there are several; they
    sum to ``log_guide − log_prior``. Empty where there is one.
    """

    log_prior: Tensor
    log_likelihood: Tensor
    log_guide: Tensor
    latents: dict[str, Tensor]
    by_group: dict[str, Tensor] = {}  # noqa: RUF012
    by_latent: dict[str, Tensor] = {}  # noqa: RUF012

    @property
    def log_importance_weights(self) -> Tensor:
        """log p(x, z) − log q(z given x), shape (K, N), in float64."""
        return self.log_prior.double() + self.log_likelihood.double() - self.log_guide.double()

    def select(self, particles: Any = slice(None), rows: Any = slice(None)) -> Draw:
        """Some particles of some observations."""
        prior, likelihood, guide = (term[particles][:, rows] for term in self[:3])
        parts = ({name: value[particles][:, rows] for name, value in part.items()} for part in self[3:])
        return Draw(prior, likelihood, guide, *parts)


class JointTerms(NamedTuple):
    """The model's two log densities at given latents, each (K, N), differentiable in them."""

    log_prior: Tensor
    log_likelihood: Tensor


class ModelSite(NamedTuple):
    """A site of the model in a run with given latents.

    ``to_rows(values, num_batch_dims)`` lays out values over so many batch dimensions, and any more to their right, as
    (K, N, *rest).
    """

    name: str
    fn: Any
    value: Tensor
    mask: Tensor | bool | None
    to_rows: Callable[[Tensor, int], Tensor]


def join_particles(draws: Sequence[Draw]) -> Draw:
    """The particles of several draws of the same observations, one after another."""
    prior, likelihood, guide = (torch.cat(parts) for parts in zip(*(draw[:3] for draw in draws), strict=True))
    named = zip(*(draw[3:] for draw in draws), strict=True)
    joined = ({name: torch.cat([part[name] for part in parts]) for name in parts[0]} for parts in named)
    return Draw(prior, likelihood, guide, *joined)


@dataclass(frozen=True)
class Provenance:
    """What a figure needs beside it to be read rightly.

    Attributes:
        seed: of every draw; None of draws that were made elsewhere.
        source: "distributions" (read off what the pair exposes) or "traces" (any pair).
        particles: how particles were laid out: "vectorized", "plate", "repeat" or "loop".
        randomness: "per observation" (does not depend on batches) or "data blocks".
        data_policy: how pixels became observations; "unstated" where the caller did not say.
        pixel_seed: of the zeros and ones that pixels became; None where none were drawn here.
        missing_share: share of the numbers of x that are missing, NaN: the terms are of what was observed.
    """

    seed: int | None
    source: str
    particles: str
    randomness: str
    data_policy: str = "unstated"
    pixel_seed: int | None = None
    missing_share: float = 0.0

    @property
    def kl_weight(self) -> float:
        """Weight of the KL: evaluation always uses 1."""
        return 1.0


@dataclass(frozen=True, eq=False)
class LogTerms(Tabular, particle=("log_prior", "log_likelihood", "log_guide", "log_importance_weights")):
    r"""Log densities of K draws from the guide for each of N observations, in nats.

    .. math:: \log w_{kn} = \log p(z_{kn}) + \log p(x_n \mid z_{kn}) - \log q(z_{kn} \mid x_n)

    Attributes:
        log_prior: log p(z), shape (K, N); over all latent sites.
        log_likelihood: log p(x given z), shape (K, N); over all observed sites.
        log_guide: log q(z given x), shape (K, N).
        latents: the draws, site → (K, N, *event); empty unless asked for.
        provenance: seed, source and policy.
    """

    log_prior: Tensor
    log_likelihood: Tensor
    log_guide: Tensor
    provenance: Provenance
    latents: dict[str, Tensor] = field(default_factory=dict)

    @property
    def log_joint(self) -> Tensor:
        """log p(x, z), shape (K, N)."""
        return self.log_prior + self.log_likelihood

    @property
    def log_importance_weights(self) -> Tensor:
        """log p(x, z) − log q(z given x), shape (K, N)."""
        return self.log_joint - self.log_guide

    @property
    def num_particles(self) -> int:
        """K."""
        return self.log_prior.shape[0]

    @property
    def num_observations(self) -> int:
        """N."""
        return self.log_prior.shape[1]
