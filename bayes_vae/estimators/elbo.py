"""The ELBO and its two terms, for each observation and with their errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from bayes_vae.terms.tabular import Column, Tabular
from bayes_vae.terms.traits import Program
from bayes_vae.vocabulary.readings import Kind, Reading
from bayes_vae.vocabulary.symbols import part_of

__all__ = ["KL", "ElboAtDraws", "ElboTerms", "check_kl", "elbo_terms", "resolve_kl", "total_kl"]

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
        kl_by_site: name of a latent site → E_q[log q − log p] of that site given those before it in each program, shape
            (N,), nats: each layer's part. They sum to ``kl_to_prior``; one alone may be negative where model and guide
            draw the sites in another order. Empty where there is one latent site.
        kl_by_site_error: their Monte-Carlo standard errors; zero where the KL is analytic.
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
    kl_by_site: dict[str, Tensor] = field(default_factory=dict)
    kl_by_site_error: dict[str, Tensor] = field(default_factory=dict)

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
            name: average(
                part_of("expected_log_likelihood", name), values, self.by_group_error[name], self.num_particles
            )
            for name, values in self.by_group.items()
        }

    def averages_by_site(self) -> dict[str, Average]:
        """The KL of each latent site over the data set; empty where there is one alone."""
        reading = self.averages()["kl_to_prior"].reading
        return {
            name: average(
                part_of("kl_to_prior", name), values, self.kl_by_site_error[name], self.num_particles, reading
            )
            for name, values in self.kl_by_site.items()
        }

    def table_rows(self) -> Mapping[str, Average]:
        """The averages, and below them those of each group and latent site where there are several."""
        parts = (*self.averages_by_group().values(), *self.averages_by_site().values())
        return {**self.averages(), **{part.name: part for part in parts}}

    def columns(self) -> dict[str, Column]:
        """The terms of each observation, and those of each group and latent site where there are several."""
        parts = {"expected_log_likelihood": self.by_group, "kl_to_prior": self.kl_by_site}
        named = {part_of(term, name): values for term, part in parts.items() for name, values in part.items()}
        return {**super().columns(), **{name: ("observation", values) for name, values in named.items()}}


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
        self._group_rows: list[_Parts] = []
        self._site_rows: list[_Parts] = []

    def begin(self, batch: Batch) -> None:
        """A batch starts: its KL is computed where there is a closed form."""
        self._batch = batch
        self._kl, self._closed = resolve_kl(batch.bound, self._kl)
        self._likelihood, self._sampled, self._elbo = _Moments(), _Moments(), _Moments()
        self._groups: dict[str, _Moments] = {}
        self._sites: dict[str, _Moments] = {}

    def update(self, draw: Draw) -> None:
        """Some particles of it."""
        log_likelihood = draw.log_likelihood.double()
        self._likelihood.update(log_likelihood)
        for name, values in draw.by_group.items():
            self._groups.setdefault(name, _Moments()).update(values.double())
        if self._closed is None:
            for name, values in draw.by_latent.items():
                self._sites.setdefault(name, _Moments()).update(values.double())
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
            exact = total_kl(self._closed).double()
            row = likelihood.value(), exact, likelihood.error(), torch.zeros_like(exact), likelihood.error()
        self._rows.append(row)
        self._group_rows.append(_of_draws(self._groups))
        self._site_rows.append(_of_draws(self._sites) if self._closed is None else _of_closed_form(self._closed))
        self._per_dimension = _append_per_dimension(self._per_dimension, self._batch.bound)

    def result(self, opened: OpenPair) -> ElboTerms:
        """The terms of all observations that came."""
        likelihood, kl_to_prior, likelihood_error, kl_error, elbo_error = (
            torch.cat(column) for column in zip(*self._rows, strict=True)
        )
        per_dimension = self._per_dimension
        found = ElboTerms(
            likelihood,
            kl_to_prior,
            likelihood_error,
            kl_error,
            elbo_error,
            kl=self._kl,
            num_particles=self.num_particles,
            provenance=opened.provenance,
            _kl_per_dimension=per_dimension if isinstance(per_dimension, str) else torch.cat(per_dimension),
            by_group=_joined(self._group_rows, 0),
            by_group_error=_joined(self._group_rows, 1),
            kl_by_site=_joined(self._site_rows, 0),
            kl_by_site_error=_joined(self._site_rows, 1),
        )
        return opened.whole(found)


def check_kl(kl: str) -> None:
    """Refuse an unknown choice of how the KL is computed."""
    if kl not in ("auto", "analytic", "sampled"):
        raise SettingsError(f"kl must be 'auto', 'analytic' or 'sampled', got {kl!r}.")


def total_kl(by_site: Mapping[str, Tensor]) -> Tensor:
    """The KL of a pair, shape (N,), from that of each of its latent sites."""
    first, *others = by_site.values()
    return torch.stack([first, *others]).sum(0) if others else first


def resolve_kl(bound: BoundBatch, kl: str) -> tuple[str, dict[str, Tensor] | None]:
    """Resolve "auto" and give the closed-form KL of each latent site of a batch, or None where it is to be sampled.

    Raises:
        SettingsError: an unknown choice.
        NotDefinedError: "analytic" without a closed form.
    """
    check_kl(kl)
    if kl == "sampled":
        return kl, None
    try:
        return "analytic", bound.kl_by_site()
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


_Parts = dict[str, tuple[Tensor, Tensor]]
"""Name of a group or site → values and errors of a batch, each (N,)."""


def _of_draws(parts: Mapping[str, _Moments]) -> _Parts:
    return {name: (moments.value(), moments.error()) for name, moments in parts.items()}


def _of_closed_form(kl_by_site: Mapping[str, Tensor]) -> _Parts:
    """Without an error; nothing of one site alone, which is the whole."""
    if len(kl_by_site) == 1:
        return {}
    return {name: (kl.double(), torch.zeros_like(kl.double())) for name, kl in kl_by_site.items()}


def _joined(batches: Sequence[_Parts], which: int) -> dict[str, Tensor]:
    """Values, or errors, of each part for all observations that came."""
    return {name: torch.cat([batch[name][which] for batch in batches]) for name in batches[0]}


def _append_per_dimension(so_far: list[Tensor] | str, bound: BoundBatch) -> list[Tensor] | str:
    if isinstance(so_far, str):
        return so_far
    try:
        return [*so_far, bound.kl_per_dimension().double()]
    except NotDefinedError as error:
        return str(error)
