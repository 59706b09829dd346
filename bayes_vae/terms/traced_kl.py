"""The closed-form KL of a traced pair, site by site: refused where a draw of another latent moves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bayes_vae.distributions import analytic_kl, analytic_kl_per_dimension, is_point_mass
from bayes_vae.errors import NotDefinedError
from bayes_vae.terms.layout import PairLayout, Site, latent_sites
from bayes_vae.terms.particles import ParticleLayout
from bayes_vae.terms.tracing import Supply

__all__ = ["TracedKl"]

HAS_PARENT = (
    "the KL has no closed form here: a latent site depends on another latent, so its KL differs between draws. "
    'Use kl="sampled".'
)

SiteKl = Callable[[str, Site, Site], Tensor]
"""From the name of a latent and its sites in guide and model to its KL."""


@dataclass(frozen=True, eq=False)
class TracedKl:
    """KL(q(z given x) to p(z)) of a batch, from the distributions at its latent sites.

    Attributes:
        layout: where the sites lie.
        particles: of two particles at once, or of one at a time.
        trace: runs guide and model with given latents.
    """

    layout: PairLayout
    particles: ParticleLayout
    trace: Callable[[Supply], tuple[Any, Any]]

    def kl_by_site(self) -> dict[str, Tensor]:
        """Closed-form KL(q(z given x) to p(z)) of each latent site, shape (N,).

        Raises:
            NotDefinedError: a site has no closed form, is masked, or depends on another latent.
        """
        self._refuse_unknown_parents()
        return self._two_runs(self._site_kl)

    def _refuse_unknown_parents(self) -> None:
        """Two draws of a discrete latent may coincide, and then do not show what depends on it."""
        layout = self.layout
        if len(layout.latents) > 1 and layout.not_reparameterized:
            raise NotDefinedError(
                f"latent site {layout.not_reparameterized[0]!r} is one of {len(layout.latents)} and has no rsample: "
                'whether another latent depends on it cannot be seen from a few draws. Use kl="sampled".'
            )

    def kl_per_dimension(self) -> Tensor:
        """Closed-form KL of each latent dimension, shape (N, D); one latent site with one event dimension."""
        names = self.layout.latents
        if len(names) > 1:
            raise NotDefinedError(
                f"kl_per_dimension is defined for one latent site, this pair has {list(names)}. Use kl_to_prior."
            )
        return self._two_runs(self._site_kl_per_dimension)[names[0]]

    def _two_runs(self, kl_of_site: SiteKl) -> dict[str, Tensor]:
        """The KL of each site, of two particles, neither of which may depend on a latent."""
        runs = [self._kl_of_run(kl_of_site) for _ in range(2 // self.particles.num_particles)]
        both = {name: torch.cat([run[name] for run in runs]) for name in runs[0]}
        if not all(torch.allclose(kl[0], kl[1], rtol=1e-5, atol=1e-6) for kl in both.values()):
            raise NotDefinedError(HAS_PARENT)
        return {name: kl[0] for name, kl in both.items()}

    def _kl_of_run(self, kl_of_site: SiteKl) -> dict[str, Tensor]:
        """The KL of each site in one run; refused where a gradient shows that it depends on a latent."""
        leaves: list[Tensor] = []

        def supply(name: str, site: Site) -> Tensor:
            value: Tensor = site["fn"].sample()
            if value.is_floating_point():
                leaves.append(value.detach().requires_grad_())
                return leaves[-1]
            return value

        with torch.enable_grad():
            each = self._of_each_site(kl_of_site, supply)
            total = torch.stack([kl.sum() for kl in each.values()]).sum()
            if total.requires_grad and leaves:
                gradients = torch.autograd.grad(total, leaves, allow_unused=True, retain_graph=True)
                if any(gradient is not None for gradient in gradients):
                    raise NotDefinedError(HAS_PARENT)
        return each if torch.is_grad_enabled() else {name: kl.detach() for name, kl in each.items()}

    def _of_each_site(self, kl_of_site: SiteKl, supply: Supply) -> dict[str, Tensor]:
        guide_trace, model_trace = self.trace(supply)
        model_sites = latent_sites(model_trace)
        for name in latent_sites(guide_trace).keys() - model_sites.keys():
            raise NotDefinedError(
                f"guide site {name!r} is auxiliary, with no prior to compare it with: the KL has no closed form. "
                'Use kl="sampled".'
            )
        return {name: kl_of_site(name, site, model_sites[name]) for name, site in latent_sites(guide_trace).items()}

    def _site_kl(self, name: str, guide: Site, model: Site) -> Tensor:
        _refuse_masked(name, guide, model)
        kl = None if is_point_mass(guide["fn"]) else analytic_kl(guide["fn"], model["fn"])
        if kl is None:
            raise NotDefinedError(
                f"site {name!r}: no closed-form KL from {type(guide['fn']).__name__} to "
                f'{type(model["fn"]).__name__} is known. Use kl="sampled".'
            )
        return self.particles.reduce(name, guide, kl, self.layout.guide_dim)

    def _site_kl_per_dimension(self, name: str, guide: Site, model: Site) -> Tensor:
        _refuse_masked(name, guide, model)
        kl = analytic_kl_per_dimension(guide["fn"], model["fn"])
        values = self.particles.from_site(kl, self.layout.guide_dim, len(guide["fn"].batch_shape))
        return values.reshape(*values.shape[:2], -1)


def _refuse_masked(name: str, guide: Site, model: Site) -> None:
    if guide["mask"] is not None or model["mask"] is not None:
        raise NotDefinedError(f'latent site {name!r} is masked: its KL has no closed form. Use kl="sampled".')
