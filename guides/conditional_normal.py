"""The guide of a model whose label is given."""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
from torch import Size, Tensor

from bayes_vae.distributions.normal_outputs import normal_of_outputs
from bayes_vae.guides.guide import Guide
from bayes_vae.guides.observation_rows import observation_rows
from bayes_vae.networks.labels import append_label, check_labels
from bayes_vae.networks.perceptron import mlp

__all__ = ["ConditionalNormalGuide"]


class ConditionalNormalGuide(Guide):
    r"""Factorized normal guide whose encoder reads the observation and its label.

    .. math:: q(z \mid x, y) = N\big(z; m(x, y), \operatorname{diag}(s(x, y))^2\big)

    Args:
        latent_dim: D, the size of z.
        data_shape: shape of one observation.
        num_classes: C; labels are 0…C−1.
        hidden_dims: widths of the encoder's hidden layers, from the data's side.
        activation: name of the activation between layers.
        mask_input: whether the encoder reads which numbers of x were observed, beside x with 0 where one is missing.

    Reference: Sohn, Lee, Yan (2015), "Learning structured output representation using deep conditional generative
    models", eq. 4.
    """

    needs_labels = True

    def __init__(
        self,
        latent_dim: int,
        data_shape: Sequence[int],
        num_classes: int,
        hidden_dims: Sequence[int] = (200, 200),
        activation: str = "tanh",
        mask_input: bool = False,
    ) -> None:
        super().__init__(
            latent_dim=latent_dim,
            data_shape=tuple(data_shape),
            num_classes=num_classes,
            hidden_dims=tuple(hidden_dims),
            activation=activation,
            mask_input=mask_input,
        )
        self.data_shape, self.num_classes = Size(data_shape), num_classes
        self.encoder = mlp([self.input_size + num_classes, *hidden_dims, 2 * latent_dim], activation)

    def variational_posterior(self, x: Tensor, y: Tensor | None) -> dist.TorchDistribution:
        """q(z given x, y); batch shape (N,), event shape (D,).

        Raises:
            ShapeError: x is not of shape (N, *data_shape), or y not of shape (N,).
            SupportError: a label that is no class.
        """
        dtype, name = next(self.encoder.parameters()).dtype, type(self).__name__
        rows = observation_rows(self, x, dtype)
        labels = check_labels(y, len(x), self.num_classes, name)
        return normal_of_outputs(self.encoder(append_label(rows, labels, self.num_classes)))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The Pyro program of q(z given x, y).

        Args:
            x: observations, shape (N, *data_shape).
            y: their labels, shape (N,), whole numbers.

        Returns:
            one draw of z for each observation, shape (N, D).
        """
        with pyro.plate("data", len(x), dim=-1):
            return pyro.sample("z", self.variational_posterior(x, y))
