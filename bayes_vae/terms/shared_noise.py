"""Noise for a batch that several processes share: each draws that of the whole batch and takes its rows.

So the noise of a row does not depend on how many processes there are, and is what one process alone would draw.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Size, Tensor

from bayes_vae.distributions import draw_from_noise, has_normal_base, noise_like, noise_parts
from bayes_vae.errors import ProgramError

__all__ = ["SharedNoise"]


class SharedNoise:
    """Standard-normal noise for some rows of a batch, from torch's own generator, which is at the same place in all.

    Args:
        rows: which rows of the batch are this process's.
        count: rows of the batch.
        device: where noise is drawn.
    """

    def __init__(self, rows: slice, count: int, device: torch.device) -> None:
        self.rows, self.count, self.device = rows, count, device
        self._states = self._read()

    def draw(self, name: str, fn: Any, axis: int, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """A reparameterized draw of a distribution for the own rows: what ``rsample`` of the whole batch has there.

        Args:
            name: of the latent site.
            fn: its distribution, of the own rows.
            axis: of the draw, along which the rows lie, particle by particle where it holds several.
            sample_shape: what stands before the distribution's own shape.

        Raises:
            ProgramError: a draw is no function of normal noise.
        """
        if not has_normal_base(fn):
            raise ProgramError(
                f"latent {name!r} is drawn from a {type(fn).__name__}, but several processes share only normal draws "
                "and functions of them: other draws would not be those of one process. Train this pair in one "
                "process."
            )
        shapes = (Size((*sample_shape, *shape)) for shape in noise_parts(fn))
        return draw_from_noise(fn, torch.cat([self._normal(shape, axis, noise_like(fn)) for shape in shapes], -1))

    def _normal(self, shape: Size, axis: int, like: Tensor) -> Tensor:
        """The noise of the whole batch, and of it the own rows, of a shape."""
        self.check()
        own = self.rows.stop - self.rows.start
        repeats = shape[axis] // own
        drawn = torch.randn(
            (*shape[:axis], repeats * self.count, *shape[axis + 1 :]), dtype=like.dtype, device=self.device
        )
        self._states = self._read()
        places = torch.arange(self.rows.start, self.rows.stop, device=self.device)
        starts = self.count * torch.arange(repeats, device=self.device)
        return drawn.index_select(axis, (starts.unsqueeze(1) + places).flatten())

    def check(self) -> None:
        """Refuse a pair that drew something itself, of its own rows alone.

        Raises:
            ProgramError: says what to do.
        """
        if not all(torch.equal(now, then) for now, then in zip(self._read(), self._states, strict=True)):
            raise ProgramError(
                "the pair draws something beside its latents, as dropout does, and several processes share the draws "
                "of the latents alone: the result would not be that of one process. Remove the dropout, or train this "
                "pair in one process."
            )

    def _read(self) -> tuple[Tensor, ...]:
        cuda = (torch.cuda.get_rng_state(self.device),) if self.device.type == "cuda" else ()
        return torch.get_rng_state(), *cuda
