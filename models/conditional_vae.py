"""A VAE of observations whose label is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyro
import torch
from torch import Tensor

from bayes_vae.models.structured import LabelledModel, drawn
from bayes_vae.networks.labels import check_labels

__all__ = ["ConditionalVAE"]


class ConditionalVAE(LabelledModel):
    r"""A VAE given a label: the decoder reads z and the label y, and nothing is said of how probable y is.

    .. math:: p(x, z \mid y) = p(z) \, p(x \mid z, y), \quad p(z) = N(0, I)

    So every figure of it, be it the evidence, the ELBO or L_K, is of log p(x given y), which is no bound on log p(x).
    The label is no latent but a covariate, passed as the second of the tuple: ``model(x, y)``, ``guide(x, y)``.

    Args:
        latent_dim: D, the size of z.
        data_shape: shape of one observation.
        num_classes: C; labels are 0…C−1.
        hidden_dims: widths of the hidden layers from the data's side; the decoder mirrors them.
        activation: name of the activation between layers.
        likelihood: name of p(x given z, y), or a mapping of "name" and options.

    Raises:
        SettingsError: an unknown name, option or activation.

    Reference: Sohn, Lee, Yan (2015), "Learning structured output representation using deep conditional generative
    models", eq. 4, with the prior of z independent of y; Kingma, Rezende, Mohamed, Welling (2014), "Semi-supervised
    learning with deep generative models", section 2 ("M2" with every label known).

    >>> ConditionalVAE(2, (8, 8), num_classes=10).sample(3, label=7, seed=0).shape
    torch.Size([3, 8, 8])
    """

    def __init__(
        self,
        latent_dim: int,
        data_shape: Sequence[int],
        num_classes: int,
        hidden_dims: Sequence[int] = (200, 200),
        activation: str = "tanh",
        *,
        likelihood: str | Mapping[str, Any] = "bernoulli",
    ) -> None:
        super().__init__(
            latent_dim=latent_dim,
            data_shape=data_shape,
            num_classes=num_classes,
            hidden_dims=hidden_dims,
            activation=activation,
            likelihood=likelihood,
        )

    def forward(self, x: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """The Pyro program of p(x, z given y).

        Args:
            x: observations, shape (N, *data_shape), or None to sample one for each label.
            y: their labels, shape (N,), whole numbers.

        Returns:
            the observations, given or sampled, shape (N, *data_shape).

        Raises:
            ShapeError, SupportError: no labels, or some that are no classes.
        """
        x = None if x is None else self.check_observations(x)
        count = len(x) if x is not None else 1 if y is None else y.numel()
        y = check_labels(y, count, self.num_classes, type(self).__name__)
        with pyro.plate("data", count, dim=-1):
            z = pyro.sample("z", self.prior())
            return self.observe(self.likelihood(z, y), x)

    @torch.no_grad()
    def sample(
        self, num_observations: int, *, label: int | None = None, seed: int | None = None, mean: bool = False
    ) -> Tensor:
        """Observations drawn from the model given a label.

        Args:
            num_observations: how many.
            label: of all of them; None takes the classes in turn, 0, 1, …, C−1, 0, ….
            seed: makes the draw repeatable and leaves the caller's random state as it was; None draws from it.
            mean: return the likelihood's mean in place of a draw, as pictures usually show.

        Returns:
            shape (num_observations, *data_shape).
        """
        rows = torch.arange(num_observations, device=self.prior_loc.device)
        labels = rows % self.num_classes if label is None else torch.full_like(rows, label)
        labels = check_labels(labels, num_observations, self.num_classes, type(self).__name__)
        with self._own_draws(seed):
            return drawn(self.likelihood(self.prior().sample((num_observations,)), labels), mean)
