"""What the decoder outputs: logits, probabilities, or means and deviations of pixels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bayes_vae.diagnosis.measure.measurement import Measurement, deviation
from bayes_vae.diagnosis.measure.subject import Rows, Subject
from bayes_vae.distributions import BernoulliLogits
from bayes_vae.distributions.properties import unwrap
from bayes_vae.errors import DoesNotApplyError
from bayes_vae.terms.randomness import derived_seed, isolated_rng

__all__ = ["measure_logits", "measure_pixel_scale", "measure_reach", "pixels_of"]

DRAWS = 4


def pixels_of(subject: Subject, rows: Rows) -> tuple[Any, Tensor]:
    """p(x given z) with the pixels apart, at draws z of q, batch (K, N), K = 4; and x, NaN where missing."""
    bound = subject.exposed.bind(*rows)
    with isolated_rng(derived_seed(subject.seed, "pixels"), subject.device):
        z = bound.variational_posterior.sample((DRAWS,))
    return unwrap(bound.model.likelihood(z)), bound.x


def _known(values: Tensor, missing: Tensor) -> Tensor:
    """Values of numbers of x, float64, NaN of those that are missing."""
    return values.double().masked_fill(missing, torch.nan)


def _learned(subject: Subject) -> bool:
    """Whether a parameter moves the likelihood's deviation."""
    model = subject.exposed.model
    with torch.enable_grad(), isolated_rng(derived_seed(subject.seed, "learned"), subject.device):
        found = model.likelihood(model.prior().sample((1,)))
        return bool(unwrap(found).scale.requires_grad)


def measure_logits(subject: Subject) -> dict[str, Measurement]:
    """Range of a Bernoulli decoder's logits, and how the pixels fit them.

    Raises:
        DoesNotApplyError: another likelihood.
    """
    pixels, x = pixels_of(subject, subject.train)
    if not isinstance(pixels, BernoulliLogits | torch.distributions.Bernoulli):
        raise DoesNotApplyError(f"the likelihood is {type(pixels).__name__}, not Bernoulli.")
    p = (pixels.logits.sigmoid() if isinstance(pixels, BernoulliLogits) else pixels.probs).double()
    logits = pixels.logits.double()
    wrong = torch.where(x > 0.5, p, 1 - p) < 1e-4
    missing = x.isnan()
    return {
        "smallest_logit": Measurement.of(logits.min()),
        "largest_logit": Measurement.of(logits.max()),
        "share_of_zero_logits": Measurement.of((logits.abs() < 1e-6).double().mean()),
        "share_of_smallest_logit": Measurement.of((logits < logits.min() + 1e-5).double().mean()),
        "share_of_largest_logit": Measurement.of((logits > logits.max() - 1e-5).double().mean()),
        "share_of_certain_pixels": Measurement.of(((p < 1e-6) | (p > 1 - 1e-6)).double().mean()),
        "share_certain_and_wrong": Measurement.mean(_known(wrong, missing).flatten(2).nanmean((0, 2)), ""),
        "share_of_ones": Measurement.of(x.double().nanmean()),
        "share_of_ones_decoded": Measurement.of(_known(p, missing).nanmean()),
        "share_of_zeros_predicted": Measurement.of((p < 0.5).double().mean()),
    }


def measure_pixel_scale(subject: Subject) -> dict[str, Measurement]:
    """A normal decoder's deviation beside the residuals that it should describe.

    Raises:
        DoesNotApplyError: another likelihood.
    """
    pixels, x = pixels_of(subject, subject.train)
    if not isinstance(pixels, torch.distributions.Normal):
        raise DoesNotApplyError(f"the likelihood is {type(pixels).__name__}, not a normal.")
    residual = (x - pixels.loc).double()
    scale = pixels.scale.double().expand_as(residual)
    size = float((~residual[0].isnan()).double().sum() / len(residual[0]))
    ratio = (residual / scale).square().flatten(2).nanmean((0, 2))
    square = float(ratio.mean())
    log_ratio = torch.log(torch.tensor(square)).item()
    return {
        "residual_over_scale": Measurement.of(square**0.5, ratio.std() / len(ratio) ** 0.5 / 2 / square**0.5),
        "residual_deviation": Measurement.of(residual.square().nanmean().sqrt()),
        "gain_of_pixel_scale": Measurement(size * 0.5 * (square - 1 - log_ratio)),
        "smallest_pixel_scale": Measurement.of(scale.min() / deviation(x.double())),
        "pixel_scale": Measurement.of(scale.log().mean().exp()),
        "pixel_scale_is_learned": Measurement.of(float(_learned(subject))),
        "pixel_scale_is_one_number": Measurement.of(float(scale.min() == scale.max())),
    }


def measure_reach(subject: Subject) -> dict[str, Measurement]:
    """How much of the data lies outside all means that a normal decoder gives, and how unlike their columns are.

    The means are those of draws of q and of the prior. A value counts as out of reach where it lies beyond the least or
    the largest of them all.

    Raises:
        DoesNotApplyError: another likelihood, or one without a mean of its own.
    """
    pixels, x = pixels_of(subject, subject.train)
    if not isinstance(pixels, torch.distributions.Normal):
        raise DoesNotApplyError(f"the likelihood is {type(pixels).__name__}, not a normal.")
    model = subject.exposed.model
    with isolated_rng(derived_seed(subject.seed, "reach"), subject.device):
        of_prior = unwrap(model.likelihood(model.prior().sample((256,)))).mean
    means = torch.cat([pixels.mean.flatten(), of_prior.flatten()]).double()
    least, most, x = means.min(), means.max(), x.double()
    columns = torch.stack([deviation(column) for column in x.flatten(1).unbind(1)])
    missing = x.isnan()
    return {
        "smallest_mean_decoded": Measurement.of(least),
        "largest_mean_decoded": Measurement.of(most),
        "share_below_reach": Measurement.mean(_known(x < least, missing).flatten(1).nanmean(1), ""),
        "share_above_reach": Measurement.mean(_known(x > most, missing).flatten(1).nanmean(1), ""),
        "largest_column_over_median": Measurement.of(columns.max() / columns.median().clamp(min=1e-12)),
    }
