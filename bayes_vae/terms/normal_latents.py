"""A traced pair whose latents are normals with independent dimensions, given x and what stands beside it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from bayes_vae.distributions import analytic_kl_per_dimension, diagonal_normal, normal_parts
from bayes_vae.distributions.properties import unwrap
from bayes_vae.errors import NotDefinedError
from bayes_vae.terms.containers import Draw, JointTerms, ModelSite
from bayes_vae.terms.dependence import base_and_masks
from bayes_vae.terms.layout import Site
from bayes_vae.terms.program import Observations
from bayes_vae.terms.randomness import KeyedNoise
from bayes_vae.terms.rows import Rows
from bayes_vae.terms.traced import TracedBatch, TracedPair

__all__ = ["NormalBatch", "NormalLatents", "normal_latents", "numbers_of"]

PROBED = 3
"""Observations in which latents are looked at for parents."""


class NormalLatents(TracedPair):
    """A traced pair, its latent sites read as one vector z = (z_1, z_2, …) of all their numbers.

    Both programs give z a normal with independent dimensions, of a mean and a deviation that x and what stands beside
    it set, so that p(z given y) and q(z given x, y) are known at each observation. The likelihood may be of several
    sites, masked, or see numbers of x that stand before others.
    """

    def bind(self, x: Observations, index: Tensor) -> NormalBatch:
        """A batch of observations, in which both programs have run once."""
        return NormalBatch(self, x, index)


def normal_latents(pair: TracedPair, rows: Rows) -> NormalLatents:
    """Read the latents of a traced pair as one normal vector.

    Args:
        pair: with latents that are normals with independent dimensions in both programs, unmasked, whose parameters no
            latent moves.
        rows: observations, of which the first few are looked at.

    Raises:
        NotDefinedError: another pair; the message names the site.
    """
    if pair.masks_latents:
        raise NotDefinedError("a latent site is masked, so z has other numbers for each observation.")
    found = NormalLatents(pair.model, pair.guide, pair.layout, pair.particles, pair.splittable)
    few = rows.take(slice(0, PROBED))
    found.bind(few.read(), few.index).refuse_parents()
    return found


class NormalBatch(TracedBatch):
    """A batch of such a pair.

    Attributes:
        numbers: names of the numbers of z, in order, as they stand in findings.
    """

    pair: NormalLatents

    def __init__(self, pair: NormalLatents, x: Observations, index: Tensor) -> None:
        super().__init__(pair, x, index)
        self._shapes: dict[str, torch.Size] = {}
        guide, model = self._normals(None)
        self._q, self._prior = (
            tuple(torch.cat(column, -1) for column in zip(*each, strict=True)) for each in (guide, model)
        )

    @property
    def variational_posterior(self) -> dist.TorchDistribution:
        """q(z given x), batch shape (N,), event shape (D,)."""
        return diagonal_normal(*self._q)

    @property
    def prior(self) -> dist.TorchDistribution:
        """p(z), given what stands beside x, batch shape (N,), event shape (D,)."""
        return diagonal_normal(*self._prior)

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """The names."""
        return tuple(f"{name}_{d}" for name, shape in self._shapes.items() for d in range(shape.numel()))

    def split(self, z: Tensor) -> dict[str, Tensor]:
        """The latent of each site, (K, N, *rest), from z of shape (K, N, D)."""
        parts = z.split([shape.numel() for shape in self._shapes.values()], -1)
        return {
            name: part.reshape(*z.shape[:-1], *shape)
            for (name, shape), part in zip(self._shapes.items(), parts, strict=True)
        }

    def draw(self, particles: range, noise: KeyedNoise | None) -> Draw:
        """Draw z and evaluate the three log densities; as ``ExposedBatch.draw``."""
        loc, scale = self._q
        if noise is None:
            return super().draw(particles, noise)
        return self.evaluate(self.split(loc + scale * noise.normal("z", self.index, particles, loc.shape[1:], loc)))

    def log_joint(self, latents: dict[str, Tensor]) -> JointTerms:
        """The model's log densities at given latents of each site, or at z of shape (K, N, D)."""
        return super().log_joint(self.split(latents["z"]) if latents.keys() == {"z"} else latents)

    def log_likelihood_at(self, z: Tensor) -> Tensor:
        """log p(x given z, y) of what was observed, for z of shape (K, N, D); shape (K, N), nats."""
        return self.log_joint({"z": z}).log_likelihood

    def kl_per_dimension(self) -> Tensor:
        """Closed-form KL of each number of z, shape (N, D)."""
        return analytic_kl_per_dimension(self.variational_posterior, self.prior)

    def refuse_parents(self) -> None:
        """Refuse a latent whose mean or deviation, in either program, another latent moves."""
        leaves: dict[str, Tensor] = {}

        def supply(name: str, site: Site) -> Tensor:
            leaves[name] = site["fn"].sample().detach().requires_grad_()
            return leaves[name]

        with torch.enable_grad():
            sides = self._normals(supply)
            total = torch.stack([part.sum() for side in sides for parts in side for part in parts]).sum()
            if total.requires_grad:
                gradients = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
                parents = [name for name, found in zip(leaves, gradients, strict=True) if found is not None]
                if parents:
                    raise NotDefinedError(f"another latent depends on {parents[0]!r}, so z is no one normal vector.")

    def _normals(self, supply: Any) -> tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]:
        """Means and deviations, each (N, d), of each latent site in the guide, then in the model."""
        layout = self._particle_layout(1)
        traces = self._trace(layout, supply)
        sides: list[list[tuple[Tensor, Tensor]]] = []
        for trace, dim, what in zip(
            traces, (self.pair.layout.guide_dim, self.pair.layout.model_dim), ("q of", "the prior of"), strict=True
        ):
            sites = [site for site in self._sites_of(layout, trace, dim) if site.name in self.pair.layout.latents]
            by_name = {site.name: site for site in sites}
            if by_name.keys() != set(self.pair.layout.latents):
                raise NotDefinedError("a latent of one program is not in the other, so there is no prior to each q.")
            found = {name: _normal_rows(by_name[name], what) for name in self.pair.layout.latents}
            self._shapes = {name: parts[0].shape[1:] for name, parts in found.items()}
            sides.append([(loc.reshape(len(loc), -1), scale.reshape(len(loc), -1)) for loc, scale in found.values()])
        return sides[0], sides[1]


def numbers_of(site: ModelSite) -> tuple[Any, Tensor, Tensor, Tensor]:
    """The family of an observed site, its parameters and the numbers that it holds, all of one particle.

    Returns:
        the distribution of one number; logits, or means, and deviations, each (N, numbers), empty where the family is
        neither Bernoulli nor normal; the numbers, (N, numbers), NaN where a mask hides them.
    """
    base, masks = base_and_masks(site)
    base = base.numbers() if base.event_shape and hasattr(base, "numbers") else base
    dims = len(site.fn.batch_shape)
    value = site.value.expand(site.fn.batch_shape + site.fn.event_shape)
    value = value if value.is_floating_point() else value.to(torch.get_default_dtype())
    hidden = torch.zeros(value.shape, dtype=torch.bool, device=value.device)
    for mask in masks:
        mask = mask.to(value.device)
        hidden = hidden | ~mask.reshape(*mask.shape, *(1,) * (value.dim() - max(mask.dim(), dims)))
    given = [getattr(base, name, None) for name in (("loc", "scale") if hasattr(base, "loc") else ("logits", "logits"))]
    alone = [None if part is None or part.shape != base.batch_shape else part for part in given]  # one for each number
    shaped = [None if part is None else part.expand(value.shape) for part in alone]
    parts = [part for part in (value.masked_fill(hidden, torch.nan), *shaped) if part is not None]
    numbers, *parameters = (rows.reshape(len(rows), -1) for rows in (site.to_rows(part, dims)[0] for part in parts))
    empty = numbers[:, :0]
    return base, *(parameters or [empty, empty]), numbers


def _normal_rows(site: ModelSite, what: str) -> tuple[Tensor, Tensor]:
    """Means and deviations of a site, each (N, *rest)."""
    parts = normal_parts(site.fn)
    if parts is None:
        raise NotDefinedError(
            f"{what} site {site.name!r} is {type(unwrap(site.fn)).__name__}, and no normal with independent dimensions."
        )
    shape = site.fn.batch_shape + site.fn.event_shape
    loc, scale = (site.to_rows(part.expand(shape), len(site.fn.batch_shape))[0] for part in parts)
    return loc, scale
