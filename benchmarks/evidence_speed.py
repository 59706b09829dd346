"""Seconds of importance-sampled log evidence: both implementations beside a plain torch loop, in one run.

The plain loop draws the same number of particles through the same networks, and knows neither k̂ nor errors.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Independent, Normal
from torch.nn.functional import binary_cross_entropy_with_logits

import bayes_vae as bv
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE

NETWORKS = {"latent_dim": 50, "data_shape": (28, 28), "hidden_dims": (200, 200)}
CHUNK = 100


def plain_bound(model: VAE, guide: AmortizedNormalGuide, x: Tensor, num_particles: int) -> Tensor:
    """L_K as people write it, in chunks of 100 particles."""
    with torch.no_grad():
        q = guide.variational_posterior(x).base_dist
        prior = Independent(Normal(torch.zeros_like(q.loc), torch.ones_like(q.loc)), 1)
        log_weights = []
        for _ in range(num_particles // CHUNK):
            z = q.loc + q.scale * torch.randn(CHUNK, *q.loc.shape)
            logits = model.decoder(z)
            pixels = x.flatten(1).expand_as(logits)
            log_likelihood = -binary_cross_entropy_with_logits(logits, pixels, reduction="none").sum(-1)
            log_guide = Normal(q.loc, q.scale).log_prob(z).sum(-1)
            log_weights.append(prior.log_prob(z) + log_likelihood - log_guide)
        return torch.logsumexp(torch.cat(log_weights), 0) - math.log(num_particles)


def seconds_of(function: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    """Print the medians and their ratios to the plain loop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--observations", type=int, default=100)
    parser.add_argument("--particles", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.manual_seed(0)
    model, guide = VAE(**NETWORKS), AmortizedNormalGuide(**NETWORKS)
    x, count = model.sample(options.observations, seed=0), options.particles
    ways: dict[str, Callable[[], object]] = {
        "plain torch loop": lambda: plain_bound(model, guide, x, count),
        "estimate_log_evidence": lambda: bv.estimate_log_evidence(model, guide, x, count),
        "the same, by traces": lambda: bv.estimate_log_evidence(model, guide, x, count, source="traces"),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()  # imports, caches
    for _ in range(options.rounds):
        for name, way in ways.items():
            times[name].append(seconds_of(way))
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    print(f"L_{count} of {options.observations} observations, 784-200-200-50, {options.rounds} rounds, medians")
    for name, median in medians.items():
        print(f"  {name:<22} {median:7.2f} s   ratio {median / medians['plain torch loop']:.2f}")


if __name__ == "__main__":
    main()
