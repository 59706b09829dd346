"""ELBO, log p(x) and the gap of every bundled pair on the digits, side by side.

Each settings file is trained as it says, on the digits, and measured on the 300 test images. What is done is kept in
``--runs`` and not done again. ``--write PATH`` writes the table as Markdown; docs/combinations.md shows it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from bayes_vae.cli.flags import build_settings
from bayes_vae.cli.loading import open_run
from bayes_vae.cli.settings_files import bundled_settings, read_settings
from bayes_vae.cli.train import train
from bayes_vae.errors import NotDefinedError
from bayes_vae.estimators.evaluation import evaluate
from bayes_vae.estimators.gaps import inference_gap
from bayes_vae.settings import DataSettings, PairSettings, TrainingSettings
from bayes_vae.terms.averages import Average

GAP_OBSERVATIONS = 100


def measure(name: str, folder: Path, particles: int, temperatures: int) -> dict[str, Any]:
    """Train a bundled pair where its run is not there, and measure its terms."""
    sections = read_settings(name).sections
    data, pair, training = (
        build_settings(kind, sections[section])
        for section, kind in (("data", DataSettings), ("pair", PairSettings), ("training", TrainingSettings))
    )
    run = folder / name
    if not (run / "manifest.json").exists():
        train(data, pair, training, run)
    opened = open_run(str(run), "cpu", None, None, None)
    seconds = sum(row["seconds"] for row in opened.directory.history)
    rows = opened.test_rows(None, 0)
    start = time.perf_counter()
    evaluation = evaluate(opened.model, opened.guide, rows, particles, num_temperatures=temperatures)
    figures = evaluation.averages()
    row: dict[str, Any] = {
        "name": name,
        "policy": opened.data.policy,
        "kind": opened.data.observation_kind,
        "elbo": entry(figures["elbo"]),
        "bound": entry(figures["importance_weighted_bound"]),
        "log_evidence": entry(figures["log_evidence"]) if evaluation.annealed is not None else None,
        "gap": entry(figures["inference_gap"]),
        "training_seconds": seconds,
        "seconds": time.perf_counter() - start,
    }
    return {**row, **split(opened, rows)}


def split(opened: Any, rows: Any) -> dict[str, Any]:
    """The gap's two parts, where they are defined."""
    try:
        found = inference_gap(opened.model, opened.guide, rows[:GAP_OBSERVATIONS]).averages()
    except NotDefinedError:
        return {}
    return {part: entry(found[part]) for part in ("approximation_gap", "amortization_gap") if part in found}


def entry(figure: Average) -> dict[str, float | str]:
    """A figure in JSON types."""
    errors = {"monte_carlo": figure.monte_carlo_error, "data": figure.data_error}
    return {"value": figure.value, **errors, "note": str(figure.reading)}


def text(figure: dict[str, Any] | None) -> str:
    """A value with its Monte-Carlo error, or a dash."""
    if figure is None:
        return "–"
    error = figure["monte_carlo"]
    shown = f"{figure['value']:.3f}".replace("-", "−")
    return shown if error != error else f"{shown} ± {error:.3f}"


def markdown(rows: list[dict[str, Any]], particles: int, temperatures: int) -> str:
    """The table."""
    heads = ["settings", "ELBO", f"L_{particles}", "log p(x), annealed", "gap", "approximation", "amortization"]
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 1)}"]
    for row in rows:
        gap = row["gap"] if row["log_evidence"] else None
        figures = [row["elbo"], row["bound"], row["log_evidence"], gap]
        figures += [row.get("approximation_gap"), row.get("amortization_gap")]
        cells = [f"`{row['name']}`", *map(text, figures)]
        lines.append(f"| {' | '.join(cells)} |")
    data_error = max(row["elbo"]["data"] for row in rows)
    note = (
        f"Nats per image of the 300 test digits, ± Monte Carlo; the data error of an ELBO is at most {data_error:.2f}. "
        f"K = {particles} draws from q; {temperatures} temperatures and 4 chains; the gap's parts of the first "
        f"{GAP_OBSERVATIONS} images; KL weight 1; seed 0."
    )
    return "\n".join([*lines, "", note, ""])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="of bundled settings; all when none is named")
    parser.add_argument("--runs", type=Path, default=Path("build/combinations"), help="where runs are kept")
    parser.add_argument("--particles", type=int, default=500)
    parser.add_argument("--temperatures", type=int, default=50)
    parser.add_argument("--write", type=Path, help="a Markdown file to write the table to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in options.names or bundled_settings():
        kept = options.runs / f"{name}-{options.particles}-{options.temperatures}.json"
        if not kept.exists():
            row = measure(name, options.runs, options.particles, options.temperatures)
            kept.write_text(json.dumps(row))
        rows.append(json.loads(kept.read_text()))
    table = markdown(rows, options.particles, options.temperatures)
    print(table)
    if options.write:
        options.write.write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
