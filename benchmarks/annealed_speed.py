"""Nats and seconds of L_5000 beside annealing from the guide, on one VAE in one run.

The aims: annealing within 0.1 nat of the converged figure in at most half of L_5000's time, and a leapfrog step in at
most 1.25 times a pass forward and backward through the decoder. "Converged" is annealing with eight times the work.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

import bayes_vae as bv
from bayes_vae.evidence.chains import make_plan, tune
from bayes_vae.settings import PairSettings
from bayes_vae.terms.program import undisturbed
from bayes_vae.terms.stream import read_pair, stream
from bayes_vae.training import build_pair

CHAINS, LEAPFROG = 4, 5


def trained_pair(epochs: int, rows: int) -> tuple[Any, Any, torch.Tensor, torch.Tensor]:
    """A 784-200-200-50 VAE on MNIST, or on the digits where BAYES_VAE_DATA names no folder, and test observations."""
    data = bv.load_data("mnist" if os.environ.get("BAYES_VAE_DATA") else "digits")
    model, guide = build_pair(PairSettings(latent_dim=50, hidden_dims=(200, 200)), data)
    bv.fit(model, guide, data, epochs=epochs, progress="none")
    return model, guide, data.test.observations(range(rows)), data.test.index[:rows]


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """A result and its wall time."""
    start = time.perf_counter()
    return function(), time.perf_counter() - start


def leapfrog_ratios(model: Any, guide: Any, x: torch.Tensor, rounds: int) -> tuple[float, float]:
    """A leapfrog step's time over a pass forward and backward through the decoder, and through log p(x given z)."""
    index = torch.arange(len(x))
    steps = 20 * LEAPFROG
    with undisturbed(model, guide):
        pair = read_pair(model, guide, (x,), index)
        batch = next(stream(pair, (x,), index, CHAINS, 0, batch_size=len(x)))
        tuned = tune(batch, make_plan(21, CHAINS, LEAPFROG, "linear", from_prior=False))
        annealing = statistics.median(timed(tuned.forward)[1] for _ in range(rounds)) / steps
    z = torch.randn(CHAINS, len(x), 50, requires_grad=True)

    def seconds_of(output: Callable[[], torch.Tensor]) -> float:
        def passes() -> None:
            for _ in range(steps):
                torch.autograd.grad(output().sum(), z)

        return statistics.median(timed(passes)[1] for _ in range(rounds)) / steps

    decoding = seconds_of(lambda: model.decoder(z))
    return annealing / decoding, annealing / seconds_of(lambda: model.likelihood(z).log_prob(x))


def main() -> None:
    """Print a table, and how the aims stand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--observations", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    model, guide, x, index = trained_pair(options.epochs, options.observations)
    converged = bv.annealed_log_evidence(model, x, guide, num_temperatures=400, num_chains=CHAINS, index=index)
    truth = converged.averages()["log_evidence"]
    bound, bound_seconds = timed(lambda: bv.estimate_log_evidence(model, guide, x, 5000, index=index))
    print(f"N = {options.observations}, 784-200-200-50 after {options.epochs} epochs, seed 0; nats per observation")
    print(f"  {'estimate':<34} {'value':>9} {'± MC':>7} {'to converged':>13} {'seconds':>8}")
    rows = [("L_5000", bound.averages()["log_evidence"], bound_seconds)]
    for count in (25, 50, 100):
        settings = {"num_temperatures": count, "num_chains": CHAINS, "index": index, "seed": 1}
        estimate, seconds = timed(lambda settings=settings: bv.annealed_log_evidence(model, x, guide, **settings))
        rows.append((f"annealed, {count} temperatures", estimate.averages()["log_evidence"], seconds))
    rows.append((f"converged: {converged.num_temperatures} temperatures", truth, converged.seconds))
    for name, figure, seconds in rows:
        gap = truth.value - figure.value
        print(f"  {name:<34} {figure.value:9.3f} {figure.monte_carlo_error:7.3f} {gap:13.3f} {seconds:8.1f}")
    decoder, likelihood = leapfrog_ratios(model, guide, x, options.rounds)
    print(f"  a leapfrog step takes {decoder:.2f} times a pass forward and backward through the decoder,")
    print(f"  and {likelihood:.2f} times one through log p(x given z)")


if __name__ == "__main__":
    main()
