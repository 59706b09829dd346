"""Terms in pieces of bounded size: batches of observations, and chunks of particles within each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.distributions import constraints

from bayes_vae.errors import NumericalError, SettingsError, ShapeError
from bayes_vae.terms.containers import Draw, JointTerms, Provenance
from bayes_vae.terms.exposed import ExposedPair, exposes_distributions
from bayes_vae.terms.probe import read_traced_pair
from bayes_vae.terms.program import Observations, Program, take_rows
from bayes_vae.terms.randomness import KeyedNoise, derived_seed, isolated_rng

__all__ = ["Batch", "BoundBatch", "Pair", "Progress", "Source", "read_pair", "refuse_impossible", "stream"]

ROWS_AT_ONCE = 8192
"""Particles times observations in one pass through the networks."""

WEIGHTS_AT_ONCE = 2**23
"""Particles times observations of one batch, whose weights some estimators hold together (64 MiB)."""

BLOCK = 64
"""Observations, and particles, in one block of a guide whose noise is not keyed by observation."""

Source = Literal["auto", "distributions", "traces"]
Progress = Callable[[int, int], None]
"""Called with the observations done and their number."""


class BoundBatch(Protocol):
    """A batch of observations bound to a pair."""

    support_checked: bool
    """Whether the observations were found to lie in the support of the likelihood; else the first draw looks."""

    def draw(self, particles: range, noise: KeyedNoise | None) -> Draw:
        """Draw latents and evaluate the terms."""

    def log_likelihood(self, particles: range, noise: KeyedNoise | None) -> Tensor:
        """Draw the same latents and evaluate log p(x given z) alone, shape (K, N)."""

    def evaluate(self, latents: dict[str, Tensor]) -> Draw:
        """The three log densities at given latents, each of shape (K, N, *rest)."""

    def log_joint(self, latents: dict[str, Tensor]) -> JointTerms:
        """The model's log densities at given latents."""

    def supports(self) -> dict[str, constraints.Constraint]:
        """Where each latent lives."""

    def kl(self) -> Tensor:
        """Closed-form KL, shape (N,)."""

    def kl_per_dimension(self) -> Tensor:
        """Closed-form KL by dimension, shape (N, D)."""


class Pair(Protocol):
    """A model/guide pair whose terms can be read: the one interface of both implementations."""

    @property
    def source(self) -> str:
        """Either "distributions" or "traces"."""

    @property
    def particles(self) -> str:
        """How particles are laid out."""

    @property
    def randomness(self) -> str:
        """Either "per observation" or "data blocks"."""

    @property
    def keyed(self) -> bool:
        """Whether noise is keyed by observation."""

    @property
    def splittable(self) -> bool:
        """Whether the observations may be split into batches."""

    @property
    def scaled(self) -> tuple[tuple[str, str], ...]:
        """(site, factor) of every scaled site."""

    @property
    def discrete(self) -> tuple[str, ...]:
        """Latents with discrete values."""

    @property
    def not_reparameterized(self) -> tuple[str, ...]:
        """Latents whose draws carry no gradient."""

    def bind(self, x: Observations, index: Tensor) -> BoundBatch:
        """A batch of observations."""


def read_pair(model: Program, guide: Program, x: Observations, index: Tensor, source: Source = "auto") -> Pair:
    """Choose how the terms of a pair are read.

    Args:
        model, guide: the programs.
        x, index: observations to probe with.
        source: "auto" takes the distributions where both programs expose them, else traces.
    """
    exposed = exposes_distributions(model, guide)
    if source not in ("auto", "distributions", "traces") or (source == "distributions" and not exposed):
        raise SettingsError(
            f"source={source!r} does not work here: 'distributions' needs a model with prior() and likelihood(z) "
            "and a guide with variational_posterior(x); use 'auto' or 'traces'."
        )
    if exposed and source != "traces":
        return ExposedPair(model, guide, x, index)
    return read_traced_pair(model, guide, x, index)


@dataclass(frozen=True, eq=False)
class Batch:
    """Some rows of the data, bound to the pair, and the way to draw particles for them."""

    rows: slice
    bound: BoundBatch
    index: Tensor
    chunks: tuple[range, ...]
    seed: int
    keyed: bool
    number: int

    def draws(self) -> Iterator[Draw]:
        """The particles, chunk by chunk, each checked for NaN and infinity."""
        noise = KeyedNoise(self.seed) if self.keyed else None
        for block, particles in enumerate(self.chunks):
            if noise is None:
                with isolated_rng(derived_seed(self.seed, self.number, block), self.index.device):
                    draw = self.bound.draw(particles, None)
            else:
                draw = self.bound.draw(particles, noise)
            refuse_impossible(draw, self.index)
            yield draw


def stream(
    pair: Pair,
    x: Observations,
    index: Tensor,
    num_particles: int,
    seed: int,
    batch_size: int | None = None,
    chunk_size: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Batch]:
    """Cut the work into batches and chunks; the cut changes no result beyond rounding.

    Args:
        pair: from :func:`read_pair`.
        x, index: all observations.
        num_particles: K.
        seed: of every draw.
        batch_size, chunk_size: observations and particles at once; chosen to bound memory when None. A pair whose
            noise is not keyed by observation runs in fixed blocks whatever they say.
        progress: called after each batch.
    """
    size, chunk = _sizes(pair, len(index), num_particles, batch_size, chunk_size)
    chunks = tuple(range(start, min(start + chunk, num_particles)) for start in range(0, num_particles, chunk))
    for number, start in enumerate(range(0, len(index), size)):
        rows = slice(start, min(start + size, len(index)))
        bound = pair.bind(take_rows(x, rows), index[rows])
        yield Batch(rows, bound, index[rows], chunks, seed, pair.keyed, number)
        if progress is not None:
            progress(rows.stop, len(index))


def _sizes(
    pair: Pair, num_observations: int, num_particles: int, batch_size: int | None, chunk_size: int | None
) -> tuple[int, int]:
    for name, value in (
        ("num_particles", num_particles),
        ("batch_size", batch_size),
        ("chunk_size", chunk_size),
    ):
        if value is not None and not (hasattr(value, "__index__") and value >= 1):
            raise SettingsError(f"{name} must be a whole number of at least 1, got {value!r}.")
    if not pair.keyed:
        if pair.splittable:
            return BLOCK, BLOCK
        return num_observations, min(BLOCK, max(1, ROWS_AT_ONCE // num_observations))
    if not pair.splittable:
        batch_size = num_observations
    size = batch_size or max(1, min(1024, max(32, ROWS_AT_ONCE // num_particles), WEIGHTS_AT_ONCE // num_particles))
    return size, chunk_size or max(1, ROWS_AT_ONCE // min(size, num_observations))


def provenance(pair: Pair, seed: int, data_policy: str) -> Provenance:
    """What stands beside every figure of this pair."""
    return Provenance(int(seed), pair.source, pair.particles, pair.randomness, data_policy)


def as_index(index: Tensor | None, num_observations: int, device: torch.device) -> Tensor:
    """The observations' indices, 0…N−1 unless given.

    Raises:
        ShapeError: not one index for each observation.
    """
    if index is None:
        return torch.arange(num_observations, device=device)
    index = torch.as_tensor(index, device=device)
    if index.shape != (num_observations,) or index.is_floating_point() or index.dtype == torch.bool:
        raise ShapeError(
            f"index must hold one integer for each of the {num_observations} observations, got shape "
            f"{tuple(index.shape)} of {index.dtype}."
        )
    if len(index.unique()) < len(index):
        raise ShapeError(
            "index must name each observation once: two with the same index would share their noise, and the error of "
            "their mean would be understated. Pass different numbers, or leave index out."
        )
    return index


def refuse_impossible(draw: Draw, index: Tensor) -> None:
    """Raise NumericalError for NaN or infinity in a term; a prior or likelihood of zero is allowed."""
    for name, term in zip(("log_prior", "log_likelihood", "log_guide"), draw[:3], strict=True):
        bad = ~torch.isfinite(term)
        if not bad.any():
            continue
        if name != "log_guide":
            bad = term.isnan() | (term == torch.inf)
        if bad.any():
            where = index[bad.any(0)].tolist()
            value = term[bad][0].item()
            raise NumericalError(
                f"{name} is {value} for {len(where)} observation(s), the first with index {where[0]}. Look there "
                "for NaN in the data, a scale that reached zero or infinity, or weights that diverged."
            )
