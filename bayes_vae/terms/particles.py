"""The three ways to run a traced pair for K particles, and the way back to (K, N)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyro.distributions.util import scale_and_mask
from torch import Tensor

from bayes_vae.distributions import in_support_where_masked
from bayes_vae.errors import ProgramError
from bayes_vae.terms.program_errors import density_error

__all__ = ["ParticleLayout"]


@dataclass(frozen=True)
class ParticleLayout:
    """How K particles of N observations lie in the batch dimensions of a site.

    Attributes:
        strategy: "plate" (an outer plate), "repeat" (K·N observations, particle by particle) or "loop" (K = 1).
        particle_dim: dim of the outer plate.
        num_particles, num_observations: K and N.
    """

    strategy: str
    particle_dim: int
    num_particles: int
    num_observations: int

    def to_site(self, values: Tensor, frame_dim: int, num_batch_dims: int) -> Tensor:
        """Lay values of shape (K, N, *rest) out as a site with so many batch dimensions has them."""
        frame = num_batch_dims + frame_dim
        if self.strategy == "plate":
            return values.movedim((0, 1), (num_batch_dims + self.particle_dim, frame))
        return values.flatten(0, 1).movedim(0, frame)

    def from_site(self, value: Tensor, frame_dim: int, num_batch_dims: int) -> Tensor:
        """The inverse of :meth:`to_site`: shape (K, N, *rest)."""
        frame = num_batch_dims + frame_dim
        if self.strategy == "plate":
            return value.movedim((num_batch_dims + self.particle_dim, frame), (0, 1))
        rows = value.movedim(frame, 0)
        return rows.reshape(self.num_particles, self.num_observations, *rows.shape[1:])

    def per_observation(self, name: str, site: Any, frame_dim: int) -> Tensor:
        """Log density of a site with its mask and without its scale, summed to (K, N)."""
        value = in_support_where_masked(site["fn"], site["value"], site["mask"])
        try:
            log_prob = site["fn"].log_prob(value, *site["args"], **site["kwargs"])
        except Exception as error:
            raise density_error(name, site, error) from error
        return self.reduce(name, site, scale_and_mask(log_prob, 1.0, site["mask"]), frame_dim)

    def reduce(self, name: str, site: Any, values: Tensor, frame_dim: int) -> Tensor:
        """Sum every batch dimension but particle and observation; shape (K, N)."""
        self._refuse_unowned(name, site, values)
        rows = self.num_observations * (1 if self.strategy == "plate" else self.num_particles)
        keep = {frame_dim: rows}
        if self.strategy == "plate":
            keep[self.particle_dim] = self.num_particles
        missing = -min(keep) - values.dim()
        values = values.reshape(*(1,) * max(0, missing), *values.shape)
        sizes = [keep.get(dim, values.shape[dim]) for dim in range(-values.dim(), 0)]
        others = [dim for dim in range(-values.dim(), 0) if dim not in keep]
        values = values.expand(sizes)
        summed = values.sum(others) if others else values
        return summed.reshape(self.num_particles, self.num_observations)

    def _refuse_unowned(self, name: str, site: Any, values: Tensor) -> None:
        """A batch dimension outside every plate belongs to no observation: its terms would be nonsense."""
        owned = {frame.dim for frame in site["cond_indep_stack"]}
        unowned = [dim for dim in range(-values.dim(), 0) if values.shape[dim] != 1 and dim not in owned]
        if unowned:
            shape = tuple(site["fn"].batch_shape)
            raise ProgramError(
                f"site {name!r} has batch shape {shape}, whose dim {unowned[0]} of size {values.shape[unowned[0]]} "
                "belongs to no plate, so its log density cannot be told apart by observation. Declare the "
                f"dimensions of one observation with .to_event({max(1, len(shape) - len(owned))}), or put a "
                "pyro.plate around them."
            )
