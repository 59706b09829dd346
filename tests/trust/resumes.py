"""Trainings interrupted at one step after another, in several configurations: resumed, they are the whole, bit for bit.

``python -m trust.resumes --every 1`` prints how many interruptions there were of each, as JSON.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import warnings
from pathlib import Path

import torch

import bayes_vae as bv
from bayes_vae.settings import PairSettings
from bayes_vae.training import build_pair
from bayes_vae.training.loop import Training

EPOCHS = 2
STEPS = 3 * EPOCHS

CONFIGURATIONS = {
    "plain": ({}, {}),
    "full covariance": ({"guide": "full-covariance"}, {}),
    "flow": ({"guide": "autoregressive-flow"}, {}),
    "local": ({"guide": "local"}, {}),
    "semi-amortized": ({"guide": "semi-amortized"}, {}),
    "mixture prior": ({"prior": "mixture", "num_components": 3}, {}),
    "vamp prior": ({"prior": "vamp", "num_components": 3}, {}),
    "two layers": ({"structure": "two-layer", "top_latent_dim": 2, "top_hidden_dims": (4,)}, {}),
    "bound": ({}, {"objective": "importance-weighted", "num_particles": 3}),
    "warm-up": ({}, {"kl_warmup_epochs": 1, "clip_norm": 1.0}),
    "steps": ({}, {"schedule": "steps", "step_epochs": 1}),
    "float64": ({}, {"precision": "64"}),
    "bfloat16": ({}, {"precision": "bf16-mixed"}),
    "checkpoints": ({}, {"checkpoint_every_steps": 1}),
}
"""What is trained, and how."""


def data():
    """Sixty small gray images, binarized anew at each use."""
    generator = torch.Generator().manual_seed(0)
    return bv.load_data(torch.randint(0, 256, (60, 4), generator=generator, dtype=torch.uint8), policy="stochastic")


def train(rows, networks, **options):
    """Train a pair anew."""
    pair = build_pair(PairSettings(**{"latent_dim": 2, "hidden_dims": (8,), **networks}), rows)
    return bv.fit(*pair, rows, progress="none", **options)


def fingerprint(run):
    """All that a training comes to, but for the time that it took."""
    history = [[(key, row[key]) for key in sorted(row) if "seconds" not in key] for row in run.history]
    states = (run.best_state, run.last_state, run.checkpoint.optimizer, run.checkpoint.random)
    numbers = [[(key, state[key].dtype, state[key].tolist()) for key in sorted(state)] for state in states]
    return repr((history, numbers, run.best_epoch))  # NaN is NaN


def interrupt_in(step):
    """Let Ctrl-C come within a step, counted from the start; what puts the method back."""
    whole = Training.step

    def interrupted(self):
        if self.total_steps + 1 == step:
            os.kill(os.getpid(), signal.SIGINT)
        whole(self)

    Training.step = interrupted
    return lambda: setattr(Training, "step", whole)


def resumes(every: int) -> dict[str, int]:
    """Interrupt each configuration in every n-th step; configuration → how many resumed bit for bit."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets its background processes ignore it
    counts, rows = {}, data()
    for name, (networks, options) in CONFIGURATIONS.items():
        options = {"epochs": EPOCHS, "batch_size": 17, "learning_rate": 1e-2, **options}
        expected = fingerprint(train(rows, networks, **options))
        counts[name] = 0
        for step in range(1 + len(counts) % every, STEPS, every):
            folder = Path(tempfile.mkdtemp())
            put_back = interrupt_in(step)
            try:
                interrupted = train(rows, networks, out=folder / "run", **options).interrupted
            except KeyboardInterrupt:  # before the first epoch was done
                interrupted = True
            finally:
                put_back()
            assert interrupted, f"{name}, step {step}: Ctrl-C was not heard"
            found = fingerprint(train(rows, networks, resume=folder / "run"))
            assert found == expected, f"{name}, interrupted in step {step}: another training"
            shutil.rmtree(folder)
            counts[name] += 1
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.stdout.write(json.dumps(resumes(parser.parse_args().every)))
