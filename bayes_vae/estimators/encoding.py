"""Codes of observations: mean and deviation of q(z given x) of each latent site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Unpack

import torch
from torch import Tensor

from bayes_vae.terms.containers import Draw, Provenance
from bayes_vae.terms.listed_options import lists_options
from bayes_vae.terms.opened import Batch, OpenPair, Options, collect, open_pair
from bayes_vae.terms.program import Program
from bayes_vae.terms.rows import X
from bayes_vae.terms.whole_numbers import whole_number

__all__ = ["Codes", "encode"]


@dataclass(frozen=True, eq=False)
class Codes:
    """What q says of each observation's latents.

    Attributes:
        means: site → mean of q(z given x), shape (N, *event).
        deviations: site → standard deviation, shape (N, *event).
        index: the observations' indices, shape (N,).
        labels: shape (N,), or None.
        estimator: "closed form", or how many draws from q the moments are of.
        provenance: seed, source and policy.
    """

    means: Mapping[str, Tensor]
    deviations: Mapping[str, Tensor]
    index: Tensor
    labels: Tensor | None
    estimator: str
    provenance: Provenance

    def arrays(self) -> dict[str, Any]:
        """Name → numpy array: ``index``, ``label`` if there are some, ``z_mean`` and ``z_deviation`` of each site."""
        found = {"index": self.index}
        found |= {} if self.labels is None else {"label": self.labels}
        for site, mean in self.means.items():
            found |= {f"{site}_mean": mean, f"{site}_deviation": self.deviations[site]}
        return {name: value.cpu().numpy() for name, value in found.items()}

    def __repr__(self) -> str:
        sites = ", ".join(f"{site} {tuple(mean.shape[1:])}" for site, mean in self.means.items())
        return f"Codes of {len(self.index):,} observations: {sites}; moments of q(z|x), {self.estimator}"


@lists_options
def encode(model: Program, guide: Program, x: X, num_particles: int = 100, **options: Unpack[Options]) -> Codes:
    r"""Mean and standard deviation of q(z given x), of every latent, for each observation.

    In closed form where the guide says its distribution and that knows its moments (a normal does); else the moments
    of K draws, whose error is the deviation over √K.

    Args:
        x: as in :func:`bayes_vae.log_terms`; batches are read one after another.
        num_particles: K, where draws are needed; 2 or more.
        Others: as in :func:`bayes_vae.log_terms`.

    Returns:
        :class:`bayes_vae.Codes`.

    Raises:
        ProgramError, SupportError, NumericalError: as :func:`bayes_vae.log_terms`.
    """
    num_particles = whole_number("num_particles", num_particles, 2)
    with open_pair(model, guide, x, **options) as opened:
        opened.check_support()
        exposed = opened.with_distributions()
        closed = _closed_form(exposed)
        if closed is not None:
            return _codes(opened, *closed, "closed form")
        moments = MomentsAtDraws()
        collect(opened, num_particles, moments)
        return _codes(opened, moments.means(), moments.deviations(), f"{num_particles:,} draws from q")


def _codes(opened: OpenPair, means: Mapping[str, Tensor], deviations: Mapping[str, Tensor], estimator: str) -> Codes:
    return Codes(means, deviations, opened.index, opened.rows.labels, estimator, opened.provenance)


def _closed_form(opened: OpenPair) -> tuple[dict[str, Tensor], dict[str, Tensor]] | None:
    """Means and deviations of q at every batch; None where they are not known."""
    means, deviations = [], []
    for batch in opened.batches(1, "moments of q"):
        q = getattr(batch.bound, "variational_posterior", None)
        try:
            if q is None:
                return None
            means.append(q.mean.cpu())
            deviations.append(q.stddev.cpu())
        except NotImplementedError:
            return None
    return {"z": torch.cat(means)}, {"z": torch.cat(deviations)}


class MomentsAtDraws:
    """Mean and deviation of every latent over the draws; an :class:`~bayes_vae.terms.opened.Accumulator`."""

    def __init__(self) -> None:
        self._rows: list[dict[str, tuple[Tensor, Tensor]]] = []

    def begin(self, batch: Batch) -> None:
        """A batch starts."""
        self._count, self._first = 0, dict[str, Tensor]()
        self._sums: dict[str, tuple[Tensor, Tensor]] = {}

    def update(self, draw: Draw) -> None:
        """Some particles of it; sums are of what lies beyond the first draw, so that no digits are lost."""
        for site, values in draw.latents.items():
            values = values.double()
            first = self._first.setdefault(site, values[0])
            beyond = values - first
            total, squares = self._sums.get(site, (torch.zeros_like(first), torch.zeros_like(first)))
            self._sums[site] = total + beyond.sum(0), squares + beyond.square().sum(0)
        self._count += len(draw.log_prior)

    def end(self) -> None:
        """All its particles have come."""
        row = {}
        for site, (total, squares) in self._sums.items():
            shift = total / self._count
            variance = (squares - self._count * shift.square()).clamp(min=0) / (self._count - 1)
            row[site] = (self._first[site] + shift).cpu(), variance.sqrt().cpu()
        self._rows.append(row)

    def means(self) -> dict[str, Tensor]:
        """Site → shape (N, *event)."""
        return {site: torch.cat([row[site][0] for row in self._rows]) for site in self._rows[0]}

    def deviations(self) -> dict[str, Tensor]:
        """Site → shape (N, *event)."""
        return {site: torch.cat([row[site][1] for row in self._rows]) for site in self._rows[0]}
