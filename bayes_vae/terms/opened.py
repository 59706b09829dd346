"""A pair, opened once: its programs read, its observations at hand, and every draw made in one place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypedDict, TypeVar

import torch
from torch import Tensor, nn

from bayes_vae.errors import NotDefinedError, NumericalError, ProcessesError, ProgramError, SettingsError
from bayes_vae.progress import shown
from bayes_vae.terms.containers import Draw, Provenance
from bayes_vae.terms.factorized import as_factorized
from bayes_vae.terms.gathering import Share
from bayes_vae.terms.isolation import isolated_context
from bayes_vae.terms.memory import check_memory
from bayes_vae.terms.prior_as_guide import prior_as_guide
from bayes_vae.terms.probe import warning_of_scales_once
from bayes_vae.terms.program import Observations, take_rows, undisturbed
from bayes_vae.terms.randomness import KeyedNoise, derived_seed, isolated_rng
from bayes_vae.terms.rows import Rows, X, as_rows
from bayes_vae.terms.stream import BoundBatch, Pair, Progress, Source, read_pair, refuse_impossible
from bayes_vae.terms.traced import TracedPair
from bayes_vae.terms.traced_distributions import distributions_of_traces
from bayes_vae.terms.traits import Program, Traits, traits_of
from bayes_vae.terms.whole_numbers import seed_number, whole_number, whole_number_or_none
from bayes_vae.terms.world import World

__all__ = ["Accumulator", "Batch", "OpenPair", "Options", "collect", "open_pair", "part_of", "refuse_other_orders"]

Result = TypeVar("Result")

ROWS_AT_ONCE = 8192
"""Particles times observations in one pass through the networks."""

ROWS_IN_CACHE = 2048
"""The same on a CPU, where nothing is traced: what the decoder returns for so many is still in the cache when used."""

WEIGHTS_AT_ONCE = 2**23
"""Particles times observations of one batch, whose weights some estimators hold together (64 MiB)."""

BLOCK = 64
"""Observations, and particles, in one block of a guide whose noise is not keyed by observation."""


class Options(TypedDict, total=False):
    """The keywords that every estimator takes.

    Attributes:
        seed: of every draw, a whole number from −2⁶³ to 2⁶³ − 1; torch's own random state stays as it was. 0 when not
            given.
        index: the observations' indices, shape (N,), which key their noise; 0…N−1 when not given. Rows of a data set
            bring their own.
        source: how the terms are read: "distributions" (off what the pair exposes), "traces" (any pair), or "auto",
            which takes the distributions where both programs expose them.
        batch_size: observations at once; changes no result beyond rounding.
        chunk_size: particles at once; changes no result beyond rounding.
        data_policy: how pixels became observations, stored in the result; "unstated" when not given. Rows of a data set
            bring their own.
        progress: called with (observations done, N), within a batch in proportion; or True: a bar on a terminal, lines
            elsewhere, and an estimate of the time where it is over a minute, on standard error.
    """

    seed: int
    index: Tensor | None
    source: Source
    batch_size: int | None
    chunk_size: int | None
    data_policy: str | None
    progress: Progress | bool | None


@dataclass(frozen=True, eq=False)
class Batch:
    """Some rows of the data, bound to the pair, and the way to draw particles for them."""

    rows: slice
    bound: BoundBatch
    x: Observations
    index: Tensor
    chunks: tuple[range, ...]
    seed: int
    keyed: bool
    number: int
    bind: Callable[[Observations, Tensor], BoundBatch] | None = None

    def part(self, wanted: Tensor) -> tuple[Batch, Tensor]:
        """The observations that are wanted, shape (N,), bool, for what takes none of their draws, and their places.

        All of them where any is wanted and the pair allows no part.
        """
        if self.bind is None or bool(wanted.all()):
            everything = torch.ones_like(wanted) & wanted.any()
            return self, everything.nonzero().squeeze(-1)
        places = wanted.nonzero().squeeze(-1)
        if not len(places):
            return self, places
        x, index = take_rows(self.x, places), self.index[places]
        return replace(self, bound=self.bind(x, index), x=x, index=index), places

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


@dataclass(frozen=True, eq=False)
class OpenPair:
    """A pair that was read once, with the observations, the seed and the cut of one call or one command.

    Every estimator has a function that takes one of these, and a public one that opens it; what shows several figures
    opens one pair and hands it on.

    Attributes:
        model, guide: the programs.
        rows: the observations, read batch by batch.
        pair: how the terms are read.
        traits: what the model is able to do.
        source: as asked for.
        seed: of every draw.
        batch_size, chunk_size: observations and particles at once, where the caller chose.
        progress: called with (observations done, N).
        share: which of ``all_rows`` these are, where several processes share them; None where these are all.
        all_rows: the observations of all processes.
    """

    model: Program
    guide: Program
    rows: Rows
    pair: Pair
    traits: Traits
    source: Source
    seed: int
    batch_size: int | None
    chunk_size: int | None
    progress: Progress | None
    share: Share | None = None
    all_rows: Rows | None = None
    _prior: list[tuple[Program, Pair]] = field(default_factory=list, repr=False)

    @property
    def num_observations(self) -> int:
        """N."""
        return len(self.rows.index)

    @property
    def index(self) -> Tensor:
        """The observations' indices, shape (N,)."""
        return self.rows.index

    @property
    def provenance(self) -> Provenance:
        """What stands beside every figure of this pair."""
        rows, pair = self.all_rows or self.rows, self.pair
        return Provenance(
            self.seed,
            pair.source,
            pair.particles,
            pair.randomness,
            rows.data_policy,
            rows.pixel_seed,
            getattr(rows, "missing_share", 0.0),  # rows of other makers need not tell
        )

    def batches(
        self, num_particles: int, *purpose: int | str, rows: Tensor | None = None, batch_size: int | None = None
    ) -> Iterator[Batch]:
        """Cut the work into batches and chunks; the cut changes no result beyond rounding.

        Args:
            num_particles: K.
            purpose: what the draws are for; each purpose has a seed of its own, no purpose the pair's.
            rows: places of the observations that are wanted; all when None.
            batch_size: observations at once, where the caller chose none.
        """
        num_particles = whole_number("num_particles", num_particles)
        chosen = self.rows if rows is None else self.rows.take(rows)
        count, seed = len(chosen.index), derived_seed(self.seed, *purpose) if purpose else self.seed
        small = self.pair.source == "distributions" and chosen.index.device.type == "cpu"
        at_once = ROWS_IN_CACHE if small else ROWS_AT_ONCE
        size, chunk = _sizes(self.pair, count, num_particles, self.batch_size or batch_size, self.chunk_size, at_once)
        held = num_particles * min(size, count) + 8 * (num_particles // chunk)
        check_memory(held, f"num_particles={num_particles:,}", self.index.device)
        chunks = tuple(range(start, min(start + chunk, num_particles)) for start in range(0, num_particles, chunk))
        for number, start in enumerate(range(0, count, size)):
            place = slice(start, min(start + size, count))
            part = chosen.take(place)
            x = part.read()
            bound = self.pair.bind(x, part.index)
            again = self.pair.bind if self.pair.splittable else None
            yield Batch(place, bound, x, part.index, chunks, seed, self.pair.keyed, number, again)
            if self.progress is not None:
                self.progress(place.stop, count)

    def check_memory(self, numbers: int, what: str) -> None:
        """Refuse a result that would not fit.

        Args:
            numbers: float64 numbers for each observation.
            what: what asks for them.

        Raises:
            SettingsError: says how much would be needed, and how much is there.
        """
        check_memory(numbers * self.num_observations, what, self.index.device)

    def check_support(self) -> None:
        """Look whether the likelihood has a density for every observation, for what never draws its terms.

        Raises:
            SupportError: as the first draw of every other estimator.
        """
        for batch in self.quiet().batches(1, "support"):
            for _ in batch.draws():
                pass

    def take(self, rows: slice | Tensor) -> OpenPair:
        """Some of the observations, of the same pair."""
        return replace(self, rows=self.rows.take(rows))

    def divided(self, world: World) -> OpenPair:
        """The own observations of this process, where several share them; results of all come from :meth:`whole`.

        Each is in one process, and its noise is keyed by it, so figures do not depend on how many processes there are.

        Raises:
            ProcessesError: noise is not keyed by observation, or a program takes all of them at once; or there are
                fewer observations than processes.
        """
        if world.alone:
            return self
        if not (self.pair.keyed and self.pair.splittable):
            why = "takes all observations at once" if self.pair.keyed else "has noise that is not keyed by observation"
            raise ProcessesError(f"this pair {why}: its observations cannot be shared. Evaluate it in one process.")
        if world.size > self.num_observations:
            raise ProcessesError(
                f"{world.size} processes share {self.num_observations} observations, so that some would have none: "
                f"start at most {self.num_observations}."
            )
        share = Share.of(world, self.num_observations)
        return replace(self.take(share.own), share=share, all_rows=self.rows)

    def whole(self, result: Result, by_particle: Collection[str] = ()) -> Result:
        """The result of all observations, from those of each process; see :meth:`Share.gathered`."""
        return result if self.share is None else self.share.gathered(result, by_particle)

    def said(self, text: str) -> list[str]:
        """What each process has to say, by rank."""
        return [text] if self.share is None else self.share.world.texts(text)

    def with_prior_as_guide(self) -> OpenPair:
        """The same observations under the prior in the guide's place."""
        if not self._prior:
            prior = prior_as_guide(self.model, self.source)
            self._prior.append((prior, read_pair(self.model, prior, self.rows, self.source)))
        prior, pair = self._prior[0]
        return replace(self, guide=prior, pair=pair)

    def with_distributions(self) -> OpenPair:
        """The same, its distributions read off its traces where it exposes none, and they can be."""
        if isinstance(self.pair, TracedPair) and self.source == "auto":
            with suppress(NotDefinedError):
                return replace(self, pair=distributions_of_traces(self.pair, self.rows))
        return self

    def with_normals(self) -> OpenPair:
        """The same, or else its latents read off its traces as one normal vector, given x and what stands beside it."""
        return replace(self, pair=as_factorized(self.pair, self.rows)) if self.source == "auto" else self

    def quiet(self) -> OpenPair:
        """The same, whose progress nobody is told of."""
        return replace(self, progress=None)

    def phase(self, which: int, of: int) -> OpenPair:
        """The same, whose progress is told as that of one of several rounds over all observations."""
        count = self.num_observations
        return replace(self, progress=part_of(self.progress, which * count, of * count))

    def purpose(self, *words: int | str) -> OpenPair:
        """The same with a seed of its own for a purpose."""
        return replace(self, seed=derived_seed(self.seed, *words))

    def log_evidence(self) -> Tensor | None:
        """The exact log p(x) of every observation, shape (N,), float64; None where the model does not know it.

        NaN is no answer: a model that knows it of whole observations may not know it of those with missing values.
        """
        known = self.traits.log_evidence
        if known is None:
            return None
        starts = range(0, self.num_observations, ROWS_AT_ONCE)
        parts = (self.rows.take(slice(start, start + ROWS_AT_ONCE)).read() for start in starts)
        found = self.whole(torch.cat([known(*x).double() for x in parts]))
        return None if bool(found.isnan().any()) else found


def _sizes(
    pair: Pair, count: int, num_particles: int, batch_size: int | None, chunk_size: int | None, at_once: int
) -> tuple[int, int]:
    """Observations and particles at once; a guide whose noise is not keyed runs in fixed blocks whatever is asked."""
    if not pair.keyed:
        if pair.splittable:
            return BLOCK, BLOCK
        return count, min(BLOCK, max(1, ROWS_AT_ONCE // count))
    size = batch_size if pair.splittable else count
    size = size or max(1, min(1024, max(32, ROWS_AT_ONCE // num_particles), WEIGHTS_AT_ONCE // num_particles))
    return size, chunk_size or max(1, at_once // min(size, count))


def part_of(progress: Progress | None, done: int, total: int) -> Progress | None:
    """Progress over a part of the work, told as progress over all of it."""
    return None if progress is None else lambda here, _: progress(done + here, total)


@contextmanager
def open_pair(
    model: Program,
    guide: Program,
    x: X,
    *,
    seed: int = 0,
    index: Tensor | None = None,
    source: Source = "auto",
    batch_size: int | None = None,
    chunk_size: int | None = None,
    data_policy: str | None = None,
    progress: Progress | bool | None = None,
    pair: Pair | None = None,
    task: str = "estimate",
) -> Iterator[OpenPair]:
    """Open a pair for one call or one command, with :class:`Options`.

    ``pair`` is how its terms are read, once known, and ``task`` what its progress is called. Inside the block the
    programs run in evaluation mode, without gradients and without anything of the caller's context (Pyro's handlers,
    autocast, inference mode, ``torch.func``), and other threads wait; no global of the process is changed when it ends.

    Raises:
        ProgramError: the terms of this pair cannot be read; the message names the site.
        ShapeError: x is not rows of observations.
        SettingsError: sizes that are not whole numbers of at least 1.
        NumericalError: inside the block, a matrix that cannot be factorized.
    """
    refuse_other_orders(model, guide, x)
    seed = seed_number("seed", seed)
    batch_size = whole_number_or_none("batch_size", batch_size)
    chunk_size = whole_number_or_none("chunk_size", chunk_size)
    with shown(progress, task) as told, isolated_context():
        rows = as_rows(x, model, index, data_policy)
        with warning_of_scales_once(), undisturbed(model, guide, device=rows.index.device, seed=seed):
            read = pair or read_pair(model, guide, rows, source)
            try:
                yield OpenPair(model, guide, rows, read, traits_of(model), source, seed, batch_size, chunk_size, told)
            except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
                raise NumericalError(
                    "a normal could not be fitted to the posterior of some observation, because its curvature, or that "
                    f"of q, is too extreme for {_dtype_of(rows)} ({' '.join(str(error).split())[:100]}). Compute in "
                    "float64 (model.double(), guide.double(), x.double()), or look for a scale that is almost 0."
                ) from error


def _dtype_of(rows: Rows) -> str:
    return str(rows.take(slice(0, 1)).read()[0].dtype).removeprefix("torch.")


def refuse_other_orders(model: Any, guide: Any, x: Any) -> None:
    """Say so where the three come in another order, as some functions took them once.

    Raises:
        SettingsError: names the order.
        ProgramError: a model or a guide that is no program.
    """
    if isinstance(model, Tensor | tuple) or isinstance(guide, Tensor | tuple) or isinstance(x, nn.Module):
        raise SettingsError(
            "estimators take (model, guide, x) in this order, got "
            f"({', '.join(type(one).__name__ for one in (model, guide, x))}). To start annealing from the prior, write "
            'annealed_log_evidence(model, guide, x, start="prior").'
        )
    for name, program in (("model", model), ("guide", guide)):
        if not (callable(program) or traits_of(program).exposes_distributions):
            raise ProgramError(
                f"the {name} must be a Pyro program, a function or module called with x, got {type(program).__name__}."
            )


class Accumulator(Protocol):
    """Takes something from each draw of a batch; several of them share one pass over the draws."""

    def begin(self, batch: Batch) -> None:
        """A batch starts."""

    def update(self, draw: Draw) -> None:
        """Some particles of it."""

    def end(self) -> None:
        """All its particles have come."""


def collect(opened: OpenPair, num_particles: int, *accumulators: Accumulator) -> None:
    """Draw K particles for every observation once, and let each accumulator take what it needs."""
    for batch in opened.batches(num_particles):
        for one in accumulators:
            one.begin(batch)
        for draw in batch.draws():
            for one in accumulators:
                one.update(draw)
        for one in accumulators:
            one.end()
