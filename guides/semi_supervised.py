"""The guide of a label that is a latent, known for some observations."""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Size, Tensor

from bayes_vae.distributions.normal_outputs import normal_of_outputs
from bayes_vae.errors import SettingsError
from bayes_vae.guides.guide import Guide
from bayes_vae.guides.observation_rows import observation_rows
from bayes_vae.networks.labels import UNKNOWN, append_label, check_labels
from bayes_vae.networks.perceptron import mlp

__all__ = ["SemiSupervisedGuide"]

CERTAIN = 1e4
"""Logit of a known label above the others': their probability is zero in any precision, its logarithm finite."""


class SemiSupervisedGuide(Guide):
    r"""A classifier q(y given x), and a factorized normal q(z given x, y).

    .. math:: q(y, z \mid x) = q(y \mid x) \, q(z \mid x, y)

    Of an observation whose label is known, q(y given x) is a point mass at it in effect: the other classes have log
    probability −10,000. So with y unknown the ELBO is a bound on log p(x), and with y known one on log p(x, y), the
    evidence of observation and label together; a mean over both kinds is a bound on neither alone.

    A known label leaves the classifier without a gradient from the ELBO. Training adds for each such observation

    .. math:: \alpha \, \log q(y \mid x)

    of the classifier as it is without the label (:meth:`label_term`, which
    :class:`~bayes_vae.objectives.EnumeratedElbo` reads). It is no term of the ELBO, and no evaluation includes it.

    Args:
        latent_dim: D, the size of z.
        data_shape: shape of one observation.
        num_classes: C; labels are 0…C−1.
        hidden_dims: widths of the hidden layers, from the data's side; of the classifier and of the encoder.
        activation: name of the activation between layers.
        label_weight: α, for each observation with a known label; 0 for none. Kingma et al. (2014) have 0.1 times the
            number of observations for each known label.
        mask_input: whether the encoder reads which numbers of x were observed, beside x with 0 where one is missing.

    Raises:
        SettingsError: a negative label_weight.

    Reference: Kingma, Rezende, Mohamed, Welling (2014), "Semi-supervised learning with deep generative models", eqs. 4
    and 6–9 ("M2").
    """

    needs_labels = True
    infers_labels = True

    def __init__(
        self,
        latent_dim: int,
        data_shape: Sequence[int],
        num_classes: int,
        hidden_dims: Sequence[int] = (200, 200),
        activation: str = "tanh",
        *,
        label_weight: float = 10.0,
        mask_input: bool = False,
    ) -> None:
        super().__init__(
            latent_dim=latent_dim,
            data_shape=tuple(data_shape),
            num_classes=num_classes,
            hidden_dims=tuple(hidden_dims),
            activation=activation,
            label_weight=label_weight,
            mask_input=mask_input,
        )
        if not label_weight >= 0:
            raise SettingsError(f"label_weight must be at least 0, got {label_weight}.")
        self.data_shape, self.num_classes, self.label_weight = Size(data_shape), num_classes, label_weight
        size = self.input_size
        self.classifier = mlp([size, *hidden_dims, num_classes], activation)
        self.encoder = mlp([size + num_classes, *hidden_dims, 2 * latent_dim], activation)

    def classify(self, x: Tensor) -> Tensor:
        """q(y given x) of unknown labels: a probability for each class, shape (N, C).

        Raises:
            ShapeError: x is not of shape (N, *data_shape).
        """
        return self._logits(self._rows(x)).softmax(-1)

    def label_term(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """α log q(y given x) of the known labels, and 0 of the others; shape (N,), nats."""
        rows, labels = self._rows(x), self._labels(x, y)
        log_probabilities = self._logits(rows).log_softmax(-1)
        chosen = log_probabilities.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        return torch.where(labels < 0, torch.zeros_like(chosen), self.label_weight * chosen)

    def label_posterior(self, x: Tensor, y: Tensor | None = None) -> dist.TorchDistribution:
        """q(y given x), certain where the label is known; batch shape (N,), values 0…C−1.

        Args:
            x: observations, shape (N, *data_shape).
            y: labels, shape (N,), −1 where unknown; None where none is known.

        Raises:
            ShapeError, SupportError: observations or labels that are none.
        """
        logits, labels = self._logits(self._rows(x)), self._labels(x, y)
        known = torch.nn.functional.one_hot(labels.clamp(min=0), self.num_classes).to(logits.dtype) * CERTAIN
        logits = torch.where((labels < 0).unsqueeze(-1), logits, known)
        return dist.Categorical(logits=logits, validate_args=False)

    def variational_posterior(self, x: Tensor, y: Tensor) -> dist.TorchDistribution:
        """q(z given x, y) for classes y that broadcast with (N,); event shape (D,)."""
        return normal_of_outputs(self.encoder(append_label(self._rows(x), y, self.num_classes)))

    def forward(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The Pyro program of q(y, z given x).

        Args:
            x: observations, shape (N, *data_shape).
            y: labels, shape (N,), −1 where unknown; None where none is known.

        Returns:
            one draw of the class, shape (N,), and of z, shape (N, D).
        """
        with pyro.plate("data", len(x), dim=-1):
            label = pyro.sample("y", self.label_posterior(x, y), infer={"enumerate": "parallel"})
            return label, pyro.sample("z", self.variational_posterior(x, label))

    def _rows(self, x: Tensor) -> Tensor:
        return observation_rows(self, x, next(self.encoder.parameters()).dtype)

    def _labels(self, x: Tensor, y: Tensor | None) -> Tensor:
        if y is None:
            return torch.full((len(x),), UNKNOWN, device=x.device)
        return check_labels(y, len(x), self.num_classes, type(self).__name__, may_be_unknown=True)

    def _logits(self, rows: Tensor) -> Tensor:
        logits: Tensor = self.classifier(rows)
        return logits
