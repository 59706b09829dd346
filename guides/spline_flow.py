"""Neural spline flow."""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro.distributions.transforms import ConditionalSpline, ConditionalSplineAutoregressive
from pyro.nn import ConditionalAutoRegressiveNN, DenseNN
from torch import Tensor, nn

from bayes_vae.guides.flow_guide import FlowGuide, shrink

__all__ = ["SplineFlowGuide"]

BINS, BOUND = 8, 4.0
"""Pieces of each spline, and where it ends: beyond ±4 it is the identity."""

LEAST_DERIVATIVE = 1e-3
"""Pyro's own floor under the slopes."""


class SplineFlowGuide(FlowGuide):
    """Neural spline flow: each number goes through a monotone rational spline, whose knots are a network's.

    The network reads the numbers before it and h(x); in one dimension h(x) alone. The arguments, the density and its
    cost are :class:`FlowGuide`'s.

    Reference: Durkan, Bekasov, Murray, Papamakarios (2019), "Neural spline flows", section 3; linear rational splines:
    Dolatabadi, Erfani, Leckie (2020), "Invertible generative modeling using linear rational splines".
    """

    def _step(self, latent_dim: int, context_dim: int) -> Any:
        parameters = [BINS, BINS, BINS - 1, BINS]
        if latent_dim == 1:
            network = DenseNN(context_dim, [32], parameters, nonlinearity=nn.Tanh())
            layers: Any = network.layers
            _start_at_identity(layers[-1], 1)
            return ConditionalSpline(network, 1, BINS, bound=BOUND, order="linear")
        order: Any = torch.arange(latent_dim)
        made = ConditionalAutoRegressiveNN(
            latent_dim,
            context_dim,
            [max(32, 4 * latent_dim)],
            param_dims=parameters,
            permutation=order,
            nonlinearity=nn.Tanh(),
        )
        layers = made.layers
        _start_at_identity(layers[-1], latent_dim)
        return ConditionalSplineAutoregressive(latent_dim, made, count_bins=BINS, bound=BOUND, order="linear")


@torch.no_grad()
def _start_at_identity(layer: Any, latent_dim: int) -> None:
    """Equal widths and heights, and slopes of one; the outputs are widths, heights, slopes, then shapes."""
    shrink(layer)
    slopes: Tensor = layer.bias[2 * BINS * latent_dim : (3 * BINS - 1) * latent_dim]
    slopes.fill_(math.log(math.expm1(1 - LEAST_DERIVATIVE)))
