"""Whether q's deviations are the best of their kind: the ELBO under factors and under other readings of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bayes_vae.diagnosis.measure.measurement import Measurement
from bayes_vae.diagnosis.measure.stationarity import pulls, stationary_weights
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.estimators.best_normal import log_weights
from bayes_vae.terms.factorized import variational_normal
from bayes_vae.terms.randomness import KeyedNoise, derived_seed

__all__ = ["READINGS", "measure_scales"]

DRAWS, ROWS = 16, 400

LARGEST = 80.0
"""Deviations above it are not exponentiated."""

READINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "its square root": torch.sqrt,
    "its square": torch.square,
    "log(1 + s)": torch.log1p,
    "exp(s) − 1": lambda scale: scale.clamp(max=LARGEST).expm1(),
    "exp(s)": lambda scale: scale.clamp(max=LARGEST).exp(),
}
"""What else may have been meant by a deviation s."""

FACTORS = (1 / 16, 0.125, 0.25, 0.5, 0.71, 0.84, 1.19, 1.41, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0)
FINER = (0.77, 0.88, 1.14, 1.3)


def measure_scales(subject: Subject) -> dict[str, Measurement]:
    """What the ELBO of training rows gains by the best common factor on q's deviations, and by the best reading.

    Under the best reading the weight on the KL at which the pair is at rest is measured again: one where it is the
    reading of the training. Likewise where draws took the squares, or the roots, of the deviations, and the KL did not.
    """
    rows = subject.train.first(ROWS)
    bound = subject.factorized.bind(*rows)
    loc, scale = variational_normal(bound)
    noise = KeyedNoise(derived_seed(subject.seed, "scales")).normal("z", rows.index, range(DRAWS), loc.shape[1:], loc)

    def elbo(changed: Tensor) -> Tensor:
        return log_weights(bound, loc, changed.clamp(min=1e-12), noise).mean(0)

    declared = elbo(scale)

    def gains(factors: tuple[float, ...]) -> dict[float, Measurement]:
        return {factor: Measurement.mean(elbo(scale * factor) - declared) for factor in factors}

    by_factor = {1.0: Measurement(0.0), **gains(FACTORS)}
    coarse = max(by_factor, key=lambda factor: _usable(by_factor[factor]))
    by_factor |= gains(tuple(coarse * step for step in FINER))
    factor = max(by_factor, key=lambda factor: _usable(by_factor[factor]))
    by_reading = {name: Measurement.mean(elbo(change(scale)) - declared) for name, change in READINGS.items()}
    reading = max(by_reading, key=lambda name: _usable(by_reading[name]))
    under = stationary_weights(pulls(subject, rows, READINGS[reading]))
    squares, roots = (stationary_weights(pulls(subject, rows, change)) for change in (torch.square, torch.sqrt))
    return {
        "best_scale_factor": Measurement.of(factor),
        "gain_of_scale_factor": by_factor[factor],
        "best_reading": Measurement.of(list(READINGS).index(reading)),
        "gain_of_reading": by_reading[reading],
        "kl_weight_of_means_under_reading": under["kl_weight_of_means"],
        "kl_weight_of_scales_under_reading": under["kl_weight_of_scales"],
        "kl_weight_of_means_with_squares": squares["kl_weight_of_means"],
        "kl_weight_of_scales_with_squares": squares["kl_weight_of_scales_as_variances"],
        "kl_weight_of_means_with_roots": roots["kl_weight_of_means"],
        "kl_weight_of_scales_with_roots": roots["kl_weight_of_scales_as_roots"],
    }


def _usable(number: Measurement) -> float:
    """The value; −inf where it is NaN."""
    return number.value if number.value == number.value else -float("inf")
