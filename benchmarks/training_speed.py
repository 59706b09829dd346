"""CPU time of a training step: that of ``fit`` beside a plain torch loop over the same networks, on one thread.

The plain loop is what a person would write for speed: stochastic binarization, closed-form KL, binary cross-entropy of
logits, fused Adam, and a running sum of the loss. Both sides do all of this for the same pair (784-200-200-50, with the
library's softplus for the scale) on the same pixels; one batch with the same noise must give both the same loss. Ours
also measures the gradient's norm, sums both terms in float64, looks for divergence at each step and follows the
schedules: none of it is taken off.

The two take turns in short blocks, so that whatever else the machine does meets both alike; the ratio is that of the
medians over the blocks. The steps are those of any epoch but the first, which also looks whether each row is in the
support of the likelihood. Real MNIST where BAYES_VAE_DATA names it, else noise of the same shape.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

import bayes_vae as bv
from bayes_vae.data import Data
from bayes_vae.distributions.normal_outputs import SCALE_FLOOR, SCALE_OFFSET
from bayes_vae.runs import run_writer
from bayes_vae.settings import PairSettings, TrainingSettings
from bayes_vae.training import build_pair
from bayes_vae.training.loop import ADAM_EPSILON, Training
from bayes_vae.training.parameters import own_store

PAIR = PairSettings(latent_dim=50, hidden_dims=(200, 200))


class PlainLoop:
    """The loop written by hand."""

    def __init__(self, data: Data, batch_size: int) -> None:
        model, guide = build_pair(PAIR, data)
        self.encoder, self.decoder = nn.Sequential(*guide.encoder), nn.Sequential(*model.decoder)
        self.batch_size = batch_size
        self.pixels = data.train.values.flatten(1)
        parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=3e-3, eps=ADAM_EPSILON, fused=True)
        self.order: list[Tensor] = []
        self.total = torch.zeros(())

    def loss(self, x: Tensor) -> Tensor:
        """Minus the ELBO of a batch, mean over its observations."""
        loc, raw = self.encoder(x).chunk(2, -1)
        scale = softplus(raw + SCALE_OFFSET) + SCALE_FLOOR
        z = loc + scale * torch.randn_like(scale)
        distortion = binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        rate = 0.5 * (scale**2 + loc**2 - 1 - 2 * scale.log()).sum()
        loss: Tensor = (distortion + rate) / len(x)
        return loss

    def step(self) -> None:
        """One step."""
        if not self.order:
            self.order = list(torch.randperm(len(self.pixels)).split(self.batch_size))
        pixels = self.pixels[self.order.pop()]
        x = (torch.empty_like(pixels).random_(0, 255) < pixels).float()
        loss = self.loss(x)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.total += loss.detach()


def training_of(data: Data, batch_size: int) -> Training:
    """A training of ours, at the start of its second epoch."""
    settings = TrainingSettings(epochs=10_000, batch_size=batch_size, device="cpu")
    training = Training(*build_pair(PAIR, data), data, settings, torch.device("cpu"))
    training.epochs_done = 1
    training.enter_epoch()
    return training


def steps_of(training: Training) -> Callable[[], None]:
    """Steps of ours without end: epochs without the validation between them."""

    def step() -> None:
        training.step()
        if training.steps_done == training.steps_per_epoch:
            training.steps_done, training.order = 0, training.order[:0]
            training.enter_epoch()

    return step


def check_same_loss(plain: PlainLoop, training: Training) -> None:
    """Both sides have the same loss for the same batch and noise: else they would not do the same work."""
    x = training.data.train.observations(torch.arange(plain.batch_size))
    losses = []
    for ours in (False, True):
        torch.manual_seed(0)
        loss = training.loss.terms(training.model, training.guide, x).loss.mean() if ours else plain.loss(x.flatten(1))
        losses.append(loss.item())
    if abs(losses[0] - losses[1]) > 1e-5 * abs(losses[0]):
        raise SystemExit(f"the two sides differ in their loss: {losses[0]:.6f} by hand, {losses[1]:.6f} ours.")


def block_seconds(step: Callable[[], None], steps: int) -> float:
    """CPU seconds of a step, mean of a block."""
    start = time.process_time()
    for _ in range(steps):
        step()
    return (time.process_time() - start) / steps


def compare(data: Data, batch_size: int, blocks: int, steps: int) -> None:
    """Print the medians of both sides and their ratio."""
    plain, training = PlainLoop(data, batch_size), training_of(data, batch_size)
    check_same_loss(plain, training)
    sides: dict[str, Callable[[], None]] = {"plain torch loop": plain.step, "bayes_vae.fit": steps_of(training)}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for block in range(blocks + 1):
        for name, step in sides.items():
            seconds = block_seconds(step, steps)
            if block:  # the first one warms up
                times[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"one step, batch {batch_size}, medians of {blocks} blocks of {steps} steps, CPU time")
    for name, median in medians.items():
        print(f"  {name:<20} {median * 1e3:8.3f} ms   ratio {median / medians['plain torch loop']:.3f}")


def checkpoint_seconds(data: Data) -> float:
    """CPU seconds of the checkpoint that a run on disk writes after each epoch."""
    model, guide = build_pair(PAIR, data)
    run = bv.fit(model, guide, data, epochs=1, batch_size=100, device="cpu", progress="none")
    assert run.checkpoint is not None
    with TemporaryDirectory() as folder, run_writer(f"{folder}/run", run) as writer:
        start = time.process_time()
        writer.write(run.checkpoint)
        return time.process_time() - start


def load(rows: int) -> Data:
    """MNIST's first images, or noise of the same shape."""
    if os.environ.get("BAYES_VAE_DATA"):
        images = bv.load_data("mnist").train.values[:rows]
    else:
        images = torch.randint(0, 256, (rows, 28, 28), dtype=torch.uint8)
    return bv.load_data(images)


def main() -> None:
    """Compare at each batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=25_000)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[100, 20])
    parser.add_argument("--blocks", type=int, default=100)
    parser.add_argument("--steps", type=int, default=5, help="steps in a block")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = load(options.rows)
    print(f"784-200-200-50, {len(data.train)} images, one thread")
    with own_store():
        for batch_size in options.batch_sizes:
            compare(data, batch_size, options.blocks, options.steps)
    seconds = checkpoint_seconds(bv.load_data(data.train.values[:1000]))
    print(f"a checkpoint on disk, once an epoch: {seconds * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
