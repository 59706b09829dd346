"""What every generative model is: a Pyro program of p(x, z), and a plain torch module."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from typing import Any, Self

import pyro
import pyro.distributions as dist
import torch
from torch import Size, Tensor, nn

from bayes_vae.distributions import missing_in, observed_part
from bayes_vae.errors import ShapeError
from bayes_vae.models.likelihoods import Likelihood
from bayes_vae.models.priors import Prior
from bayes_vae.parts.registry import as_setting, build_part
from bayes_vae.terms.program import index_arguments
from bayes_vae.terms.randomness import isolated_rng
from bayes_vae.terms.reached import evaluation_mode
from bayes_vae.terms.registration import register_at_each_call

__all__ = ["Model", "PartsModel", "SingleLatentModel"]


class Model(nn.Module, ABC):
    """A generative model p(x, z) as a Pyro program; ``forward(None)`` samples from it."""

    data_shape: Size
    """Shape of one observation, of models that have one."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings: dict[str, Any] = settings
        """The constructor's arguments, from which :func:`bayes_vae.load` rebuilds the model."""

    @abstractmethod
    def forward(self, x: Tensor | None = None) -> Tensor:
        """The Pyro program: sample z, then sample x or condition on the given one."""

    @property
    def like(self) -> Tensor:
        """A parameter, or a buffer, of the dtype and on the device that the model computes with.

        An empty tensor of the default dtype where it has neither.
        """
        held = itertools.chain(self.parameters(), self.buffers())
        return next((tensor for tensor in held if tensor.is_floating_point()), torch.empty(0))

    def check_observations(self, x: Tensor) -> Tensor:
        """Return x as the model's dtype, or say which shape was expected.

        Raises:
            ShapeError: x is not of shape (N, *data_shape).
        """
        if x.shape[1:] != self.data_shape or x.dim() != len(self.data_shape) + 1:
            raise ShapeError(
                f"{type(self).__name__} takes observations of shape (N, {', '.join(map(str, self.data_shape))}), "
                f"got {tuple(x.shape)}. Reshape x, or build the model with data_shape={tuple(x.shape[1:])}."
            )
        return x.to(self.like.dtype)

    def observe(self, likelihood: dist.TorchDistribution, x: Tensor | None) -> Tensor:
        """The site ``"x"`` of the Pyro program, at which missing numbers (NaN in x) have no density.

        Args:
            likelihood: p(x given the latents).
            x: observations, shape (N, *data_shape); None to sample them.

        Raises:
            NotDefinedError: x has missing numbers, and the likelihood none that are independent given the latents.
        """
        observed, value = (likelihood, None) if x is None else observed_part(likelihood, x, missing_in(x))
        drawn: Tensor = pyro.sample("x", observed, obs=value)
        return drawn if x is None else x

    def register(self) -> None:
        """Declare the parameters to Pyro under names unique to this instance, for Pyro's own losses in ``SVI``."""
        register_at_each_call(self)


class SingleLatentModel(Model):
    r"""A model with one latent z for each observation: p(x, z) = p(z) p(x \mid z).

    Subclasses say what :meth:`prior` and :meth:`likelihood` are; the Pyro program follows from them.
    """

    latent_dim: int

    @property
    def exposes_distributions(self) -> bool:
        """Whether the Pyro program is the one below, so that terms may be read off the distributions."""
        return type(self).forward is SingleLatentModel.forward

    @abstractmethod
    def prior(self) -> dist.TorchDistribution:
        """p(z): what is believed of z before any observation; batch shape (), event shape (D,)."""

    @abstractmethod
    def likelihood(self, z: Tensor) -> dist.TorchDistribution:
        """p(x given z) for z of shape (*batch, D); batch shape (*batch), event shape ``data_shape``."""

    def forward(self, x: Tensor | None = None) -> Tensor:
        """The Pyro program of p(x, z): prior, then likelihood.

        Args:
            x: observations, shape (N, *data_shape), or None to sample one.

        Returns:
            the observations, given or sampled, shape (N, *data_shape).
        """
        x = None if x is None else self.check_observations(x)
        with pyro.plate("data", 1 if x is None else len(x), dim=-1):
            z = pyro.sample("z", self.prior())
            return self.observe(self.likelihood(z), x)

    @torch.no_grad()
    def sample(self, num_observations: int, *, seed: int | None = None, mean: bool = False) -> Tensor:
        """Observations drawn from the model: z from the prior, then x from the likelihood.

        Args:
            num_observations: how many.
            seed: makes the draw repeatable and leaves the caller's random state as it was; None draws from it.
            mean: return the likelihood's mean in place of a draw, as pictures usually show.

        Returns:
            shape (num_observations, *data_shape).
        """
        if seed is not None:
            with isolated_rng(seed, self.like.device):
                return self.sample(num_observations, mean=mean)
        with evaluation_mode(self):
            likelihood = self.likelihood(self.prior().sample((num_observations,)))
            return likelihood.mean if mean else likelihood.sample()

    @torch.no_grad()
    def reconstruct(
        self,
        x: Tensor,
        guide: nn.Module,
        *,
        seed: int | None = None,
        mean: bool = True,
        index: Tensor | None = None,
    ) -> Tensor:
        """Observations drawn again from their codes: z from q(z given x), then p(x given z).

        Args:
            x: observations, shape (N, *data_shape).
            guide: a guide with ``variational_posterior(x)``.
            seed: as in :meth:`sample`.
            mean: return the likelihood's mean for the drawn z, in place of a draw.
            index: the observations' indices, shape (N,), for guides with parameters per observation.

        Returns:
            shape (N, *data_shape). z is always drawn: decoding the mean of q is another thing.
        """
        if seed is not None:
            with isolated_rng(seed, self.like.device):
                return self.reconstruct(x, guide, mean=mean, index=index)
        given = {} if index is None else index_arguments(guide, index)
        with evaluation_mode(self, guide):
            z = guide.variational_posterior(self.check_observations(x), **given).sample()  # type: ignore[operator]
            likelihood = self.likelihood(z)
            return likelihood.mean if mean else likelihood.sample()


class PartsModel(SingleLatentModel):
    """A model whose p(z) and p(x given z) are parts by name.

    Attributes:
        likelihood_family: the likelihood.
        prior_family: the prior.
    """

    likelihood_family: Likelihood
    prior_family: Prior

    def prior(self) -> dist.TorchDistribution:
        """p(z)."""
        distribution: dist.TorchDistribution = self.prior_family()
        return distribution

    @property
    def attached_guide(self) -> Any:
        """The guide that p(z) is made of; None where it is made of none."""
        return self.prior_family.guide

    def attach_guide(self, guide: Any) -> None:
        """Give the prior its guide, once both are built; only a prior made of q, the VampPrior, takes note of it.

        Args:
            guide: of this pair.

        Raises:
            ProgramError: the prior cannot be made of this guide's q; the message says why.
        """
        self.prior_family.attach_guide(guide)

    def with_prior(self, prior: str | Mapping[str, Any]) -> Self:
        """The same p(x given z) under another p(z), at its start; both models share the decoder.

        Args:
            prior: name of p(z), or a mapping of "name" and options; see ``bayes_vae.models.priors``.

        Raises:
            SettingsError: an unknown name or option.
        """
        twin = copy(self)
        twin._modules = dict(self._modules)
        family = build_part("prior", prior, latent_dim=self.latent_dim, data_shape=self.data_shape)
        like = next(self.parameters())
        twin.prior_family = family.to(device=like.device, dtype=like.dtype).train(self.training)
        twin.settings = self.settings and {**self.settings, "prior": as_setting(prior)}
        return twin

    def start_prior_at(self, x: Tensor) -> None:
        """Start a prior that holds pseudo-observations at training observations; the others ignore them.

        Args:
            x: shape (N, *data_shape).

        Raises:
            ShapeError: another shape.
        """
        self.prior_family.start_at(x)
