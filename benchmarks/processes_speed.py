"""A training step in two processes with one thread each, beside one process with one thread and with two.

The pair is 784-200-200-50, a batch has 1,000 rows, binarized anew at each step; all three do the same steps on the same
rows and come to the same weights. They take turns, and the figures are medians over the turns: wall time of a step, and
the CPU time that a process spends on it. On a machine that does other things too, wall times say little; the CPU time
then says how much of a step two processes share: one process's divided by that of each of two is the speed-up on two
cores that are free, but for the time that one process waits for the other.

A second table has the CPU time of one observation for more data, latents and particles, in one process.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import socket
import statistics
import time
from typing import Any

import torch

import bayes_vae as bv
from bayes_vae.settings import PairSettings, TrainingSettings
from bayes_vae.terms.randomness import isolated_rng
from bayes_vae.terms.world import join_world
from bayes_vae.training import build_pair
from bayes_vae.training.loop import Training
from bayes_vae.training.parameters import own_store

WAYS = {"1 process, 1 thread": (1, 1), "2 processes, 1 thread each": (2, 1), "1 process, 2 threads": (1, 2)}
"""Processes and threads of each."""

AIM = 1.7
"""How much faster two processes are to be than one, on two cores that are free."""


COSTS: dict[str, tuple[int, int, int]] = {
    "6,000 rows, D = 50, K = 1": (6_000, 50, 1),
    "60,000 rows": (60_000, 50, 1),
    "D = 2": (6_000, 2, 1),
    "D = 200": (6_000, 200, 1),
    "K = 5": (6_000, 50, 5),
    "K = 20": (6_000, 50, 20),
}
"""What differs from the first → rows, latents, particles."""


def timed(
    steps: int, batch_size: int, num_rows: int, latent_dim: int = 50, num_particles: int = 1
) -> tuple[float, float, float]:
    """Wall and CPU seconds of a step, and a sum of the weights after the last one."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (num_rows, 784), generator=generator, dtype=torch.uint8)
    data = bv.load_data(pixels, policy="stochastic")
    settings = TrainingSettings(epochs=10_000, batch_size=batch_size, num_particles=num_particles, device="cpu")
    model, guide = build_pair(PairSettings(latent_dim=latent_dim, hidden_dims=(200, 200)), data)
    with own_store(model, guide), isolated_rng(0):
        training = Training(model, guide, data, settings, torch.device("cpu"), join_world(torch.device("cpu")))
        training.epochs_done = 1  # from the second epoch on no support is looked at
        training.enter_epoch()
        for count in (3, steps):
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(count):
                if training.steps_done == training.steps_per_epoch:
                    training.order, training.steps_done = training.order[:0], 0
                    training.enter_epoch()
                training.step()
            took = (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count
    return *took, float(sum(parameter.detach().double().sum() for parameter in training.parameters))


def _work(results: Any, rank: int, count: int, threads: int, port: int, arguments: tuple[int, int, int]) -> None:
    torch.set_num_threads(threads)
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ.update({name: str(number) for name, number in numbers.items()} | {"MASTER_ADDR": "127.0.0.1"})
    results.put(timed(*arguments))


def turn(count: int, threads: int, arguments: tuple[int, int, int]) -> tuple[float, float, float]:
    """One turn of one way: the slower process's seconds, the mean CPU seconds, the sum of the weights."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [
        context.Process(target=_work, args=(results, rank, count, threads, port, arguments)) for rank in range(count)
    ]
    for process in processes:
        process.start()
    wall, cpu, weights = zip(*(results.get(timeout=600) for _ in processes), strict=True)
    for process in processes:
        process.join()
    return max(wall), statistics.mean(cpu), weights[0]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=1000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # imports what an optimizer needs, before the processes fork
    arguments = (options.steps, options.batch_size, 6 * options.batch_size)
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in WAYS}
    for _ in range(options.turns):
        for name, way in WAYS.items():
            found[name].append(turn(*way, arguments))
    one = found["1 process, 1 thread"]
    print(f"batch {options.batch_size}, {options.turns} turns of {options.steps} steps, load {os.getloadavg()[0]:.1f}")
    heads = f"{'ms a step':>10} {'shortest':>9} {'CPU ms':>8} {'faster':>8} {'by CPU':>8}"
    print(f"{'':28} {heads} {'weights differ by':>18}")
    for name, turns in found.items():
        wall, cpu = (statistics.median(each[column] for each in turns) for column in (0, 1))
        shortest = min(each[0] for each in turns)
        faster = statistics.median(each[0] / own[0] for each, own in zip(one, turns, strict=True))
        by_cpu = statistics.median(each[1] / own[1] for each, own in zip(one, turns, strict=True))
        apart = max(abs(each[2] - own[2]) for each, own in zip(one, turns, strict=True))
        numbers = f"{1e3 * wall:10.1f} {1e3 * shortest:9.1f} {1e3 * cpu:8.1f} {faster:8.2f} {by_cpu:8.2f}"
        print(f"{name:28} {numbers} {apart:18.1e}")
    print(f"aim: two processes at least {AIM} times faster than one, on two free cores\n")
    print(f"{'one process, one thread':28} {'CPU µs an observation':>22}")
    for name, (num_rows, latent_dim, num_particles) in COSTS.items():
        cpu = min(timed(options.steps, 500, num_rows, latent_dim, num_particles)[1] for _ in range(2)) / 500
        print(f"{name:28} {1e6 * cpu:22.1f}", flush=True)


if __name__ == "__main__":
    main()
