"""A traced batch whose discrete latent is given, value by value."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor

from bayes_vae.errors import ProgramError
from bayes_vae.terms.containers import Draw, join_particles
from bayes_vae.terms.layout import Site, latent_sites
from bayes_vae.terms.traced import TracedBatch

__all__ = ["EnumeratedBatch"]


class EnumeratedBatch(TracedBatch):
    """A batch of observations, drawn for with one latent set."""

    def draw_given(self, name: str, values: Tensor) -> tuple[Draw, Tensor]:
        """Draw the other latents where one is given; draws come from torch's own generator.

        Args:
            name: of the given site.
            values: of it, shape (K, N, *rest).

        Returns:
            the draw of all K particles, and the given site's own part of ``log_guide``, shape (K, N).
        """
        if self.pair.particles == "loop" and len(values) > 1:
            runs = [self.draw_given(name, value.unsqueeze(0)) for value in values]
            return join_particles([draw for draw, _ in runs]), torch.cat([own for _, own in runs])
        layout, dim = self._particle_layout(len(values)), self.pair.layout.guide_dim

        def supply(site_name: str, site: Site) -> Tensor:
            if site_name == name:
                return layout.to_site(values, dim, len(site["fn"].batch_shape))
            return self._drawn(site_name, site)

        guide_trace, model_trace = self._trace(layout, supply)
        own = layout.per_observation(name, latent_sites(guide_trace)[name], dim)
        return self._read(layout, guide_trace, model_trace), own

    def values_of(self, name: str) -> Tensor:
        """All values that a discrete latent of the guide can have, shape (C, *event).

        Raises:
            ProgramError: they cannot be listed, one observation has several of this site, or the site is masked.
        """
        layout = self._particle_layout(1)
        site = latent_sites(self._trace(layout, None)[0])[name]
        fn = site["fn"]
        rest = layout.from_site(site["value"], self.pair.layout.guide_dim, len(fn.batch_shape)).shape[2:]
        try:
            values: Tensor = fn.enumerate_support(expand=False)
        except NotImplementedError as error:
            raise ProgramError(
                f"the values of the discrete latent {name!r}, a {type(fn).__name__}, cannot be listed ({error}). "
                "Expected a site with few values, such as Categorical or Bernoulli."
            ) from error
        masked = site["mask"] is not None or isinstance(fn, dist.MaskedDistribution)
        if masked or rest.numel() != fn.event_shape.numel():
            fault = "is masked" if masked else f"has {rest.numel()} values for one observation"
            raise ProgramError(
                f"the discrete latent {name!r} {fault}: expected one value for each observation, over which to sum. "
                "Train this pair with pyro.infer.TraceEnum_ELBO."
            )
        return values.reshape(-1, *fn.event_shape)
