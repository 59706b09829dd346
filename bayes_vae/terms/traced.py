"""Terms read by tracing the guide and replaying the model: works on any pair of Pyro programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from bayes_vae.distributions import (
    draw_from_noise,
    is_point_mass,
    noise_like,
    noise_shape,
)
from bayes_vae.errors import ProgramError
from bayes_vae.terms.containers import Draw, JointTerms, ModelSite, join_particles
from bayes_vae.terms.layout import PairLayout, Site, check_observed, latent_sites, observed_sites, scaled_sites
from bayes_vae.terms.masks import Masked, masked_in_both, masked_numbers, refuse_dependence, same_masks
from bayes_vae.terms.observed_groups import by_observed_group
from bayes_vae.terms.particles import ParticleLayout
from bayes_vae.terms.program import Observations, Program
from bayes_vae.terms.randomness import KeyedNoise
from bayes_vae.terms.shared_noise import SharedNoise
from bayes_vae.terms.traced_kl import TracedKl
from bayes_vae.terms.tracing import Supply, run_model, run_pair

__all__ = ["TracedBatch", "TracedPair"]


@dataclass(frozen=True, eq=False)
class TracedPair:
    """Any pair of programs, with what the probe found out about it.

    Attributes:
        model, guide: the programs.
        layout: where the sites lie.
        particles: "plate", "repeat" or "loop".
        splittable: whether a batch of rows gives the same terms as the whole.
    """

    model: Program
    guide: Program
    layout: PairLayout
    particles: str
    splittable: bool
    source = "traces"

    @property
    def keyed(self) -> bool:
        """Whether noise is keyed by observation."""
        return self.layout.keyed

    @property
    def randomness(self) -> str:
        """What the noise is keyed by."""
        return "per observation" if self.keyed else "data blocks"

    @property
    def scaled(self) -> tuple[tuple[str, str], ...]:
        """(site, factor) of every scaled site."""
        return self.layout.scaled

    @property
    def discrete(self) -> tuple[str, ...]:
        """Latents with discrete values."""
        return self.layout.discrete

    @property
    def not_reparameterized(self) -> tuple[str, ...]:
        """Latents whose draws carry no gradient."""
        return self.layout.not_reparameterized

    @property
    def masks_latents(self) -> bool:
        """Whether a latent was seen under a mask."""
        return self.layout.masks_latents

    def bind(self, x: Observations, index: Tensor) -> TracedBatch:
        """A batch of observations."""
        return TracedBatch(self, x, index)


class TracedBatch:
    """A batch of observations, ready to be drawn for."""

    def __init__(self, pair: TracedPair, x: Observations, index: Tensor) -> None:
        self.pair, self.x, self.index = pair, x, index
        self.support_checked = False
        self.shared: SharedNoise | None = None
        self._masked: Masked | None = None

    @property
    def masked(self) -> Masked:
        """Numbers of z that these observations do not have, site → (N, *rest), bool; known from the first draw on."""
        return {name: where for name, where in (self._masked or {}).items() if bool(where.any())}

    def draw(self, particles: range, noise: KeyedNoise | None) -> Draw:
        """Draw latents and evaluate the three log densities; as ``ExposedBatch.draw``."""
        if self.pair.particles != "loop":
            return self._run(particles, noise)
        draws = [self._run(range(k, k + 1), noise) for k in particles]
        return join_particles(draws)

    def log_likelihood(self, particles: range, noise: KeyedNoise | None) -> Tensor:
        """Draw the same latents and evaluate log p(x given z) alone, shape (K, N); as ``ExposedBatch``."""
        return self.draw(particles, noise).log_likelihood

    def evaluate(self, latents: dict[str, Tensor]) -> Draw:
        """The three log densities at given latents, each of shape (K, N, *rest)."""
        count = len(next(iter(latents.values())))
        if self.pair.particles == "loop" and count > 1:
            each = ({name: value[k : k + 1] for name, value in latents.items()} for k in range(count))
            return join_particles([self.evaluate(one) for one in each])
        layout = self._particle_layout(count)
        return self._read(layout, *self._trace(layout, self._given(layout, latents)))

    def model_sites(self, latents: dict[str, Tensor]) -> list[ModelSite]:
        """The latent and observed sites of the model at given latents, each of shape (K, N, *rest); K = 1 in a loop."""
        layout = self._particle_layout(len(next(iter(latents.values()))))
        return self._model_sites(layout, self._trace(layout, self._given(layout, latents))[1])

    def model_sites_alone(self, latents: dict[str, Tensor]) -> list[ModelSite]:
        """The same from a run of the model without its guide."""
        return self._model_sites(*self._run_model(1, latents))

    def observed_sites_at(self, latents: dict[str, Tensor] | None) -> list[ModelSite]:
        """The observed sites at given latents of one particle, or at a draw of the prior where they are None."""
        sites = self._model_sites(*self._run_model(1, latents))
        return [site for site in sites if site.name not in self.pair.layout.latents]

    def guide_alone(self) -> tuple[ParticleLayout, Any]:
        """The trace of a run of the guide for one particle, and how it is laid out."""
        layout = self._particle_layout(1)
        x, index, plate = self._laid_out(layout)
        return layout, run_model(self.pair.guide, x, index, None, plate)

    def _model_sites(self, layout: ParticleLayout, trace: Any) -> list[ModelSite]:
        return self._sites_of(layout, trace, self.pair.layout.model_dim)

    def _sites_of(self, layout: ParticleLayout, trace: Any, dim: int) -> list[ModelSite]:
        """The latent and observed sites of a run of the guide or the model."""

        def to_rows(values: Tensor, num_batch_dims: int) -> Tensor:
            return layout.from_site(values, dim, num_batch_dims)

        sites = {**latent_sites(trace), **observed_sites(trace)}
        return [
            ModelSite(name, site["fn"], site["value"], site["mask"], to_rows)
            for name, site in sites.items()
            if site["value"].numel() > 0  # pyro.factor
        ]

    def _given(self, layout: ParticleLayout, latents: dict[str, Tensor]) -> Supply:
        dim = self.pair.layout.guide_dim

        def supply(name: str, site: Site) -> Tensor:
            if is_point_mass(site["fn"]):
                return _point_of(site)
            return layout.to_site(latents[name], dim, len(site["fn"].batch_shape))

        return supply

    def log_joint(self, latents: dict[str, Tensor]) -> JointTerms:
        """The model's log densities at given latents, each of shape (K, N, *rest)."""
        each = self.log_densities(latents)
        sides = ([values for name, values in each.items() if (name in latents) is latent] for latent in (True, False))
        return JointTerms(*(torch.stack(side).sum(0) for side in sides))

    def log_densities(self, latents: dict[str, Tensor]) -> dict[str, Tensor]:
        """The model's log density of each latent and observed site at given latents, each of shape (K, N)."""
        count = len(next(iter(latents.values())))
        if self.pair.particles == "loop" and count > 1:
            each = ({name: value[k : k + 1] for name, value in latents.items()} for k in range(count))
            runs = [self.log_densities(one) for one in each]
            return {name: torch.cat([run[name] for run in runs]) for name in runs[0]}
        layout, trace = self._run_model(count, latents)
        if self._masked is not None:
            now = masked_numbers(layout, latent_sites(trace), self.pair.layout.model_dim)
            same_masks({name: where.unsqueeze(0) for name, where in self._masked.items()}, now)
        sites = {**latent_sites(trace), **observed_sites(trace)}
        return {name: layout.per_observation(name, site, self.pair.layout.model_dim) for name, site in sites.items()}

    def supports(self) -> dict[str, constraints.Constraint]:
        """Where each latent lives."""
        _, trace = self._run_model(1, None)
        return {name: site["fn"].support for name, site in latent_sites(trace).items()}

    def _run_model(self, num_particles: int, latents: dict[str, Tensor] | None) -> tuple[ParticleLayout, Any]:
        layout, dim = self._particle_layout(num_particles), self.pair.layout.model_dim

        def supply(name: str, site: Site) -> Tensor:
            values = (latents or {})[name]
            return layout.to_site(values, dim, len(site["fn"].batch_shape))

        x, index, plate = self._laid_out(layout)
        return layout, run_model(self.pair.model, x, index, supply if latents else None, plate)

    def _particle_layout(self, num_particles: int) -> ParticleLayout:
        layout = self.pair.layout
        return ParticleLayout(self.pair.particles, -layout.max_plate_nesting - 1, num_particles, len(self.index))

    def _trace(self, layout: ParticleLayout, supply: Supply | None) -> tuple[Any, Any]:
        x, index, plate = self._laid_out(layout)
        return run_pair(self.pair.model, self.pair.guide, x, index, supply, plate)

    def _laid_out(self, layout: ParticleLayout) -> tuple[Observations, Tensor, tuple[int, int] | None]:
        """The observations, their indices and the outer plate with which so many particles are run."""
        count = layout.num_particles
        if layout.strategy == "plate":
            return self.x, self.index, (count, layout.particle_dim)
        if count == 1:
            return self.x, self.index, None
        x = tuple(part.repeat(count, *(1,) * (part.dim() - 1)) for part in self.x)
        return x, self.index.repeat(count), None

    def _run(self, particles: range, noise: KeyedNoise | None) -> Draw:
        layout = self._particle_layout(len(particles))
        supply: Supply | None = self._drawn if self.shared is not None else None
        if noise is not None:
            supply = self._keyed_supply(layout, particles, noise)
        return self._read(layout, *self._trace(layout, supply))

    def _drawn(self, name: str, site: Site) -> Tensor:
        """A draw of a latent of the guide, from torch's own generator."""
        fn = site["fn"]
        if self.shared is None or is_point_mass(fn):
            value: Tensor = fn.rsample()
            return value
        return self.shared.draw(name, fn, len(fn.batch_shape) + self.pair.layout.guide_dim)

    def _keyed_supply(self, layout: ParticleLayout, particles: range, noise: KeyedNoise) -> Supply:
        dim = self.pair.layout.guide_dim

        def supply(name: str, site: Site) -> Tensor:
            fn = site["fn"]
            if is_point_mass(fn):
                return _point_of(site)
            num_batch_dims = len(fn.batch_shape)
            shape = list(noise_shape(fn))
            taken = {num_batch_dims + dim}
            if layout.strategy == "plate":
                taken.add(num_batch_dims + layout.particle_dim)
            local = [size for position, size in enumerate(shape) if position not in taken]
            values = noise.normal(name, self.index, particles, local, noise_like(fn))
            return draw_from_noise(fn, layout.to_site(values, dim, num_batch_dims))

        return supply

    def _read(self, layout: ParticleLayout, guide_trace: Any, model_trace: Any) -> Draw:
        pair = self.pair.layout
        observed = observed_sites(model_trace)
        self._check_support(observed)
        latents = latent_sites(guide_trace)
        self._refuse_new_scales({**latents, **latent_sites(model_trace), **observed})

        def each(sites: dict[str, Site], dim: int) -> dict[str, Tensor]:
            return {name: layout.per_observation(name, site, dim) for name, site in sites.items()}

        prior, guide = each(latent_sites(model_trace), pair.model_dim), each(latents, pair.guide_dim)
        likelihood = each(observed, pair.model_dim)
        draw = Draw(
            _sum_of_sites(prior),
            _sum_of_sites(likelihood),
            _sum_of_sites(guide),
            {
                name: layout.from_site(site["value"], pair.guide_dim, len(site["fn"].batch_shape))
                for name, site in latents.items()
            },
            by_observed_group(layout, observed, likelihood, pair.model_dim),
            {name: log_q - prior.get(name, 0.0) for name, log_q in guide.items()} if len(guide) > 1 else {},
        )
        self._look_at_masks(layout, (guide_trace, model_trace), draw.latents)
        return draw

    def _look_at_masks(self, layout: ParticleLayout, traces: tuple[Any, Any], latents: dict[str, Tensor]) -> None:
        """Refuse masked latents that leave no proper evidence; the first draw looks at what depends on them.

        A step of training looks at the masks alone: its programs may drop units at random, and then every term moves.
        """
        masked = masked_in_both(layout, self.pair.layout, traces, self.index)
        if self._masked is not None:
            same_masks(self._masked, masked)
        elif masked and not torch.is_grad_enabled():
            one = {name: value[:1] for name, value in latents.items()}
            single = self._particle_layout(1)
            refuse_dependence(
                lambda supply: self._trace(single, supply), single, self.pair.layout, one, masked, self.index
            )
        self._masked = masked

    def _refuse_new_scales(self, sites: dict[str, Site]) -> None:
        """Scales are looked at when a pair is first read; one that comes later must not pass in silence."""
        known = {site for site, _ in self.pair.layout.scaled}
        for name, factor in scaled_sites(sites):
            if name not in known:
                raise ProgramError(
                    f"site {name!r} is now scaled by {factor}, and was not when this pair was first read. Terms are "
                    "evaluated at weight 1, and Elbo takes the weight of the KL as Elbo(kl_weight=...): remove "
                    "poutine.scale, or train with pyro.infer.Trace_ELBO, which honours it."
                )

    def _check_support(self, observed: dict[str, Site]) -> None:
        if not self.support_checked:
            for name, site in observed.items():
                check_observed(name, site["fn"], site["value"], site["mask"], self.x, self.index)
            self.support_checked = True

    def kl_by_site(self) -> dict[str, Tensor]:
        """Closed-form KL(q(z given x) to p(z)) of each latent site, shape (N,).

        Raises:
            NotDefinedError: a site has no closed form, is masked, or depends on another latent.
        """
        return self._closed_form().kl_by_site()

    def kl_per_dimension(self) -> Tensor:
        """Closed-form KL of each latent dimension, shape (N, D); one latent site with one event dimension."""
        return self._closed_form().kl_per_dimension()

    def _closed_form(self) -> TracedKl:
        layout = self._particle_layout(2 if self.pair.particles != "loop" else 1)
        return TracedKl(self.pair.layout, layout, lambda supply: self._trace(layout, supply))


def _sum_of_sites(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum(0)


def _point_of(site: Site) -> Tensor:
    """The one value of a point mass, a function of the latents before it."""
    value: Tensor = site["fn"].rsample()
    return value
