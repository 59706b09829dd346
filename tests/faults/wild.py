"""What the diagnosis says of trainings unlike those it was made on: every fault in every family, and healthy ones.

Trained weights, measured numbers and findings are kept under ``--results`` and not computed again, so that the suite
resumes; ``--decide-again`` applies the thresholds of now to the numbers. A fault counts as found where one of its names
stands first or second; where no number tells it, any of ``also`` is right, or nothing. ``--seconds`` ends a part.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bayes_vae.diagnosis import diagnose
from faults.families import FAMILIES, Pair
from faults.fault_injection import BEST_RANKS, MARKS, Row, decided_again, parse_seeds, put_between_marks, read, told
from faults.losses import (
    Loss,
    autoencoding,
    averaged,
    deterministic,
    free_bits,
    importance_weighted,
    kl_across_the_batch,
    one_noise_for_all,
    prior_of_deviation,
    reversed_kl,
    shifted_targets,
    squares_in_kl,
    train,
    uniform_noise,
    weighted,
)
from faults.pairs import AlteredGuide

__all__ = ["WILD", "Wild"]


class Wild(NamedTuple):
    """One way to train, in any family.

    Attributes:
        expected: names of which one must stand first or second; empty for a healthy training.
        words: what was done.
        loss: what is minimized.
        change: of the pair before training.
        after: of the pair after training.
        also: names that are no false alarm; where ``expected`` is empty, right beside nothing.
        epochs: share of the family's.
    """

    expected: tuple[str, ...]
    words: str
    loss: Loss = weighted(1.0)
    change: Callable[[Pair], Pair] = lambda pair: pair
    after: Callable[[Pair], Pair] = lambda pair: pair
    also: tuple[str, ...] = ()
    epochs: float = 1.0

    @property
    def healthy(self) -> bool:
        """Whether nothing above a note must be found."""
        return not self.expected and not self.also


class Head(nn.Module):
    """Means and log variances of an encoder, changed."""

    def __init__(self, encoder: nn.Module, change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.encoder, self.change = encoder, change

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, 2 D)."""
        return torch.cat(self.change(*self.encoder(x).chunk(2, -1)), -1)


def heads(change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Callable[[Pair], Pair]:
    """A change of an encoder's outputs."""

    def altered(pair: Pair) -> Pair:
        pair[1].encoder = Head(pair[1].encoder, change)
        return pair

    return altered


def read_otherwise(change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Callable[[Pair], Any]:
    """A guide that is changed after training."""
    return lambda pair: (pair[0], AlteredGuide(pair[1], change))


class _Decoded(nn.Module):
    def __init__(self, decoder: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.decoder, self.change = decoder, change

    def forward(self, z: Tensor) -> Tensor:
        """The decoder's output, changed."""
        found: Tensor = self.change(self.decoder(z))
        return found


def decoded(change: Callable[[Tensor], Tensor]) -> Callable[[Pair], Pair]:
    """A decoder whose output is changed after training."""

    def altered(pair: Pair) -> Pair:
        pair[0].decoder = _Decoded(pair[0].decoder, change)
        return pair

    return altered


WEIGHT, OBJECTIVE = ("kl-weight", "averaged-loss"), ("amortization-gap", "kl-weight")

WILD: dict[str, Wild] = {
    "healthy": Wild((), "the ELBO"),
    "healthy-again": Wild((), "the ELBO, another start"),
    "kl-weight-4": Wild((*WEIGHT, "posterior-collapse"), "KL weight 4", weighted(4.0)),
    "kl-weight-tenth": Wild(WEIGHT, "KL weight 0.1", weighted(0.1)),
    "kl-weight-tiny": Wild((*WEIGHT, "kl-missing"), "KL weight 0.0003", weighted(3e-4)),
    "kl-missing": Wild(("kl-missing",), "no KL", weighted(0.0)),
    "kl-across-batch": Wild(("kl-across-batch",), "KL of the batch's moments", kl_across_the_batch),
    "averaged": Wild((*WEIGHT, "posterior-collapse"), "means over x and over z", averaged(True, True)),
    "autoencoder": Wild(("kl-missing",), "no KL, means decoded", autoencoding),
    "sampling-off": Wild(("sampling-off",), "means decoded", deterministic),
    "squares-in-kl": Wild(("scale-misread",), "the KL reads a log variance as log deviation", squares_in_kl),
    "other-prior": Wild(("prior-mismatch",), "KL to N(0, 10)", prior_of_deviation(10**0.5)),
    "reversed-kl": Wild(("kl-weight", "amortization-gap"), "KL(p to q)", reversed_kl, also=("prior-mismatch",)),
    "importance-weighted": Wild(
        (), "importance weighted, 10 draws", importance_weighted(10), also=("amortization-gap", "guide-too-wide")
    ),
    "free-bits": Wild((), "1 nat free in each dimension", free_bits(1.0), also=("kl-weight", "amortization-gap")),
    "one-noise": Wild((), "one ε for a batch", one_noise_for_all, also=("undertraining",)),
    "uniform-noise": Wild(
        (), "ε from [0, 1)", uniform_noise, also=("guide-too-wide", "amortization-gap", "mismatched-pair")
    ),
    "shifted-targets": Wild(("posterior-collapse",), "targets shifted by one row", shifted_targets),
    "relu-means": Wild(("encoder-confined",), "a ReLU on the means", change=heads(lambda m, v: (m.relu(), v))),
    "relu-log-variance": Wild(
        ("encoder-confined",), "a ReLU on the log variance", change=heads(lambda m, v: (m, v.relu()))
    ),
    "tanh-means": Wild(("encoder-confined",), "a tanh on the means", change=heads(lambda m, v: (m.tanh(), v))),
    "latents-permuted": Wild(
        ("mismatched-pair",),
        "altered: latents in another order",
        after=read_otherwise(lambda m, s: (m.roll(1, -1), s.roll(1, -1))),
    ),
    "codes-doubled": Wild(
        ("mismatched-pair", "prior-mismatch"),
        "altered: codes twice as large",
        after=read_otherwise(lambda m, s: (2 * m, 2 * s)),
    ),
    "outputs-inverted": Wild(("mismatched-pair",), "altered: outputs negated", after=decoded(lambda output: -output)),
    "inputs-negated": Wild(
        ("mismatched-pair",),
        "altered: the encoder sees another normalization",
        after=lambda pair: (pair[0], _seeing(pair[1], lambda x: 2 * x - 1)),
    ),
    "undertrained": Wild(("undertraining",), "a thirtieth of the epochs", epochs=1 / 30),
}


def _seeing(guide: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The guide behind other inputs."""
    encoder = guide.encoder
    guide.encoder = nn.Sequential(_Changed(change), encoder)
    return guide


class _Changed(nn.Module):
    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        """Of the same shape."""
        return self.change(x)


def trained(family: str, fault: str, seed: int, weights: Path) -> tuple[Any, Any, Any]:
    """The pair and its data, trained now or read."""
    kind, what = FAMILIES[family], WILD[fault]
    pair, data = kind.fresh(seed + 1000 * (fault == "healthy-again"))
    pair = what.change(pair)
    altered = what.after is not Wild._field_defaults["after"]  # trained right, and changed afterwards
    both, file = nn.ModuleList(pair), weights / f"{family}+{'healthy' if altered else fault}+{seed}.safetensors"
    if file.exists():
        both.load_state_dict(load_file(file))
    else:
        epochs = max(1, round(kind.epochs * what.epochs))
        train(
            *pair,
            data,
            what.loss,
            epochs=epochs,
            seed=seed,
            rate=kind.rate,
            falling=what.epochs == 1,
            batch=kind.batch,
            optimizer=kind.optimizer,
        )
        save_file({name: part.clone() for name, part in both.state_dict().items()}, file)
    both.eval()
    return (*what.after(pair), data)


def examine(family: str, fault: str, seed: int, weights: Path, rows: int) -> Row:
    """Train and diagnose one."""
    start = time.perf_counter()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, guide, data = trained(family, fault, seed, weights)
    middle = time.perf_counter()
    found = diagnose(model, guide, data, seed=seed, num_observations=rows, seconds=float("inf"))
    spent = {"train_seconds": middle - start, "seconds": time.perf_counter() - middle}
    named = {"family": family, "case": fault, "seed": seed, "rows": rows, "num_pixels": data.data_shape.numel()}
    return {**named, **spent, **told(found), "settings": None}


def verdict(row: Row) -> str:
    """found, quiet, misnamed, missed; of a healthy training right or false alarm."""
    what = WILD[row["case"]]
    serious = [finding for finding in row["findings"] if finding["severity"] != "note"]
    names = [finding["name"] for finding in row["findings"][:BEST_RANKS]]
    standing = [finding["name"] for finding in serious if not finding["because"]]
    if what.expected and set(names) & set(what.expected):
        return "found"
    if not what.expected:
        false = set(standing) - set(what.also)
        return "right" if not false else ("false alarm" if what.healthy else "misnamed")
    return "misnamed" if set(standing) - set(what.also) else "missed"


def false_clear(row: Row) -> list[str]:
    """Findings above a note that are called clear, stand for themselves and are neither expected nor allowed."""
    what = WILD[row["case"]]
    return [
        finding["name"]
        for finding in row["findings"]
        if finding["severity"] != "note"
        and not finding["because"]
        and finding["probability"] >= 0.99
        and finding["name"] not in (*what.expected, *what.also)
    ]


def table(rows: Sequence[Row]) -> Iterator[str]:
    """One line for each family, then for each fault, in Markdown."""
    yield "| | trainings | found or rightly quiet | misnamed | missed | false alarm | clear, of them false |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for key, names in (("family", list(FAMILIES)), ("case", list(WILD))):
        for name in names:
            own = [row for row in rows if row[key] == name]
            if own:
                words = (FAMILIES if key == "family" else WILD)[name].words
                yield _line(f"{name}: {words}", own)
    yield _line("all", list(rows))


def _line(name: str, rows: Sequence[Row]) -> str:
    verdicts = [verdict(row) for row in rows]
    counts = [sum(v in kind for v in verdicts) for kind in (("found", "right"), ("misnamed",), ("missed",))]
    healthy = [v for v, row in zip(verdicts, rows, strict=True) if WILD[row["case"]].healthy]
    alarms = f"{healthy.count('false alarm')} of {len(healthy)}" if healthy else ""
    clear = sum(
        f["severity"] != "note" and not f["because"] and f["probability"] >= 0.99 for r in rows for f in r["findings"]
    )
    false = sum(len(false_clear(row)) for row in rows)
    return f"| {name} | {len(rows)} | {counts[0]} | {counts[1]} | {counts[2]} | {alarms} | {clear}, {false} |"


def main() -> None:
    """Train and diagnose what is not there yet, until the time is up; print what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--rows", type=int, default=800)
    parser.add_argument("--families", nargs="*", default=[name for name, family in FAMILIES.items() if family.present])
    parser.add_argument("--faults", nargs="*", default=list(WILD))
    parser.add_argument("--results", type=Path, default=Path("runs/wild"))
    parser.add_argument("--seconds", type=float, default=float("inf"), help="when to stop; a later call goes on")
    parser.add_argument("--train-only", action="store_true", help="keep the weights, diagnose later")
    parser.add_argument("--decide-again", action="store_true", help="apply the thresholds of now to stored numbers")
    parser.add_argument("--write", type=Path, help="a page with the two marks, which gets the table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start, file = time.perf_counter(), options.results / "numbers.jsonl"
    (options.results / "weights").mkdir(parents=True, exist_ok=True)
    wanted = [
        (*names, seed) for seed in parse_seeds(options.seeds) for names in product(options.faults, options.families)
    ]
    done = {(row["case"], row["family"], row["seed"]) for row in read(file) if row["rows"] == options.rows}
    for fault, family, seed in wanted:
        if (fault, family, seed) in done or time.perf_counter() - start > options.seconds:
            continue
        if options.train_only:
            trained(family, fault, seed, options.results / "weights")
            continue
        row = examine(family, fault, seed, options.results / "weights", options.rows)
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(row, default=str) + "\n")
        named = ", ".join(f"{f['name']}{'' if f['probability'] >= 0.99 else '?'}" for f in row["findings"][:4])
        spent = f"{row['train_seconds']:.0f} + {row['seconds']:.0f} s"
        print(f"{verdict(row)}: {fault} in {family}, seed {seed}: {named or 'nothing'} ({spent})", flush=True)
    chosen = set(wanted)
    rows = [r for r in read(file) if (r["case"], r["family"], r["seed"]) in chosen and r["rows"] == options.rows]
    rows = [decided_again(row) for row in rows] if options.decide_again else rows
    lines = list(table(rows))
    print("\n".join(lines))
    if options.write:
        put_between_marks(options.write, "\n".join(lines), MARKS[1])


if __name__ == "__main__":
    main()
