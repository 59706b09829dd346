"""Coverage of nominal 95 % errors of log p(x), by tail index of the weights and by number of chains.

The model is linear and Gaussian with two latents, so log p(x) is exact. The proposal is the exact posterior with its
deviations times s: its weights follow a Pareto law with tail index 1 - s^2. Their variance is finite below 0.5, their
third moment below 1/3; where the estimate's own k-hat flags an observation, no error is stated.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

import bayes_vae as bv
from bayes_vae.guides import SingleLatentGuide
from bayes_vae.models import LinearGaussianVAE

NOMINAL = 1.959964
TAIL_INDICES = (0.1, 0.2, 0.28, 0.3, 0.4, 0.5, 0.6, 0.7)


class StretchedPosterior(SingleLatentGuide):
    """The exact posterior, its deviations times a factor: tail index 1 - factor^2 below one, bounded weights above."""

    def __init__(self, model: LinearGaussianVAE, factor: float) -> None:
        super().__init__()
        self._model, self.factor = (model,), factor

    def variational_posterior(self, x: Tensor) -> Any:
        """q(z given x)."""
        exact = self._model[0].exact_posterior(x)
        return dist.MultivariateNormal(exact.loc, scale_tril=self.factor * exact.scale_tril, validate_args=False)


def covered(log_evidence: Tensor, errors: Tensor, truth: Tensor) -> float:
    """Share of intervals that hold the truth."""
    return float(((log_evidence - truth).abs() <= NOMINAL * errors).double().mean())


def importance_table(model: LinearGaussianVAE, x: Tensor, counts: list[int]) -> None:
    """Coverage of importance sampling."""
    truth = model.log_evidence(x[:1])
    print(f"\nImportance sampling, {len(x)} replicates: coverage of a nominal 95 %")
    print(f"  {'tail index':>10} {'K':>6} {'all':>7} {'unflagged':>10} {'flagged':>8} {'stated':>8} {'actual':>8}")
    for tail in TAIL_INDICES:
        guide = StretchedPosterior(model, (1 - tail) ** 0.5)
        for count in counts:
            estimate = bv.estimate_log_evidence(model, guide, x, count)
            every = (1 / estimate.effective_sample_size - 1 / count).sqrt()
            sound = estimate.converged
            some = covered(estimate.log_evidence[sound], every[sound], truth)
            actual = float((estimate.log_evidence - truth).square().mean().sqrt())
            print(
                f"  {tail:>10.2f} {count:>6} {covered(estimate.log_evidence, every, truth):>7.1%} {some:>10.1%} "
                f"{1 - float(sound.double().mean()):>8.1%} {float(every.median()):>8.4f} {actual:>8.4f}",
                flush=True,
            )


def annealed_table(model: LinearGaussianVAE, x: Tensor, chains: list[int]) -> None:
    """Coverage of annealing, from the guide and from the prior."""
    truth = model.log_evidence(x[:1])
    print(f"\nAnnealing, 10 temperatures, {len(x)} replicates: coverage of a nominal 95 %")
    print(f"  {'start':>10} {'chains':>6} {'all':>7} {'stated':>8} {'actual':>8}")
    guide = StretchedPosterior(model, 1.5)
    settings: dict[str, Any] = {"num_temperatures": 10, "num_leapfrog": 2, "refine": False}
    for name in ("guide", "prior"):
        for count in chains:
            estimate = bv.annealed_log_evidence(model, guide, x, start=name, num_chains=count, **settings)
            error, actual = estimate.chain_error, (estimate.log_evidence - truth).square().mean().sqrt()
            share = covered(estimate.log_evidence, error, truth)
            stated = float(error.median())
            print(f"  {name:>10} {count:>6} {share:>7.1%} {stated:>8.4f} {float(actual):>8.4f}", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=4000)
    parser.add_argument("--particles", type=int, nargs="+", default=[1000])
    parser.add_argument("--chains", type=int, nargs="+", default=[4, 16, 64])
    options = parser.parse_args()
    start = time.perf_counter()
    torch.manual_seed(0)
    model = LinearGaussianVAE(latent_dim=2, data_shape=(5,), noise_scale=0.7).double()
    x = model.sample(1, seed=1).repeat(options.replicates, 1)
    with torch.no_grad():
        importance_table(model, x, options.particles)
        annealed_table(model, x, options.chains)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
