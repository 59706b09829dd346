"""Noise that depends on what it is for, never on how the work was cut into batches.

Standard-normal noise comes in blocks of :data:`PARTICLE_BLOCK` particles. A block is one counter-based Philox
stream whose key is (seed, site) and whose counter is (observation index, block), so the streams of different
observations and blocks never overlap, and any of them can be drawn alone (Salmon et al. 2011, "Parallel random
numbers: as easy as 1, 2, 3").
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from bayes_vae.terms.isolation import PROCESS_STATE
from bayes_vae.terms.whole_numbers import seed_number

__all__ = ["PARTICLE_BLOCK", "KeyedNoise", "derived_seed", "isolated_rng"]

PARTICLE_BLOCK = 64
"""Particles in one block of keyed noise."""


def derived_seed(*words: int | str) -> int:
    """A 63-bit seed that is a fixed function of ``words``; an integer of any type counts as its number.

    >>> derived_seed(0, "z") == derived_seed(0, "z") != derived_seed(1, "z")
    True
    """
    return int.from_bytes(_digest(words)[:8], "little") >> 1


def _digest(words: Sequence[int | str]) -> bytes:
    plain = tuple(word if isinstance(word, str) else operator.index(word) for word in words)
    return hashlib.blake2b(repr(plain).encode(), digest_size=16).digest()


@contextmanager
def isolated_rng(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed torch's generators inside the block and restore the caller's state after it; other threads wait."""
    device, seed = torch.device(device), seed_number("seed", seed)
    devices = [device] if device.type == "cuda" else []
    with PROCESS_STATE, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


class KeyedNoise:
    """Noise keyed by (seed, site, observation index, block).

    Args:
        seed: a whole number; the same seed gives the same noise on every device, in every order and batch.
    """

    def __init__(self, seed: int) -> None:
        self.seed = operator.index(seed)
        self._bits = np.random.Philox(key=np.zeros(2, dtype=np.uint64))
        self._generator = np.random.Generator(self._bits)

    def _restart(self, key: np.ndarray, block: int, observation: int) -> None:
        state = self._bits.state
        state["state"] = {
            "key": key,
            "counter": np.array([0, 0, block, observation % 2**64], dtype=np.uint64),
        }
        state["buffer_pos"], state["has_uint32"], state["uinteger"] = 4, 0, 0
        self._bits.state = state

    def _key(self, site: str) -> np.ndarray:
        return np.frombuffer(_digest((self.seed, site)), dtype=np.uint64)

    def normal(self, site: str, index: Tensor, particles: range, shape: Sequence[int], like: Tensor) -> Tensor:
        """Standard-normal noise for some particles of some observations.

        Args:
            site: name of the latent site.
            index: observation indices, shape (N,).
            particles: which particles, e.g. ``range(0, 100)``.
            shape: shape of one draw.
            like: a tensor whose dtype and device the noise takes.

        Returns:
            shape (len(particles), N, *shape).
        """
        size = int(np.prod(shape, dtype=np.int64))
        noise = np.empty((len(index), len(particles), size))
        key = self._key(site)
        for row, observation in enumerate(index.tolist()):
            self._fill(noise[row], key, observation, particles)
        tensor = torch.from_numpy(noise).to(device=like.device, dtype=like.dtype)
        return tensor.transpose(0, 1).reshape(len(particles), len(index), *shape)

    def _fill(self, rows: np.ndarray, key: np.ndarray, observation: int, particles: range) -> None:
        """Fill (len(particles), size) block by block; a block is drawn from its start."""
        position = particles.start
        while position < particles.stop:
            block, offset = divmod(position, PARTICLE_BLOCK)
            count = min(PARTICLE_BLOCK - offset, particles.stop - position)
            self._restart(key, block, observation)
            drawn = self._generator.standard_normal((offset + count, rows.shape[1]))
            start = position - particles.start
            rows[start : start + count] = drawn[offset:]
            position += count

    def uniform_bytes(self, site: str, index: Tensor, size: int) -> Tensor:
        """Integers uniform on 0…254 for each observation, shape (N, size), uint8.

        A pixel of value v in 0…255 exceeds such a number with probability exactly v / 255.
        """
        noise = np.empty((len(index), size), dtype=np.uint8)
        key = self._key(site)
        for row, observation in enumerate(index.tolist()):
            self._restart(key, 0, observation)
            noise[row] = self._generator.integers(0, 255, size=size, dtype=np.uint8)
        return torch.from_numpy(noise)
