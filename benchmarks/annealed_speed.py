"""Nats and seconds of L_5000 beside annealing from the guide, on one VAE in one run.

The aims: annealing within 0.1 nat of the converged figure in at most half of L_5000's time, within 0.05 in that time,
and a leapfrog step in at most 1.25 times a pass forward and backward through the decoder. "Converged" is annealing with
four times the chains and twice the temperatures of the longest row, on draws of its own.
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
from bayes_vae.estimators.annealing.chains import make_plan, tune
from bayes_vae.settings import PairSettings
from bayes_vae.terms.opened import open_pair
from bayes_vae.terms.program import undisturbed
from bayes_vae.training import build_pair

CHAINS, LEAPFROG, TEMPERATURES = 4, 5, (5, 10, 25, 50)


def trained_pair(run: str | None, epochs: int, rows: int) -> tuple[Any, Any, torch.Tensor, torch.Tensor]:
    """A stored pair, or a fresh 784-200-200-50 VAE on MNIST (the digits without BAYES_VAE_DATA); and test data."""
    data = bv.load_data("mnist" if os.environ.get("BAYES_VAE_DATA") else "digits")
    if run is not None:
        model, guide = bv.load(run)
    else:
        model, guide = build_pair(PairSettings(latent_dim=50, hidden_dims=(200, 200)), data)
        bv.fit(model, guide, data, epochs=epochs, progress="none")
    return model, guide, data.test.observations(range(rows)), data.test.index[:rows]


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """A result and its wall time."""
    start = time.perf_counter()
    return function(), time.perf_counter() - start


def leapfrog_ratios(model: Any, guide: Any, x: torch.Tensor, rounds: int) -> tuple[float, float]:
    """A leapfrog step's time over a pass forward and backward through the decoder, and through log p(x given z).

    The three are timed in turn, round after round, and the ratios are medians over rounds: a busy machine slows all.
    """
    index = torch.arange(len(x))
    steps = 20 * LEAPFROG
    with open_pair(model, guide, x, index=index, batch_size=len(x)) as opened:
        batch = next(opened.batches(CHAINS))
        tuned = tune(batch, make_plan(21, CHAINS, LEAPFROG, "linear", from_prior=False))
    z = torch.randn(CHAINS, len(x), model.latent_dim, requires_grad=True)

    def passes(output: Callable[[], torch.Tensor]) -> None:
        for _ in range(steps):
            torch.autograd.grad(output().sum(), z)

    def annealing() -> None:
        with undisturbed(model, guide):
            tuned.forward()

    decoder, likelihood = [], []
    for _ in range(rounds):
        step = timed(annealing)[1]
        decoder.append(step / timed(lambda: passes(lambda: model.decoder(z)))[1])
        likelihood.append(step / timed(lambda: passes(lambda: model.likelihood(z).log_prob(x)))[1])
    return statistics.median(decoder), statistics.median(likelihood)


def main() -> None:
    """Print a table, and how the aims stand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", help="a run directory whose pair is taken instead of training one")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--observations", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    model, guide, x, index = trained_pair(options.run, options.epochs, options.observations)
    shared = {"index": index, "num_leapfrog": LEAPFROG}
    longest = {"num_temperatures": 2 * TEMPERATURES[-1], "num_chains": 4 * CHAINS}
    converged = bv.annealed_log_evidence(model, guide, x, seed=2, **longest, **shared)
    truth = converged.averages()["log_evidence"]
    bound, bound_seconds = timed(lambda: bv.estimate_log_evidence(model, guide, x, 5000, index=index))
    trained = options.run or f"after {options.epochs} epochs"
    print(f"N = {options.observations}, {trained}, {torch.get_num_threads()} threads; nats per observation")
    print(f"  {'estimate':<48} {'value':>9} {'± MC':>7} {'to converged':>13} {'seconds':>8} {'of L_5000':>9}")
    rows = [("L_5000", bound.averages()["log_evidence"], bound_seconds)]
    for count in TEMPERATURES:
        for refine in (True, False):
            settings = {"num_temperatures": count, "num_chains": CHAINS, "refine": refine, "seed": 1, **shared}
            estimate, seconds = timed(lambda settings=settings: bv.annealed_log_evidence(model, guide, x, **settings))
            start = "" if refine else ", the guide's own start"
            rows.append((f"annealed, {count} temperatures{start}", estimate.averages()["log_evidence"], seconds))
    name = f"converged: {converged.num_temperatures} temperatures, {converged.num_chains} chains"
    rows.append((name, truth, converged.seconds))
    for name, figure, seconds in rows:
        gap = truth.value - figure.value
        values = f"{figure.value:9.3f} {figure.monte_carlo_error:7.3f} {gap:13.3f}"
        print(f"  {name:<48} {values} {seconds:8.1f} {seconds / bound_seconds:9.2f}")
    decoder, likelihood = leapfrog_ratios(model, guide, x, options.rounds)
    print(f"  a leapfrog step takes {decoder:.2f} times a pass forward and backward through the decoder,")
    print(f"  and {likelihood:.2f} times one through log p(x given z)")


if __name__ == "__main__":
    main()
