"""Find log p(x) of every reference pair anew, and compare it with what is stored, to 1e-8 nats.

``python benchmarks/reference/values.py``; with ``--write``, the values are stored. The observations stay as they are in
``bayes_vae/reference_pairs/values.json``: drawn from the models, or written by hand where a drawn one would be easy. A
new pair gets ten that are drawn from its model.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bayes_vae import reference_pairs
from bayes_vae.reference_pairs import NAMES, FunctionModel, parts_of, reference_pair
from bayes_vae.terms.randomness import isolated_rng

FILE = Path(reference_pairs.__file__).with_name("values.json")

N, DECIMALS, SEED = 10, 4, 0


def drawn_observations(name: str) -> list[Any]:
    """New observations: one list for each argument of the programs."""
    model = parts_of(name).model
    if not isinstance(model, FunctionModel):
        sys.exit(f'{name} has no observations: write {{"x": [...], "log_evidence": []}} of it into {FILE}.')
    with isolated_rng(SEED, "cpu"):
        return [model.sample(N).double().numpy().round(DECIMALS).tolist()]


def write() -> None:
    """Store the values, and observations where a pair has none."""
    stored = json.loads(FILE.read_text(encoding="utf-8"))
    for name in NAMES:
        save(stored | {name: stored.get(name) or {"x": drawn_observations(name), "log_evidence": []}})
        pair = reference_pair(name)
        stored = json.loads(FILE.read_text(encoding="utf-8"))
        stored[name]["log_evidence"] = pair.exact(*pair.observations).tolist()
    save({name: stored[name] for name in NAMES})


def save(stored: dict[str, Any]) -> None:
    """Write the file, a pair a line."""
    lines = ",\n".join(f'"{name}": {json.dumps(entry)}' for name, entry in stored.items())
    FILE.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    reference_pairs.stored.cache_clear()


def compare() -> int:
    """Print how far each pair's values are from those stored; return how many are too far."""
    failed = 0
    for pair in map(reference_pair, NAMES):
        found = pair.exact(*pair.observations)
        apart, (least, most) = float((found - pair.log_evidence).abs().max()), map(float, found.aminmax())
        failed += not apart <= pair.error
        print(f"{pair.name:17} {least:>10.4f} … {most:>10.4f}  off by {apart:.0e}  {pair.truth}")
    return failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--write", action="store_true", help="store what is found")
    if parser.parse_args().write:
        write()
    sys.exit(compare() > 0)
