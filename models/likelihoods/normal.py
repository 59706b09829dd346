"""Squared error, said as a likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from bayes_vae.distributions.positive import positive, raw_of_positive
from bayes_vae.errors import SettingsError
from bayes_vae.models.likelihoods.likelihood import Likelihood

__all__ = ["NOISES", "NormalLikelihood"]

NOISES = ("fixed", "shared", "per-pixel")
"""Whether the scale is a number, one parameter for all pixels, or an output of the decoder for each."""

SCALE_FLOOR = 0.01
"""No scale that is learned is smaller: else the density of a pixel that is always the same would grow without bound."""


class NormalLikelihood(Likelihood):
    r"""Real values, or gray pixels: the decoder outputs the mean of each.

    .. math:: \log p(x \mid z) = \sum_i -\frac{(x_i - f_i(z))^2}{2 s_i^2} - \log s_i - \tfrac12 \log 2\pi

    With a fixed s this is squared error divided by 2s², and which s decides how much reconstruction weighs beside the
    KL. With ``noise="shared"`` s is learned, one for all pixels; with ``"per-pixel"`` the decoder outputs it too. A
    learned scale is at least 0.01. A density, so it may exceed 1 and the sum may be positive. Fits the data policy
    ``none`` on real values and on gray pixels; zeros and ones, and counts, are refused.

    Args:
        data_shape: shape of one observation.
        scale: s, in the units of x; where it is learned, at the start.
        noise: "fixed", "shared" or "per-pixel".

    Raises:
        SettingsError: an unknown noise, or a scale that is not above 0 (learned: above 0.01).

    Reference: Rybkin, Daniilidis, Levine (2021), "Simple and effective VAE training with calibrated decoders",
    section 3.
    """

    family: Any = dist.Normal
    """Of location and scale, number by number."""

    def __init__(self, data_shape: Sequence[int], scale: float = 0.2, noise: str = "fixed") -> None:
        super().__init__(data_shape, scale=scale, noise=noise)
        if noise not in NOISES:
            raise SettingsError(f"unknown noise {noise!r}: choose one of {', '.join(NOISES)}.")
        least = 0.0 if noise == "fixed" else SCALE_FLOOR
        if not scale > least:
            raise SettingsError(
                f"the scale of a {self.family.__name__.lower()} likelihood with noise {noise!r} must be above "
                f"{least:g}, got {scale:g}."
            )
        self.noise, self.scale = noise, scale
        self.outputs_per_number = 2 if noise == "per-pixel" else 1
        if noise == "shared":
            self.raw_scale = nn.Parameter(torch.tensor(raw_of_positive(scale, SCALE_FLOOR)))

    def forward(self, parameters: Tensor) -> dist.TorchDistribution:
        """p(x given z): independent normals."""
        place = parameters.dim() - len(self.data_shape) - 1
        if self.noise == "per-pixel":
            loc, raw = parameters.unbind(place)
            scale: Tensor = positive(raw, SCALE_FLOOR)
        else:
            loc = parameters.squeeze(place)
            fixed = self.noise == "fixed"
            scale = loc.new_tensor(self.scale) if fixed else positive(self.raw_scale, SCALE_FLOOR)
        pixels = self.family(loc, scale, validate_args=False)
        return dist.Independent(pixels, len(self.data_shape), validate_args=False)

    def initial_outputs(self, mean: Tensor) -> Tensor:
        """The mean itself; with noise per pixel also the scale at the start."""
        if self.noise == "per-pixel":
            return torch.stack([mean, torch.full_like(mean, raw_of_positive(self.scale, SCALE_FLOOR))])
        return mean.unsqueeze(0)
