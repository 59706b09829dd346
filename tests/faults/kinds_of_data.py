"""The data of the wild suite: digits, counts, tables, sequences, and colour images, a few hundred rows each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bayes_vae.data import Data, load_data

__all__ = ["digits", "discs", "factors", "mnist", "patches", "table", "waves", "words"]


def digits(policy: Any, kind: Any = None) -> Callable[[int], Data]:
    """scikit-learn's digits."""
    return lambda seed: load_data("digits", policy=policy, kind=kind)


def table(seed: int) -> Data:
    """scikit-learn's table of breast cancers: 569 rows, 30 columns, standardized."""
    from sklearn.datasets import load_breast_cancer

    return _standardized(load_breast_cancer().data)


def factors(seed: int) -> Data:
    """1,000 rows of 12 numbers that are bent functions of three hidden ones, standardized."""
    generator = np.random.default_rng(seed)
    hidden = generator.normal(size=(1000, 3))
    values = np.tanh(hidden @ generator.normal(size=(3, 12))) + 0.3 * hidden @ generator.normal(size=(3, 12))
    return _standardized(values + 0.15 * generator.normal(size=values.shape))


def _standardized(values: Any) -> Data:
    return load_data(((values - values.mean(0)) / values.std(0)).astype("float32"), kind="real", policy="none")


def words(seed: int) -> Data:
    """1,200 documents of counts of 30 words, from four topics."""
    generator = np.random.default_rng(seed)
    topics = generator.dirichlet(np.full(30, 0.2), 4)
    shares = generator.dirichlet(np.full(4, 0.4), 1200)
    return load_data(generator.poisson(60 * shares @ topics).astype("int32"), kind="counts", policy="none")


def discs(seed: int) -> Data:
    """1,000 colour images, 3 × 8 × 8: a disc of one colour on another, with noise."""
    generator = torch.Generator().manual_seed(seed)
    across = torch.linspace(-1, 1, 8)
    centre = torch.rand(1000, 2, 1, 1, generator=generator) - 0.5
    distance = (across.view(1, 1, -1) - centre[:, 0]) ** 2 + (across.view(1, -1, 1) - centre[:, 1]) ** 2
    inside = torch.sigmoid(12 * (0.3 - distance))
    front, back = torch.rand(2, 1000, 3, 1, 1, generator=generator)
    image = inside[:, None] * front + (1 - inside[:, None]) * 0.4 * back
    image = (image + 0.05 * torch.randn(image.shape, generator=generator)).clamp(0, 1)
    return load_data((255 * image).round().byte(), kind="gray", policy="none")


def patches(seed: int) -> Data:
    """1,500 patches of scikit-learn's two sample photographs, 3 × 6 × 6, each cell the mean of 4 × 4 pixels."""
    from sklearn.datasets import load_sample_images

    generator = np.random.default_rng(seed)
    photographs = [torch.tensor(image).permute(2, 0, 1).float() for image in load_sample_images().images]
    small = [torch.nn.functional.avg_pool2d(image, 4) for image in photographs]
    places = zip(generator.integers(2, size=1500), generator.integers(100, size=1500), strict=True)
    cut = [small[which][:, row : row + 6, 6 * (n % 25) : 6 * (n % 25) + 6] for n, (which, row) in enumerate(places)]
    return load_data(torch.stack(cut).round().byte(), kind="gray", policy="none")


def waves(seed: int) -> Data:
    """1,200 sequences of 12 zeros and ones: whether a wave of random phase and length is up, with some flips."""
    generator = np.random.default_rng(seed)
    phase, length = 2 * math.pi * generator.random((1200, 1)), generator.uniform(6, 20, (1200, 1))
    up = np.sin(2 * math.pi * np.arange(12) / length + phase) > 0
    return load_data((up ^ (generator.random(up.shape) < 0.03)).astype("uint8"), kind="binary", policy="none")


def mnist(count: int) -> Callable[[int], Data]:
    """The first training images of MNIST at half their size, thresholded."""

    def load(seed: int) -> Data:
        gray = load_data("mnist", policy="none").train.values[:count]
        return load_data(gray.reshape(-1, 28, 28)[:, ::2, ::2], kind="gray", policy="threshold")

    return load
