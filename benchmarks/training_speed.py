"""Seconds of one training epoch: ``fit`` beside a plain torch loop of the same networks, in one run.

Real MNIST where BAYES_VAE_DATA names it, else noise of the same shape. Rounds alternate; medians are printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

import bayes_vae as bv
from bayes_vae.data import Data
from bayes_vae.runs import run_writer
from bayes_vae.settings import PairSettings
from bayes_vae.training import build_pair

LATENT_DIM, HIDDEN_DIMS, BATCH_SIZE = 50, (200, 200), 100


def plain_epoch(encoder: nn.Module, decoder: nn.Module, images: Tensor) -> float:
    """A loop as people write it: Bernoulli likelihood, closed-form KL, Adam, pixels binarized anew."""
    start = time.perf_counter()
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3, eps=1e-4)
    for rows in torch.randperm(len(images)).split(BATCH_SIZE):
        x = torch.bernoulli(images[rows].float() / 255)
        loc, raw = encoder(x).chunk(2, -1)
        scale = softplus(raw)
        z = loc + scale * torch.randn_like(scale)
        distortion = binary_cross_entropy_with_logits(decoder(z), x, reduction="sum")
        rate = 0.5 * (scale**2 + loc**2 - 1 - 2 * scale.log()).sum()
        optimizer.zero_grad()
        ((distortion + rate) / len(rows)).backward()
        optimizer.step()
    return time.perf_counter() - start


def fit_epoch(data: Data) -> tuple[float, float]:
    """One epoch of ``fit`` without its validation, and its checkpoint on disk."""
    model, guide = build_pair(PairSettings(LATENT_DIM, HIDDEN_DIMS), data)
    run = bv.fit(model, guide, data, epochs=1, batch_size=BATCH_SIZE, progress="none")
    assert run.checkpoint is not None
    with TemporaryDirectory() as folder, run_writer(f"{folder}/run", run) as writer:
        start = time.perf_counter()
        writer.write(run.checkpoint)
        return run.history[0]["train_seconds"], time.perf_counter() - start


def load(rows: int) -> Data:
    """MNIST's first images, or noise of the same shape."""
    if os.environ.get("BAYES_VAE_DATA"):
        images = bv.load_data("mnist").train.values[:rows]
    else:
        images = torch.randint(0, 256, (rows, 28, 28), dtype=torch.uint8)
    return bv.load_data(images)


def main() -> None:
    """Print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=25_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.manual_seed(0)
    data = load(options.rows)
    images = data.train.values.flatten(1)
    model, guide = build_pair(PairSettings(LATENT_DIM, HIDDEN_DIMS), data)
    fit_epoch(bv.load_data(images[:1000]))  # imports, caches
    plain, ours, kept = [], [], []
    for _ in range(options.rounds):
        plain.append(plain_epoch(guide.encoder, model.decoder, images))
        seconds, checkpoint = fit_epoch(data)
        ours.append(seconds)
        kept.append(seconds + checkpoint)
    medians = [statistics.median(times) for times in (plain, ours, kept)]
    print(f"one epoch of {len(images)} images, 784-200-200-50, batch {BATCH_SIZE}, {options.rounds} rounds, medians")
    print(f"  plain torch loop       {medians[0]:7.2f} s")
    print(f"  bayes_vae.fit          {medians[1]:7.2f} s   ratio {medians[1] / medians[0]:.2f}")
    print(f"  and its checkpoint     {medians[2]:7.2f} s   ratio {medians[2] / medians[0]:.2f}")


if __name__ == "__main__":
    main()
