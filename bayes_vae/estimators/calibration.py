"""Is the guide calibrated? Ranks of the true z among the guide's draws, on data simulated from the model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from bayes_vae.distributions import missing_in
from bayes_vae.errors import NotDefinedError, SettingsError
from bayes_vae.estimators.rank_tests import TESTS, bin_counts, choose_num_bins, holm, rank_p_values, read_shape
from bayes_vae.estimators.simulation import Simulated, simulate, simulate_like
from bayes_vae.terms.averages import Average, average
from bayes_vae.terms.containers import Provenance
from bayes_vae.terms.opened import Batch, Options, open_pair
from bayes_vae.terms.probe import warning_of_scales_once
from bayes_vae.terms.program import Observations, Program
from bayes_vae.terms.randomness import derived_seed
from bayes_vae.terms.rows import X, as_rows
from bayes_vae.terms.stream import Progress, Source
from bayes_vae.terms.traits import traits_of
from bayes_vae.terms.whole_numbers import real_number, several, whole_number, whole_number_or_none
from bayes_vae.vocabulary.readings import RankShape
from bayes_vae.vocabulary.symbols import dimension_symbol

__all__ = ["GuideCalibration", "calibrate_guide"]

NUM_OBSERVATIONS = 1000
"""Observations that are simulated, unless the caller says how many."""

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Nominal coverage of the central intervals that are looked at."""

SHOWN = 8
"""Dimensions in the printed table: the worst."""

SMALLEST_P = 1e-12
"""Below this a p value is not spelled out."""


@dataclass(frozen=True, eq=False)
class GuideCalibration:
    r"""Ranks of the true z among the guide's draws, and what they say.

    .. math:: z_n \sim p(z), \quad x_n \sim p(x \mid z_n), \quad z_{n1}, \dots, z_{nL} \sim q(z \mid x_n), \quad
        r_{nd} = \#\{l : z_{nld} < z_{nd}\}

    Where q is the exact posterior, each rank is uniform on 0…L.

    Attributes:
        ranks: whole numbers 0…L, shape (N, D); D runs over all numbers of all latent sites.
        names: symbols of the D dimensions, counted from 0: "z_0", whatever a single latent site is called.
        num_draws: L, draws of the guide for each observation.
        num_bins: B, bins of (L + 1) / B ranks in the chi-square test.
        levels: nominal coverage of the central intervals, J of them, each a whole number of ranks.
        false_alarm: a calibrated guide is flagged with at most this probability, over all tests of all dimensions.
        provenance: seed and source; the data policy is "simulated".
    """

    ranks: Tensor
    names: tuple[str, ...]
    num_draws: int
    num_bins: int
    levels: tuple[float, ...]
    false_alarm: float
    provenance: Provenance

    @property
    def num_observations(self) -> int:
        """N."""
        return len(self.ranks)

    @property
    def scaled_ranks(self) -> Tensor:
        """(r + 1/2) / (L + 1), shape (N, D), between 0 and 1."""
        return (self.ranks.double() + 0.5) / (self.num_draws + 1)

    @property
    def counts(self) -> Tensor:
        """Observations in each bin of ranks, shape (D, B); N / B expected."""
        return bin_counts(self.ranks, self.num_draws, self.num_bins)

    @property
    def p_values(self) -> Tensor:
        """Of the tests of uniformity, shift and spread, shape (3, D), as ``rank_p_values`` says."""
        return rank_p_values(self.ranks, self.num_draws, self.num_bins)

    @property
    def adjusted_p_values(self) -> Tensor:
        """The same after Holm's correction for all 3 D of them, shape (3, D)."""
        return holm(self.p_values)

    @property
    def readings(self) -> list[RankShape]:
        """What each dimension's ranks say of q: too narrow, too wide, too low, …; false where they look uniform."""
        rejected = self.adjusted_p_values <= self.false_alarm
        return [read_shape(self.scaled_ranks[:, d], rejected[:, d]) for d in range(len(self.names))]

    @property
    def calibrated(self) -> bool:
        """Whether no departure is seen in any dimension."""
        return not any(self.readings)

    @property
    def worst_first(self) -> list[int]:
        """The dimensions by their smallest p value, then by how far their coverage is from the nominal one."""
        nominal = self.ranks.new_tensor(self.levels, dtype=torch.float64)
        off = (self.coverage - nominal.unsqueeze(-1)).abs().amax(0)
        keys = zip(self.p_values.amin(0).tolist(), (-off).tolist(), strict=True)
        return [d for _, d in sorted((key, d) for d, key in enumerate(keys))]

    @property
    def inside(self) -> Tensor:
        """Whether the true z lies in q's central interval, by level, shape (J, N, D), bool."""
        low = [self._tail(level) for level in self.levels]
        tails = self.ranks.new_tensor(low).reshape(-1, 1, 1)
        return (self.ranks >= tails) & (self.ranks <= self.num_draws - tails)

    def _tail(self, level: float) -> int:
        """Ranks left out at each end."""
        return round((1 - level) / 2 * (self.num_draws + 1))

    @property
    def coverage(self) -> Tensor:
        """Share of the true z in q's central intervals, shape (J, D); a calibrated guide's equals ``levels``."""
        return self.inside.double().mean(1)

    @property
    def coverage_error(self) -> Tensor:
        """Binomial standard error, shape (J, D); half a hit and half a miss are added, so it is never zero."""
        share = (self.inside.double().sum(1) + 0.5) / (self.num_observations + 1)
        return (share * (1 - share) / self.num_observations).sqrt()

    @property
    def pooled_coverage(self) -> Tensor:
        """Mean coverage over the dimensions, shape (J,)."""
        return self.coverage.mean(1)

    @property
    def pooled_coverage_error(self) -> Tensor:
        """Standard error, shape (J,): the scatter over observations, whose dimensions may depend on each other."""
        if len(self.names) == 1:
            return self.coverage_error.squeeze(1)
        share = self.inside.double().mean(2)
        least = 0.5 / self.num_observations  # where every observation has the same share
        return (share.std(1) / math.sqrt(self.num_observations)).clamp(min=least)

    def averages(self) -> dict[str, Average]:
        """Mean scaled rank and pooled coverage: shares, not nats; their scatter over the data is their error."""
        figures = {"scaled_rank": self.scaled_ranks.mean(1)}
        for level, inside in zip(self.levels, self.inside.double(), strict=True):
            figures[f"coverage_{100 * level:g}"] = inside.mean(1)
        unknown = torch.full_like(figures["scaled_rank"], torch.nan)
        return {name: average(name, values, unknown, self.num_draws) for name, values in figures.items()}

    def sentence(self) -> str:
        """What the ranks say, with the numbers that say it."""
        worst, count = self.worst_first[0], len(self.names)
        p = float(self.adjusted_p_values[:, worst].min())
        place = f"{self.names[worst]}, corrected p {f'= {p:.2g}' if p > SMALLEST_P else f'below {SMALLEST_P:g}'}"
        level = self._headline
        nominal, share, error = self.levels[level], self.pooled_coverage[level], self.pooled_coverage_error[level]
        holds = (
            f"its central {nominal:.0%} intervals hold the true z {100 * share:.1f} ± {100 * error:.1f}% of the time"
        )
        said = Counter(reading for reading in self.readings if reading)
        if not said:
            where = "" if count == 1 else f" in each of its {count} dimensions"
            return f"q looks calibrated{where} (smallest: {place}): {holds}."
        if count == 1:
            return f"q is {self.readings[0]} ({place}): {holds}."
        each = "; ".join(f"{reading} in {number} of {count}" for reading, number in said.most_common())
        return f"q is {each} dimensions (worst: {place}): {holds}."

    @property
    def _headline(self) -> int:
        """The level that a sentence names: the one nearest to 0.9."""
        return min(range(len(self.levels)), key=lambda j: abs(self.levels[j] - 0.9))

    def __repr__(self) -> str:
        """What is printed."""
        return str(self)

    def __str__(self) -> str:
        width = max(map(len, self.names))
        heads = "".join(f"{f'{100 * level:g}%':>14}" for level in self.levels)
        lines = [f"{'':{width}}{''.join(f'{name:>12}' for name in TESTS)}{heads}"]
        for d in self.worst_first[:SHOWN]:
            tests = "".join(f"{float(p):>12.2g}" for p in self.p_values[:, d])
            lines.append(f"{self.names[d]:{width}}{tests}{self._shares(self.coverage, self.coverage_error, d)}")
            lines[-1] += f"  {self.readings[d]}"
        if len(self.names) > SHOWN:
            lines.append(f"({len(self.names) - SHOWN} dimensions with larger p values are left out)")
        pooled = self._shares(self.pooled_coverage.unsqueeze(1), self.pooled_coverage_error.unsqueeze(1), 0)
        lines.append(f"{'all':{width}}{'':{12 * len(TESTS)}}{pooled}")
        lines.append(
            f"p values before correction, then coverage of central intervals; L = {self.num_draws} draws, "
            f"N = {self.num_observations}, {self.num_bins} bins, seed {self.provenance.seed}, data policy: "
            f"{self.provenance.data_policy}"
        )
        return "\n".join([*lines, self.sentence()])

    def _shares(self, shares: Tensor, errors: Tensor, d: int) -> str:
        pairs = zip(shares[:, d].tolist(), errors[:, d].tolist(), strict=True)
        return "".join(f"{f'{100 * share:.1f} ± {100 * error:.1f}':>14}" for share, error in pairs)


@warning_of_scales_once()
def calibrate_guide(
    model: Any,
    guide: Program,
    *,
    like: X | None = None,
    num_observations: int | None = None,
    num_draws: int = 199,
    levels: Sequence[float] = LEVELS,
    false_alarm: float = 0.01,
    seed: int = 0,
    source: Source = "auto",
    progress: Progress | bool | None = None,
) -> GuideCalibration:
    r"""Simulation-based calibration of q(z given x), on data simulated from the model.

    .. math:: z \sim p(z), \ x \sim p(x \mid z), \ z_1, \dots, z_L \sim p(z \mid x) \quad \Rightarrow \quad
        \#\{l : z_l < z\} \sim \mathrm{Uniform}\{0, \dots, L\}

    The true z and draws of the exact posterior are exchangeable. So ranks that are not uniform show that q is not the
    exact posterior, and their shape how: a U too narrow, a hump too wide, a slope shifted. Uniform ranks show no more
    than that q is right on average over x: the prior in q's place passes too. Read it beside ``inference_gap``.

    Ties, which discrete latents have, are broken by chance, so ranks stay uniform. So are the numbers that model and
    guide mask: an observation that does not have a dimension says nothing of it, and where many do not, a departure is
    seen later and the coverage is closer to the nominal one.

    Args:
        model: a model with ``prior()`` and ``likelihood(z)``; or any Pyro program, with ``like``.
        guide: Pyro program of q(z given x), with continuous or discrete latents.
        like: for other programs, their arguments for N observations, or rows of a data set: what the model observes is
            replaced by simulated values, covariates are kept. Of our models too where values are missing (NaN): the
            same are missing in what is simulated, whatever their values would be.
        num_observations: N, how many to simulate: 1,000 when not given, with ``like`` as many as that holds.
        num_draws: L, draws of q for each; L + 1 should have divisors up to 20, as 100 and 200 have.
        levels: nominal coverage of q's central intervals, each taken to the nearest that L + 1 ranks allow.
        false_alarm: probability, over all tests, that a calibrated guide is flagged.
        seed: of every draw; the caller's random state is left as it was.
        source, progress: as in :func:`bayes_vae.log_terms`.

    Returns:
        :class:`GuideCalibration`.

    Raises:
        NotDefinedError: a model that cannot be simulated from, or a guide with parameters for each observation.
        SettingsError: numbers that cannot work.

    Reference: Cook, Gelman, Rubin (2006), "Validation of software for Bayesian models using posterior quantiles";
    Talts, Betancourt, Simpson, Vehtari, Gelman (2018), "Validating Bayesian inference algorithms with
    simulation-based calibration", theorem 1.
    """
    if traits_of(guide).needs_index:
        raise NotDefinedError(
            "calibrate_guide simulates new observations, and this guide has parameters for each observation that it "
            "was fitted to (needs_index): give an amortized guide."
        )
    num_draws = whole_number("num_draws", num_draws)
    false_alarm = real_number("false_alarm", false_alarm, "a probability between 0 and 1", below=1)
    simulated = _simulated(model, like, num_observations, seed)
    count = len(simulated.x[0])
    num_bins = choose_num_bins(num_draws + 1, count)
    nominal = _nominal_levels(levels, num_draws)
    options: Options = {"seed": seed, "source": source, "data_policy": "simulated", "progress": progress}
    with open_pair(model, guide, simulated.x, task="calibration", **options) as opened:
        ties = torch.Generator(opened.index.device).manual_seed(derived_seed(seed, "ties"))
        ranks = [_ranks(batch, simulated.latents, ties) for batch in opened.batches(num_draws, "ranks")]
        origin = opened.provenance
    names = tuple(
        dimension_symbol(place, site if len(simulated.latents) > 1 else "z")
        for site, value in simulated.latents.items()
        for place in product(*map(range, value.shape[1:]))
    )
    return GuideCalibration(torch.cat(ranks), names, num_draws, num_bins, nominal, false_alarm, origin)


def _simulated(model: Any, like: X | None, num_observations: int | None, seed: int) -> Simulated:
    count = whole_number_or_none("num_observations", num_observations)
    if like is not None:
        template = as_rows(like, model).read()
        if count not in (None, len(template[0])):
            raise SettingsError(
                f"like holds {len(template[0])} observations, and num_observations is {count}: as many are "
                "simulated as like holds. Leave num_observations out, or pass as many rows."
            )
        return _with_gaps(model, template, seed)
    otherwise = "For other programs pass like=, their arguments, whose observed values are then replaced."
    return simulate(model, NUM_OBSERVATIONS if count is None else count, seed, "calibrate_guide", otherwise)


def _with_gaps(model: Any, template: Observations, seed: int) -> Simulated:
    """Simulated like the template; where it has missing values (NaN), the same ones are missing."""
    gaps = missing_in(template[0])
    if gaps is None or not (traits_of(model).exposes_distributions and len(template) == 1):
        return simulate_like(model, template, seed)
    whole = simulate(model, len(template[0]), seed, "calibrate_guide", "")
    return whole._replace(x=(whole.x[0].masked_fill(gaps, torch.nan),))


def _nominal_levels(levels: Sequence[float], num_draws: int) -> tuple[float, ...]:
    """Each level as a whole number of ranks: 1 − 2 t / (L + 1), t ranks left out at each end."""
    found = []
    for level in several("levels", levels, "several numbers between 0 and 1, such as (0.5, 0.9)"):
        level = real_number("each of the levels", level, "a number between 0 and 1", below=math.inf)
        tail = round((1 - level) / 2 * (num_draws + 1)) if 0 < level < 1 else 0
        if not 1 <= tail < (num_draws + 1) / 2:
            raise SettingsError(
                f"levels must lie between 0 and 1 and leave out at least one of {num_draws + 1} ranks at each end, "
                f"got {level}: take more draws, or another level."
            )
        found.append(1 - 2 * tail / (num_draws + 1))
    return tuple(found)


def _ranks(batch: Batch, latents: dict[str, Tensor], ties: torch.Generator) -> Tensor:
    """Draws below the true z, and a random share of those equal to it, shape (N, D)."""
    below: dict[str, Tensor] = {}
    equal: dict[str, Tensor] = {}
    for draw in batch.draws():
        masked = batch.bound.masked
        for name, value in latents.items():
            z, drawn = value[batch.rows], draw.latents[name]
            if name in masked:  # held at one value, the true z and all draws: a tie
                drawn = torch.where(masked[name], z, drawn)
            below[name] = below.get(name, 0) + (drawn < z).sum(0)
            equal[name] = equal.get(name, 0) + (drawn == z).sum(0)
    columns = []
    for name in latents:
        count = equal[name]
        chance = torch.rand(count.shape, generator=ties, device=count.device, dtype=torch.float64)
        rank = below[name] + (chance * (count + 1)).floor().long()
        columns.append(rank.reshape(len(rank), -1))
    return torch.cat(columns, dim=1)
