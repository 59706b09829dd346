"""Terms read off the distributions that a pair exposes: the fast implementation."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from bayes_vae.distributions import (
    analytic_kl,
    analytic_kl_per_dimension,
    draw_from_noise,
    has_normal_base,
    is_discrete,
    is_masked,
    is_point_mass,
    missing_in,
    noise_like,
    noise_shape,
    observed_part,
)
from bayes_vae.distributions.column_groups import ColumnGroups
from bayes_vae.distributions.observed import ObservedPart
from bayes_vae.errors import NotDefinedError, ProgramError, ShapeError
from bayes_vae.terms.containers import Draw, JointTerms, ModelSite
from bayes_vae.terms.layout import check_observed
from bayes_vae.terms.masks import Masked
from bayes_vae.terms.program import Observations, Program
from bayes_vae.terms.randomness import KeyedNoise
from bayes_vae.terms.rows import Rows
from bayes_vae.terms.shared_noise import SharedNoise
from bayes_vae.terms.traits import needs_index, traits_of

__all__ = ["ExposedBatch", "ExposedPair", "exposes_distributions"]


def exposes_distributions(model: Program, guide: Program) -> bool:
    """Whether both programs say that their terms may be read off their distributions."""
    return traits_of(model).exposes_distributions and traits_of(guide).exposes_distributions


class ExposedPair:
    """A model with ``prior()`` and ``likelihood(z)``, a guide with ``variational_posterior(x)``."""

    source = "distributions"
    particles = "vectorized"
    splittable = True
    masks_latents = False
    scaled: tuple[tuple[str, str], ...] = ()

    def __init__(self, model: Any, guide: Any, rows: Rows) -> None:
        self.model, self.guide = model, guide
        self.needs_index = needs_index(guide)
        first = rows.take(slice(0, 1))
        x = first.read()
        if len(x) != 1:
            raise ShapeError(
                f"a pair that exposes its distributions takes one tensor of observations, got a tuple of {len(x)}. "
                "A model with covariates is a Pyro program model(x, y): override forward."
            )
        if x[0].shape[1:] != model.data_shape:
            model.check_observations(rows.read()[0])  # says so of all of x, and not of the first row alone
        _expect_batch("prior()", model.prior(), ())
        q = self.bind(x, first.index).variational_posterior
        for what, density in (("prior()", model.prior()), ("variational_posterior(x)", q)):
            if is_masked(density):
                raise ProgramError(
                    f"{what} is masked: which numbers of z an observation has is read from the programs alone. Pass "
                    'source="traces".'
                )
        expected = tuple(model.prior().event_shape)
        if tuple(q.event_shape) != expected:
            raise ProgramError(
                f"variational_posterior(x) has event shape {tuple(q.event_shape)} and prior() {expected}: "
                "expected the same latent in both. Build model and guide with the same latent_dim."
            )
        if is_point_mass(q):
            raise ProgramError(
                "variational_posterior(x) is a point mass (Delta), which has no density: no ELBO and no importance "
                "weight. Return a distribution with a density, such as a normal."
            )
        self.keyed = has_normal_base(q)
        self.not_reparameterized = () if q.has_rsample else ("z",)
        self.discrete = ("z",) if is_discrete(q) else ()

    @property
    def randomness(self) -> str:
        """What the noise is keyed by."""
        return "per observation" if self.keyed else "data blocks"

    def bind(self, x: Observations, index: Tensor) -> ExposedBatch:
        """Run the encoder on a batch of observations, once."""
        q = self.guide.variational_posterior(x[0], **({"index": index} if self.needs_index else {}))
        _expect_batch("variational_posterior(x)", q, (len(index),))
        return ExposedBatch(self.model, q, self.model.check_observations(x[0]), index)


class ExposedBatch:
    """A batch of observations with its variational posterior.

    Attributes:
        x: the observations, NaN where a number is missing.
        missing: which numbers are, shaped as x; None where none is.
    """

    def __init__(self, model: Any, q: dist.TorchDistribution, x: Tensor, index: Tensor) -> None:
        self.model, self.variational_posterior, self.x, self.index = model, q, x, index
        self.missing = missing_in(x)
        self.support_checked = False
        self.shared: SharedNoise | None = None
        self.masked: Masked = {}

    @property
    def prior(self) -> dist.TorchDistribution:
        """p(z)."""
        found: dist.TorchDistribution = self.model.prior()
        return found

    def draw(self, particles: range, noise: KeyedNoise | None) -> Draw:
        """Draw latents and evaluate the three log densities.

        Args:
            particles: which particles.
            noise: keyed noise, or None to draw from torch's generator.
        """
        z = self._latents(particles, noise)
        by_group: dict[str, Tensor] = {}
        log_likelihood = self._log_likelihood(z, by_group)
        log_guide = self.variational_posterior.log_prob(z)
        return Draw(self.model.prior().log_prob(z), log_likelihood, log_guide, {"z": z}, by_group)

    def log_likelihood(self, particles: range, noise: KeyedNoise | None) -> Tensor:
        """Draw the same latents and evaluate log p(x given z) alone, shape (K, N)."""
        return self._log_likelihood(self._latents(particles, noise))

    def evaluate(self, latents: dict[str, Tensor]) -> Draw:
        """The three log densities at given latents, z of shape (K, N, D)."""
        joint = self.log_joint(latents)
        return Draw(joint.log_prior, joint.log_likelihood, self.variational_posterior.log_prob(latents["z"]), latents)

    def log_joint(self, latents: dict[str, Tensor]) -> JointTerms:
        """The model's log densities at given latents, z of shape (K, N, D)."""
        z = latents["z"]
        return JointTerms(self.model.prior().log_prob(z), self.log_likelihood_at(z))

    def model_sites(self, latents: dict[str, Tensor]) -> list[ModelSite]:
        """The observed site at given latents, z of shape (K, N, D)."""
        return [ModelSite("x", *self._observed(self.model.likelihood(latents["z"])), None, lambda values, _: values)]

    def log_likelihood_at(self, z: Tensor) -> Tensor:
        """log p(x given z) of what was observed, for z of shape (K, N, D); shape (K, N), nats."""
        return self._observed(self.model.likelihood(z)).log_prob

    def _observed(self, likelihood: dist.TorchDistribution) -> ObservedPart:
        return observed_part(likelihood, self.x, self.missing)

    def supports(self) -> dict[str, constraints.Constraint]:
        """Where each latent lives."""
        return {"z": self.model.prior().support}

    def _latents(self, particles: range, noise: KeyedNoise | None) -> Tensor:
        q = self.variational_posterior
        if noise is None and self.shared is not None:
            return self.shared.draw("z", q, 1, (len(particles),))
        if noise is None:
            return (q.rsample if q.has_rsample else q.sample)((len(particles),))
        normal = noise.normal("z", self.index, particles, noise_shape(q)[1:], noise_like(q))
        return draw_from_noise(q, normal)

    def _log_likelihood(self, z: Tensor, by_group: dict[str, Tensor] | None = None) -> Tensor:
        """log p(x given z); of column groups each its own too, into ``by_group``."""
        likelihood = self.model.likelihood(z)
        _expect_batch("likelihood(z)", likelihood, tuple(z.shape[:2]))
        _expect_event("likelihood(z)", likelihood, tuple(self.x.shape[1:]))
        observed = self._observed(likelihood)
        self._check_support(observed)
        if by_group is None or not isinstance(likelihood, ColumnGroups):
            return observed.log_prob
        each = likelihood.log_prob_by_number(observed.x)
        by_group |= likelihood.by_group(each if self.missing is None else each.masked_fill(self.missing, 0.0))
        return torch.stack(list(by_group.values())).sum(0)

    def _check_support(self, observed: ObservedPart) -> None:
        if not self.support_checked:
            check_observed("x", *observed, None, (observed.x,), self.index)
            self.support_checked = True

    def kl_by_site(self) -> dict[str, Tensor]:
        """Closed-form KL(q(z given x) to p(z)), shape (N,), of the one site z.

        Raises:
            NotDefinedError: no closed form is known for this guide and prior.
        """
        q, prior = self.variational_posterior, self.model.prior()
        kl = analytic_kl(q, prior)
        if kl is None:
            raise NotDefinedError(
                f"site 'z': no closed-form KL from {type(q).__name__} to {type(prior).__name__} is known. "
                'Use kl="sampled".'
            )
        return {"z": kl}

    def kl_per_dimension(self) -> Tensor:
        """Closed-form KL of each latent dimension, shape (N, D)."""
        return analytic_kl_per_dimension(self.variational_posterior, self.model.prior())


def _expect_event(what: str, distribution: dist.TorchDistribution, shape: tuple[int, ...]) -> None:
    if tuple(distribution.event_shape) != shape:
        raise ProgramError(
            f"{what} has event shape {tuple(distribution.event_shape)}, but an observation has shape {shape}: expected "
            f"the same. Declare all of its dimensions with .to_event({len(shape)}), and give each pixel its parameter."
        )


def _expect_batch(what: str, distribution: dist.TorchDistribution, shape: tuple[int, ...]) -> None:
    found = tuple(distribution.batch_shape)
    if found != shape:
        extra = max(1, len(found) - len(shape))
        raise ProgramError(
            f"{what} must have batch shape {shape}, one density for each observation, but has {found} with event "
            f"shape {tuple(distribution.event_shape)}. Declare its own dimensions with .to_event({extra})."
        )
