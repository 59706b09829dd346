"""A VAE whose label is a latent, known for some observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from bayes_vae.errors import SettingsError
from bayes_vae.models.structured import LabelledModel, drawn
from bayes_vae.networks.labels import check_labels

__all__ = ["SemiSupervisedVAE"]

LABEL_PRIORS = ("uniform", "learned")


class SemiSupervisedVAE(LabelledModel):
    r"""The class y of an observation is a latent beside z.

    .. math:: p(x, y, z) = p(y) \, p(z) \, p(x \mid z, y), \quad p(y) = \mathrm{Categorical}(\pi), \quad p(z) = N(0, I)

    Sites ``"y"``, ``"z"`` and ``"x"``; y is discrete. Which labels are known is the guide's matter alone
    (:class:`~bayes_vae.guides.SemiSupervisedGuide`): the program takes ``(x, y)`` as the guide does, and looks at y
    only to refuse what is no label.

    Args:
        latent_dim: D, the size of z.
        data_shape: shape of one observation.
        num_classes: C; labels are 0…C−1.
        hidden_dims: widths of the hidden layers from the data's side; the decoder mirrors them.
        activation: name of the activation between layers.
        likelihood: name of p(x given z, y), or a mapping of "name" and options.
        label_prior: p(y): "uniform", or "learned" from uniform on.

    Raises:
        SettingsError: an unknown name, option or activation.

    Reference: Kingma, Rezende, Mohamed, Welling (2014), "Semi-supervised learning with deep generative models", eq. 2
    ("M2").

    >>> SemiSupervisedVAE(2, (8, 8), num_classes=10).sample(3, label=7, seed=0).shape
    torch.Size([3, 8, 8])
    """

    infers_labels = True
    label_logits: Tensor

    def __init__(
        self,
        latent_dim: int,
        data_shape: Sequence[int],
        num_classes: int,
        hidden_dims: Sequence[int] = (200, 200),
        activation: str = "tanh",
        *,
        likelihood: str | Mapping[str, Any] = "bernoulli",
        label_prior: str = "uniform",
    ) -> None:
        if label_prior not in LABEL_PRIORS:
            raise SettingsError(f"unknown label_prior {label_prior!r}: choose one of {', '.join(LABEL_PRIORS)}.")
        super().__init__(
            latent_dim=latent_dim,
            data_shape=data_shape,
            num_classes=num_classes,
            hidden_dims=hidden_dims,
            activation=activation,
            likelihood=likelihood,
            label_prior=label_prior,
        )
        uniform = torch.zeros(num_classes)
        if label_prior == "learned":
            self.label_logits = nn.Parameter(uniform)
        else:
            self.register_buffer("label_logits", uniform, persistent=False)

    def label_prior(self) -> dist.TorchDistribution:
        """p(y); batch shape (), values 0…C−1."""
        return dist.Categorical(logits=self.label_logits, validate_args=False)

    def forward(self, x: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """The Pyro program of p(x, y, z).

        Args:
            x: observations, shape (N, *data_shape), or None to sample one.
            y: labels, shape (N,), −1 where unknown; None where none is known. They are the guide's to use.

        Returns:
            the observations, given or sampled, shape (N, *data_shape).

        Raises:
            ShapeError, SupportError: labels that are none.
        """
        x = None if x is None else self.check_observations(x)
        count = 1 if x is None else len(x)
        if y is not None:
            check_labels(y, count, self.num_classes, type(self).__name__, may_be_unknown=True)
        with pyro.plate("data", count, dim=-1):
            label = pyro.sample("y", self.label_prior())
            z = pyro.sample("z", self.prior())
            return self.observe(self.likelihood(z, label), x)

    @torch.no_grad()
    def sample(
        self, num_observations: int, *, label: int | None = None, seed: int | None = None, mean: bool = False
    ) -> Tensor:
        """Observations drawn from the model, or from the model given a class.

        Args:
            num_observations: how many.
            label: of all of them; None draws the class of each from p(y).
            seed: makes the draw repeatable and leaves the caller's random state as it was; None draws from it.
            mean: return the likelihood's mean in place of a draw, as pictures usually show.

        Returns:
            shape (num_observations, *data_shape).
        """
        with self._own_draws(seed):
            classes = self.label_prior().sample((num_observations,))
            labels = classes if label is None else torch.full_like(classes, label)
            labels = check_labels(labels, num_observations, self.num_classes, type(self).__name__)
            return drawn(self.likelihood(self.prior().sample((num_observations,)), labels), mean)
