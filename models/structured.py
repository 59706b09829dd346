"""What models with several latents or a label share: a standard normal, a likelihood behind a decoder, draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from torch import Size, Tensor

from bayes_vae.distributions import diagonal_normal
from bayes_vae.models.likelihoods import Likelihood
from bayes_vae.models.model import Model
from bayes_vae.networks.labels import append_label
from bayes_vae.networks.perceptron import decoder_network, set_output_bias
from bayes_vae.parts.registry import build_part
from bayes_vae.terms.program import Program, index_arguments
from bayes_vae.terms.randomness import isolated_rng
from bayes_vae.terms.rows import as_observations

__all__ = ["LabelledModel", "StructuredModel", "drawn"]


class StructuredModel(Model):
    """A model whose p(x given its latents) comes from a decoder, and whose terms are read by tracing its program.

    Args:
        code_dim: numbers that the decoder reads.
        prior_dim: size of the latent whose prior is the standard normal.
        settings: the subclass's arguments, from which it is built again; data_shape, hidden_dims, activation and
            likelihood among them, as :class:`~bayes_vae.models.VAE` takes them.
    """

    prior_loc: Tensor
    prior_scale: Tensor

    def __init__(self, code_dim: int, prior_dim: int, **settings: Any) -> None:
        settings = {name: _plain(value) for name, value in settings.items()}
        super().__init__(**settings)
        self.data_shape = Size(settings["data_shape"])
        self.likelihood_family: Likelihood = build_part(
            "likelihood", settings["likelihood"], data_shape=self.data_shape
        )
        self.decoder = decoder_network(
            "mlp",
            code_dim,
            self.data_shape,
            self.likelihood_family.outputs_per_number,
            settings["hidden_dims"],
            settings["activation"],
        )
        self.register_buffer("prior_loc", torch.zeros(prior_dim), persistent=False)
        self.register_buffer("prior_scale", torch.ones(prior_dim), persistent=False)

    def prior(self) -> dist.TorchDistribution:
        """The standard normal of the latent that depends on nothing; batch shape (), event shape (prior_dim,)."""
        return diagonal_normal(self.prior_loc, self.prior_scale)

    def set_output_bias(self, mean: Tensor) -> None:
        """Start the decoder where the mean of p(x given z) is the data's.

        Args:
            mean: mean of the training observations, shape ``data_shape``.
        """
        set_output_bias(self.decoder, self.likelihood_family.initial_outputs(mean))

    def _decoded(self, code: Tensor) -> dist.TorchDistribution:
        return self.likelihood_family.of_outputs(self.decoder(code))

    @torch.no_grad()
    def reconstruct(
        self,
        x: Tensor | tuple[Tensor, ...],
        guide: Program,
        *,
        seed: int | None = None,
        mean: bool = True,
        index: Tensor | None = None,
    ) -> Tensor:
        """Observations drawn again from their codes: all latents from the guide, then x from the likelihood.

        Args:
            x: what the programs take: observations, shape (N, *data_shape), or a tuple of them and their labels.
            guide: the guide's program.
            seed: makes the draw repeatable and leaves the caller's random state as it was; None draws from it.
            mean: return the likelihood's mean for the drawn latents, in place of a draw.
            index: the observations' indices, shape (N,), for guides with parameters per observation.

        Returns:
            shape (N, *data_shape). The latents are always drawn: decoding their means is another thing.
        """
        parts = as_observations(x)
        given = {} if index is None else index_arguments(guide, index)
        with self._own_draws(seed):
            latents = poutine.trace(guide).get_trace(*parts, **given)
            trace = poutine.trace(poutine.replay(self, trace=latents)).get_trace(*parts)
            likelihood: Any = trace.nodes["x"]["fn"]
            return drawn(likelihood, mean)

    @contextmanager
    def _own_draws(self, seed: int | None) -> Iterator[None]:
        """Draw from a generator of this seed, or from torch's own where there is none."""
        if seed is None:
            yield
        else:
            with isolated_rng(seed, self.like.device):
                yield


class LabelledModel(StructuredModel):
    """A model whose decoder reads z, a standard normal whatever the label, and the label y.

    Args:
        settings: as of :class:`StructuredModel`, with latent_dim and num_classes.
    """

    needs_labels = True

    def __init__(self, **settings: Any) -> None:
        latent_dim, num_classes = settings["latent_dim"], settings["num_classes"]
        super().__init__(latent_dim + num_classes, latent_dim, **settings)
        self.latent_dim, self.num_classes = latent_dim, num_classes

    def likelihood(self, z: Tensor, y: Tensor) -> dist.TorchDistribution:
        """p(x given z, y) for z of shape (*batch, D) and labels that broadcast with it; event shape ``data_shape``."""
        return self._decoded(append_label(z, y, self.num_classes))


def _plain(setting: Any) -> Any:
    """A setting as it is stored: a sequence as a tuple, a mapping as a dict."""
    if isinstance(setting, Mapping):
        return dict(setting)
    return tuple(setting) if isinstance(setting, Sequence) and not isinstance(setting, str) else setting


def drawn(likelihood: dist.TorchDistribution, mean: bool) -> Tensor:
    """A draw of x, or the mean in its place."""
    x: Tensor = likelihood.mean if mean else likelihood.sample()
    return x
