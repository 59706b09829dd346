"""How often annealing's criterion is wrong, on reference pairs with damaged guides.

Two counts. Missed: of the rows that read "lower bound in expectation", those whose error exceeds three claimed errors.
Needless: of the rows within 0.05 nats of log p(x), those that read "lower bound, not converged". Each cell, a pair with
one damage and one number of temperatures, is a line of --rows; a run that was stopped goes on where it was. The last
lines choose the thresholds anew on all pairs but one and count on that one, for each pair in turn.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

import bayes_vae as bv
from bayes_vae.estimators.annealing.estimate import EXCESS, LARGEST_ERROR, MOST_EXCESS, NEGLIGIBLE
from bayes_vae.estimators.annealing.path import COARSEST
from bayes_vae.guides import SingleLatentGuide
from bayes_vae.reference_pairs import NAMES, ReferencePair, reference_pair
from bayes_vae.terms.traits import traits_of

FACTORS = (1e-6, 1e-2, 0.2, 1.0, 4.0, 20.0)
SHIFTS = (3.0, 10.0)
TEMPERATURES = (5, 20, 50, 200)
CLOSE, ERRORS, ROUNDING = 0.05, 3.0, 1e-6

SHIPPED = (LARGEST_ERROR, EXCESS, MOST_EXCESS)
CANDIDATES = tuple(product((0.2, 0.4, 0.6, 0.8, 1.0), (1.5, 2.0, 3.0, 4.0), (0.5, 1.0, 2.0, 4.0)))
"""Thresholds of :attr:`bayes_vae.AnnealedEstimate.chains_agree`: its largest error, and the excess of the check."""

MOST_MISSED = 0.02
"""The share that thresholds are chosen for: of these the ones with the fewest needless flags."""


def damages(factors: tuple[float, ...]) -> Iterator[tuple[float, float]]:
    """(factor on the deviations, shift of the means in deviations) of every damage."""
    yield from ((factor, 0.0) for factor in factors)
    yield from ((1.0, shift) for shift in SHIFTS)


def damaged(q: Any, factor: float, shift: float) -> Any:
    """A normal with the moments of a distribution, moved and rescaled; what is not normal stays as it is."""
    base = q.base_dist if isinstance(q, dist.Independent) else q
    if (factor == 1 and shift == 0) or not isinstance(base, dist.Normal | dist.MultivariateNormal):
        return q
    scale = q.variance.sqrt()
    return dist.Normal(q.mean + shift * scale, factor * scale, validate_args=False).to_event(q.event_dim)


class DamagedGuide(SingleLatentGuide):
    """A guide that exposes its distribution, with its moments moved."""

    def __init__(self, guide: Any, factor: float, shift: float) -> None:
        super().__init__()
        self.guide, self.factor, self.shift = guide, factor, shift

    def variational_posterior(self, x: Tensor) -> Any:
        """q(z given x)."""
        return damaged(self.guide.variational_posterior(x), self.factor, self.shift)


class Damage(pyro.poutine.messenger.Messenger):
    """Moves the normals that a program samples."""

    def __init__(self, factor: float, shift: float) -> None:
        super().__init__()
        self.factor, self.shift = factor, shift

    def _pyro_sample(self, message: dict[str, Any]) -> None:
        if not message["is_observed"]:
            message["fn"] = damaged(message["fn"], self.factor, self.shift)


def damaged_guide(guide: Any, factor: float, shift: float) -> Any:
    """The same guide with every normal's moments moved."""
    if traits_of(guide).exposes_distributions:
        return DamagedGuide(guide, factor, shift)

    def program(*x: Tensor) -> Any:
        with Damage(factor, shift):
            return guide(*x)

    return program


def measured(pair: ReferencePair, factor: float, shift: float, temperatures: int) -> dict[str, Any]:
    """What annealing says of each observation, and how far it is off."""
    guide = damaged_guide(pair.guide, factor, shift)
    found = bv.annealed_log_evidence(pair.model, guide, pair.x, num_temperatures=temperatures)
    columns = {
        "error": found.log_evidence.double() - pair.log_evidence,
        "log_evidence": found.log_evidence,
        "chain_error": found.chain_error,
        "spread": found.spread,
        "check": found.check,
        "check_error": found.check_error,
        "resolution": found.resolution,
        "acceptance": found.acceptance,
        "claimed": found.standard_error,
        "more_modes": found.more_modes.double(),
        "converged": found.converged.double(),
    }
    return {name: values.tolist() for name, values in columns.items()} | {"seconds": found.seconds}


def interval(hits: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    if not count:
        return 0.0, 1.0
    z2, share = 1.96**2, hits / count
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = 1.96 * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return max(0.0, middle - half), middle + half


def counts(cells: list[dict[str, Any]], thresholds: tuple[float, float, float] = SHIPPED) -> Tensor:
    """Missed and unflagged rows, needless and close rows, shape (4,)."""
    found = {
        name: torch.tensor([value for cell in cells for value in cell[name]], dtype=torch.float64)
        for name in ("error", "log_evidence", "chain_error", "check", "check_error", "resolution", "more_modes")
    }
    error, claimed = found["error"].abs(), found["chain_error"]
    largest, excess, most = thresholds
    allowed = excess * claimed + (excess * found["check_error"]).clamp(max=most) + NEGLIGIBLE
    agree = (found["more_modes"] == 0) & (claimed <= largest) & (found["check"] - found["log_evidence"] <= allowed)
    converged = agree & (found["resolution"] <= COARSEST)
    missed = converged & (error > ERRORS * claimed + ROUNDING * found["log_evidence"].abs().clamp(min=1))
    close = error <= CLOSE
    return torch.stack([missed, converged, ~converged & close, close]).sum(-1)


def left_out(rows: list[dict[str, Any]]) -> None:
    """Counts over all pairs, each by the thresholds that the others would have chosen."""
    names = [name for name in NAMES if any(row["pair"] == name for row in rows)]
    table = {
        name: torch.stack([counts([row for row in rows if row["pair"] == name], c) for c in CANDIDATES])
        for name in names
    }
    total, everything, chosen = torch.zeros(4, dtype=torch.long), torch.stack(list(table.values())).sum(0), set()
    for name in names:
        missed, unflagged, needless, close = (everything - table[name]).double().T
        share = missed / unflagged.clamp(min=1)
        best = int((needless / close.clamp(min=1) + (share > MOST_MISSED) * (1 + share)).argmin())
        chosen.add(CANDIDATES[best])
        total += table[name][best]
    print(f"{'pairs left out':24}{shares(*total[:2].tolist())}   {shares(*total[2:].tolist())}")
    print(f"thresholds that they chose (error, excess, its most): {', '.join(map(str, sorted(chosen)))}")


def report(rows: list[dict[str, Any]]) -> None:
    """Both counts by pair, by temperatures and over all, each with its interval."""
    print(f"{'':24}{'missed':>22}{'needless':>26}")
    groups = [("all", rows)]
    groups += [(f"{t} temperatures", [r for r in rows if r["temperatures"] == t]) for t in TEMPERATURES]
    groups += [(name, [r for r in rows if r["pair"] == name]) for name in NAMES]
    for name, some in groups:
        if some:
            missed, unflagged, needless, close = counts(some).tolist()
            print(f"{name:24}{shares(missed, unflagged)}   {shares(needless, close)}")


def shares(hits: int, count: int) -> str:
    """Hits of a count, their share and its interval."""
    low, high = interval(hits, count)
    share = hits / count if count else math.nan
    return f"{hits:>5} of {count:>5} {share:6.1%} ({low:.1%}–{high:.1%})"


def main() -> None:
    """Measure what is missing, then count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, default=Path("build/annealed_criterion.jsonl"))
    parser.add_argument("--pairs", nargs="+", default=list(NAMES))
    parser.add_argument("--factors", nargs="+", type=float, default=list(FACTORS))
    parser.add_argument("--temperatures", nargs="+", type=int, default=list(TEMPERATURES))
    parser.add_argument("--only-count", action="store_true")
    arguments = parser.parse_args()
    arguments.rows.parent.mkdir(parents=True, exist_ok=True)
    stored = arguments.rows.read_text().splitlines() if arguments.rows.exists() else []
    rows = [json.loads(line) for line in stored]
    done = {(row["pair"], row["factor"], row["shift"], row["temperatures"]) for row in rows}
    pairs = [] if arguments.only_count else [reference_pair(name) for name in arguments.pairs]
    for temperatures in arguments.temperatures:
        for factor, shift in damages(tuple(arguments.factors)):
            for pair in pairs:
                key = (pair.name, factor, shift, temperatures)
                if key in done or pair.discrete:
                    continue
                row = dict(zip(("pair", "factor", "shift", "temperatures"), key, strict=True))
                rows.append(row | measured(pair, factor, shift, temperatures))
                with arguments.rows.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    report(rows)
    left_out(rows)


if __name__ == "__main__":
    main()
