"""Inverse autoregressive flow."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions.transforms import ConditionalAffineAutoregressive
from pyro.nn import ConditionalAutoRegressiveNN
from torch import nn

from bayes_vae.errors import SettingsError
from bayes_vae.guides.flow_guide import FlowGuide, shrink

__all__ = ["AutoregressiveFlowGuide"]


class AutoregressiveFlowGuide(FlowGuide):
    r"""Inverse autoregressive flow: each number is shifted and rescaled by a network of those before it.

    .. math:: \epsilon'_d = e^{a_d(\epsilon_{<d}, h)} \epsilon_d + b_d(\epsilon_{<d}, h)

    The arguments, the density and its cost are :class:`FlowGuide`'s.

    Raises:
        SettingsError: one latent dimension, in which this is a normal guide.

    Reference: Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling (2016), "Improved variational inference with
    inverse autoregressive flow", eqs. 10 and 11.
    """

    def _step(self, latent_dim: int, context_dim: int) -> Any:
        if latent_dim < 2:
            raise SettingsError(
                "an autoregressive flow needs at least 2 latent dimensions: with one, nothing comes before it, and it "
                "is AmortizedNormalGuide. Use that, or SplineFlowGuide."
            )
        widths = [max(32, 4 * latent_dim)]
        order: Any = torch.arange(latent_dim)
        made = ConditionalAutoRegressiveNN(latent_dim, context_dim, widths, permutation=order, nonlinearity=nn.Tanh())
        layers: Any = made.layers
        shrink(layers[-1])
        return ConditionalAffineAutoregressive(made)
