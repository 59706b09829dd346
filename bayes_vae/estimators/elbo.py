"""The ELBO and its two terms, for each observation and with their errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Unpack

import torch
from torch import Tensor

from bayes_vae.errors import NotDefinedError, SettingsError
from bayes_vae.terms.averages import Average, average
from bayes_vae.terms.containers import Draw, Provenance
from bayes_vae.terms.listed_options import lists_options
from bayes_vae.terms.opened import Batch, OpenPair, Options, collect, open_pair
from bayes_vae.terms.rows import X
from bayes_vae.terms.stream import BoundBatch
from bayes_vae.terms.tabular import Tabular
from bayes_vae.terms.traits import Program
from bayes_vae.vocabulary.readings import Kind, Reading

__all__ = ["KL", "ElboAtDraws", "ElboTerms", "check_kl", "elbo_terms", "resolve_kl"]

KL = Literal["auto", "analytic", "sampled"]


@dataclass(frozen=True, eq=False)
class ElboTerms(
    Tabular,
    observation=(
        "elbo",
        "elbo_error",
        "expected_log_likelihood",
        "expected_log_likelihood_error",
        "kl_to_prior",
        "kl_to_prior_error",
    ),
    dimension=("kl_per_dimension",),
):
    r"""ELBO = expected log likelihood − KL to the prior, for each observation, in nats.

    Attributes:
        expected_log_likelihood: E_q log p(x given z), shape (N,); minus the distortion, "reconstruction".
        kl_to_prior: KL(q(z given x) to p(z)), shape (N,), each observation's own; the rate.
        expected_log_likelihood_error: Monte-Carlo standard error, shape (N,); NaN for K = 1.
        kl_to_prior_error: the same for the KL; zero where it is analytic.
        elbo_error: the same for their difference, which are correlated where both are sampled.
        kl: "analytic" or "sampled", as it was resolved.
        num_particles: K.
        provenance: seed, source and policy.
        by_group: name of a group of columns, or of one of several observed sites → its expected log likelihood, shape
            (N,), nats; they sum to ``expected_log_likelihood``. Empty where there is one alone.
        by_group_error: their Monte-Carlo standard errors.
        kl_per_dimension: KL of each latent dimension, shape (N, D). Raises NotDefinedError where prior or guide
            does not factorize.
    """

    expected_log_likelihood: Tensor
    kl_to_prior: Tensor
    expected_log_likelihood_error: Tensor
    kl_to_prior_error: Tensor
    elbo_error: Tensor
    kl: str
    num_particles: int
    provenance: Provenance
    _kl_per_dimension: Tensor | str
    by_group: dict[str, Tensor] = field(default_factory=dict)
    by_group_error: dict[str, Tensor] = field(default_factory=dict)

    @property
    def elbo(self) -> Tensor:
        """expected_log_likelihood − kl_to_prior, shape (N,); in expectation at most log p(x)."""
        return self.expected_log_likelihood - self.kl_to_prior

    @property
    def kl_per_dimension(self) -> Tensor:
        """Closed-form KL of each latent dimension, shape (N, D)."""
        if isinstance(self._kl_per_dimension, str):
            raise NotDefinedError(self._kl_per_dimension)
        return self._kl_per_dimension

    @property
    def num_observations(self) -> int:
        """N."""
        return len(self.kl_to_prior)

    def averages(self) -> dict[str, Average]:
        """The three figures over the data set, with Monte-Carlo and data error apart."""
        kinds: dict[str, Kind] = {
            "expected_log_likelihood": "estimate",
            "kl_to_prior": "closed_form" if self.kl == "analytic" else "estimate",
            "elbo": "lower_bound",
        }
        return {
            name: average(name, getattr(self, name), getattr(self, f"{name}_error"), self.num_particles, Reading(kind))
            for name, kind in kinds.items()
        }

    def averages_by_group(self) -> dict[str, Average]:
        """The expected log likelihood of each group over the data set; empty where there is one alone."""
        return {
            name: average(f"expected_log_likelihood of {name}", values, self.by_group_error[name], self.num_particles)
            for name, values in self.by_group.items()
        }


@lists_options
def elbo_terms(
    model: Program,
    guide: Program,
    x: X,
    num_particles: int = 100,
    *,
    kl: KL = "auto",
    **options: Unpack[Options],
) -> ElboTerms:
    r"""The ELBO's decomposition, observation by observation.

    .. math:: \mathrm{ELBO}(x) = E_{q(z \mid x)} \log p(x \mid z) - \mathrm{KL}(q(z \mid x) \,\|\, p(z)) \le \log p(x)

    z is drawn from q: decoding its mean gives another number. The KL compares each q(z given x) with the prior, never
    observations with each other.

    Args:
        kl: "analytic" (refused where no closed form is known), "sampled", or "auto", resolved and stored.
        Others: as in :func:`bayes_vae.log_terms`.

    Returns:
        :class:`ElboTerms`, shape (N,), nats, larger is better.

    Raises:
        NotDefinedError: ``kl="analytic"`` without a closed form; the message says why.

    Reference: Kingma, Welling (2014), "Auto-encoding variational Bayes", eqs. 3 and 7.
    """
    elbo = ElboAtDraws(kl)
    with open_pair(model, guide, x, **options) as opened:
        collect(opened, num_particles, elbo)
        return elbo.result(opened)


class ElboAtDraws:
    """Collects the ELBO's terms from draws; an :class:`~bayes_vae.terms.opened.Accumulator`.

    Args:
        kl: "analytic", "sampled" or "auto", which the first batch resolves.
    """

    def __init__(self, kl: KL) -> None:
        self._kl: str = kl
        self._per_dimension: list[Tensor] | str = []
        self._rows: list[tuple[Tensor, ...]] = []
        self._group_rows: list[dict[str, tuple[Tensor, Tensor]]] = []

    def begin(self, batch: Batch) -> None:
        """A batch starts: its KL is computed where there is a closed form."""
        self._batch = batch
        self._kl, self._closed = resolve_kl(batch.bound, self._kl)
        self._likelihood, self._sampled, self._elbo = _Moments(), _Moments(), _Moments()
        self._groups: dict[str, _Moments] = {}

    def update(self, draw: Draw) -> None:
        """Some particles of it."""
        log_likelihood = draw.log_likelihood.double()
        self._likelihood.update(log_likelihood)
        for name, values in draw.by_group.items():
            self._groups.setdefault(name, _Moments()).update(values.double())
        if self._closed is None:
            sampled = draw.log_guide.double() - draw.log_prior.double()
            self._sampled.update(sampled)
            self._elbo.update(log_likelihood - sampled)

    def end(self) -> None:
        """All its particles have come."""
        likelihood, kl, elbo = self._likelihood, self._sampled, self._elbo
        self.num_particles = likelihood.count
        if self._closed is None:
            row = likelihood.value(), kl.value(), likelihood.error(), kl.error(), elbo.error()
        else:
            exact = self._closed.double()
            row = likelihood.value(), exact, likelihood.error(), torch.zeros_like(exact), likelihood.error()
        self._rows.append(row)
        self._group_rows.append({name: (moments.value(), moments.error()) for name, moments in self._groups.items()})
        self._per_dimension = _append_per_dimension(self._per_dimension, self._batch.bound)

    def result(self, opened: OpenPair) -> ElboTerms:
        """The terms of all observations that came."""
        likelihood, kl_to_prior, likelihood_error, kl_error, elbo_error = (
            torch.cat(column) for column in zip(*self._rows, strict=True)
        )
        per_dimension = self._per_dimension
        return ElboTerms(
            likelihood,
            kl_to_prior,
            likelihood_error,
            kl_error,
            elbo_error,
            kl=self._kl,
            num_particles=self.num_particles,
            provenance=opened.provenance,
            _kl_per_dimension=per_dimension if isinstance(per_dimension, str) else torch.cat(per_dimension),
            by_group=self._of_groups(0),
            by_group_error=self._of_groups(1),
        )

    def _of_groups(self, which: int) -> dict[str, Tensor]:
        """Values, or errors, of each group for all observations that came."""
        return {name: torch.cat([row[name][which] for row in self._group_rows]) for name in self._group_rows[0]}


def check_kl(kl: str) -> None:
    """Refuse an unknown choice of how the KL is computed."""
    if kl not in ("auto", "analytic", "sampled"):
        raise SettingsError(f"kl must be 'auto', 'analytic' or 'sampled', got {kl!r}.")


def resolve_kl(bound: BoundBatch, kl: str) -> tuple[str, Tensor | None]:
    """Resolve "auto" and give the closed-form KL of a batch, or None where it is to be sampled.

    Raises:
        SettingsError: an unknown choice.
        NotDefinedError: "analytic" without a closed form.
    """
    check_kl(kl)
    if kl == "sampled":
        return kl, None
    try:
        return "analytic", bound.kl()
    except NotDefinedError:
        if kl == "analytic":
            raise
        return "sampled", None


class _Moments:
    """Mean and standard error over particles, chunk by chunk (Chan, Golub, LeVeque 1983)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor = torch.zeros((), device="cpu")
        self.squares: Tensor = torch.zeros((), device="cpu")
        self.infinite: Tensor = torch.zeros((), device="cpu")

    def update(self, values: Tensor) -> None:
        """Add values of shape (K, N); an infinite one makes the mean infinite, whatever the chunks."""
        self.infinite = self.infinite + torch.where(values.isinf(), values, 0.0).sum(0)
        values = values.masked_fill(values.isinf(), 0.0)
        count, mean = len(values), values.mean(0)
        total = self.count + count
        delta = mean - self.mean
        spread = delta.square() * (self.count * count / total)
        self.squares = self.squares + (values - mean).square().sum(0) + spread
        self.mean = self.mean + delta * (count / total)
        self.count = total

    def error(self) -> Tensor:
        """Standard error of the mean, shape (N,); NaN for one particle, and where the mean is infinite."""
        if self.count < 2:
            return torch.full_like(self.mean, torch.nan)
        error = (self.squares / (self.count - 1) / self.count).sqrt()
        return error.masked_fill(self.infinite != 0, torch.nan)

    def value(self) -> Tensor:
        """The mean, shape (N,)."""
        return torch.where(self.infinite == 0, self.mean, self.infinite)


def _append_per_dimension(so_far: list[Tensor] | str, bound: BoundBatch) -> list[Tensor] | str:
    if isinstance(so_far, str):
        return so_far
    try:
        return [*so_far, bound.kl_per_dimension().double()]
    except NotDefinedError as error:
        return str(error)
