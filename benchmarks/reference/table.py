"""Every estimator on every reference pair: its error, the error that it claims, its flags and its seconds.

``make reference`` writes the tables of docs/reference_pairs.md; ``--only`` names some pairs.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

from estimators import CHAINS, ELBO_PARTICLES, ESTIMATORS, PARTICLES, SEED, TEMPERATURES, Found, run

from bayes_vae.reference_pairs import NAMES, ReferencePair, reference_pair

OVERVIEW = [name for name in ESTIMATORS if name != "ELBO" and "bidirectional" not in name]

CONDITIONS = (
    f"Nats per observation, estimate − log p(x). K = {PARTICLES:,} particles (ELBO {ELBO_PARTICLES:,}), "
    f"{TEMPERATURES} temperatures and {CHAINS} chains, N = {{counts}} observations a pair, seed {SEED}, KL weight 1, "
    "data policy none; Python {python}, {machine}, one thread of a shared machine."
)


def number(value: float | None) -> str:
    """A number of nats, in three decimals, fewer where it is large."""
    if value is None:
        return "–"
    size = abs(value)
    shown = f"{value:.0e}" if size >= 1e5 else f"{value:.{0 if size >= 1000 else 1 if size >= 100 else 3}f}"
    return shown.replace("-", "−") if float(shown) else shown.lstrip("-")


def cell(found: Found | None) -> str:
    """Mean error, and how many observations are flagged, or wrong though nothing says so."""
    if found is None:
        return ""
    if found.refused:
        return found.refused.split(":")[0]
    marks = [f"{found.flagged} flagged"] if found.flagged else []
    marks += [f"**{found.wrong} wrong**"] if found.wrong else []
    return " ".join([number(found.error), *([f"({', '.join(marks)})"] if marks else [])])


def row(cells: Iterable[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def overview(pairs: Sequence[ReferencePair], results: dict[tuple[str, str], Found]) -> list[str]:
    """Pairs by estimators."""
    lines = [row(["pair", *OVERVIEW]), row(["---", *["---:"] * len(OVERVIEW)])]
    return lines + [row([f"`{p.name}`", *(cell(results.get((p.name, name))) for name in OVERVIEW)]) for p in pairs]


def details(pairs: Sequence[ReferencePair], results: dict[tuple[str, str], Found]) -> list[str]:
    """A table for each pair."""
    lines = []
    for pair in pairs:
        dimensions = "discrete latents" if pair.discrete else f"D = {pair.latent_dim}"
        lines += [
            "",
            f"### {pair.name}",
            "",
            f"{pair.about[0].upper()}{pair.about[1:]}. {dimensions}; {pair.truth}.",
            "",
        ]
        lines += [row(["estimator", "mean error", "largest", "claimed", "flagged", "wrong", "seconds"])]
        lines += [row(["---", *["---:"] * 6])]
        for found in (results[pair.name, name] for name in ESTIMATORS if (pair.name, name) in results):
            if found.refused:
                lines.append(row([found.estimator, found.refused, "", "", "", "", f"{found.seconds:.1f}"]))
                continue
            errors = map(number, (found.error, found.largest, found.claimed))
            counts = (f"{found.flagged}/{found.count}", f"{found.wrong}/{found.count}")
            lines.append(row([found.estimator, *errors, *counts, f"{found.seconds:.1f}"]))
    return lines


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="PAIR", help="these pairs")
    parser.add_argument("--write", type=Path, metavar="PATH", help="write the tables as Markdown")
    arguments = parser.parse_args()
    pairs = [reference_pair(name) for name in arguments.only]
    results = {}
    for pair in pairs:
        print(f"{pair.name}: {pair.about}", flush=True)
        for name, (estimator, applies) in ESTIMATORS.items():
            if applies(pair):
                found = results[pair.name, name] = run(name, estimator, pair)
                claimed = f" ± {number(found.claimed)}" if found.claimed is not None else ""
                print(f"    {name:22} {cell(found)}{claimed}, {found.seconds:.1f} s", flush=True)
    counts = sorted({len(pair.log_evidence) for pair in pairs})
    said = CONDITIONS.format(
        counts=f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else counts[0],
        python=platform.python_version(),
        machine=f"{platform.machine()}, {os.cpu_count()} cores",
    )
    if arguments.write:
        lines = [*overview(pairs, results), "", said, "", "## Pair by pair", *details(pairs, results)]
        arguments.write.write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"Written to {arguments.write}")


if __name__ == "__main__":
    main()
