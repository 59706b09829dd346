"""Absolute error, said as a likelihood."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist

from bayes_vae.models.likelihoods.normal import NormalLikelihood

__all__ = ["LaplaceLikelihood"]


class LaplaceLikelihood(NormalLikelihood):
    r"""Real values, or gray pixels, with outliers: the decoder outputs the median of each.

    .. math:: \log p(x \mid z) = \sum_i -\frac{|x_i - f_i(z)|}{b_i} - \log 2 b_i

    Absolute error divided by b; the deviation is √2 b. Tails are heavier than a normal's, so a value far off costs its
    distance and not the square of it. ``scale`` is b; the options, the floor of a learned scale and the data are those
    of :class:`NormalLikelihood`.

    Args:
        data_shape: shape of one observation.
        scale: b, in the units of x; where it is learned, at the start.
        noise: "fixed", "shared" or "per-pixel".

    Raises:
        SettingsError: an unknown noise, or a scale that is not above 0 (learned: above 0.01).
    """

    family: Any = dist.Laplace
