"""What the decoder outputs: logits, probabilities, or means and deviations of pixels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bayes_vae.diagnosis.measure.measurement import Measurement, deviation
from bayes_vae.diagnosis.measure.subject import Rows, Subject
from bayes_vae.distributions import BernoulliLogits
from bayes_vae.distributions.properties import unwrap
from bayes_vae.errors import DoesNotApplyError, NotDefinedError
from bayes_vae.terms.normal_latents import numbers_of
from bayes_vae.terms.randomness import derived_seed, isolated_rng
from bayes_vae.terms.traced import TracedPair

__all__ = ["measure_logits", "measure_pixel_scale", "measure_reach", "pixels_of"]

DRAWS = 4


BERNOULLI, NORMAL = (BernoulliLogits, torch.distributions.Bernoulli), (torch.distributions.Normal,)

WORDS: dict[tuple[type, ...], str] = {BERNOULLI: "Bernoulli", NORMAL: "a normal"}
"""Families of likelihoods, as they are called."""


def pixels_of(subject: Subject, rows: Rows, families: tuple[type, ...], *, of_prior: int = 0) -> tuple[Any, Tensor]:
    """p(x given z) with the pixels apart, at draws z of q, batch (K, N), K = 4; and x, NaN where missing.

    Args:
        subject: the pair.
        rows: its observations.
        families: of the likelihoods that are asked for.
        of_prior: as many draws of the prior in place of those of q.

    Raises:
        DoesNotApplyError: another likelihood.
    """
    try:
        pair = subject.exposed
    except NotDefinedError:
        return _pixels_of_sites(subject, rows, families, bool(of_prior))
    bound = pair.bind(*rows)
    with isolated_rng(derived_seed(subject.seed, "reach" if of_prior else "pixels"), subject.device):
        z = bound.prior.sample((of_prior,)) if of_prior else bound.variational_posterior.sample((DRAWS,))
    found = unwrap(pair.model.likelihood(z))
    return _of_family([found], families)[0], bound.x


def _of_family(found: list[Any], families: tuple[type, ...]) -> list[Any]:
    """Those of a family.

    Raises:
        DoesNotApplyError: there is none.
    """
    ours = [each for each in found if isinstance(each, families)]
    if not ours:
        names = " and ".join(dict.fromkeys(type(each).__name__ for each in found))
        raise DoesNotApplyError(f"the likelihood is {names}, not {WORDS[families]}.")
    return ours


def _pixels_of_sites(subject: Subject, rows: Rows, families: tuple[type, ...], of_prior: bool) -> tuple[Any, Tensor]:
    """The same of the numbers of all observed sites of a program that are of the family, side by side."""
    assert isinstance(subject.pair, TracedPair), "a pair exposes its distributions or is traced"
    bound = subject.pair.bind(*rows)
    with isolated_rng(derived_seed(subject.seed, "reach" if of_prior else "pixels"), subject.device):
        runs = [
            [
                numbers_of(site)
                for site in bound.observed_sites_at(None if of_prior else bound.draw(range(1), None).latents)
            ]
            for _ in range(1 if of_prior else DRAWS)
        ]
    _of_family([family for family, *_ in runs[0]], families)
    ours = [[rest for family, *rest in run if isinstance(family, families)] for run in runs]
    first, second = (torch.stack([torch.cat([site[i] for site in run], -1) for run in ours]) for i in range(2))
    x = torch.cat([site[2] for site in ours[0]], -1)
    if families is NORMAL:
        return torch.distributions.Normal(first, second, validate_args=False), x
    return torch.distributions.Bernoulli(logits=first, validate_args=False), x


def _known(values: Tensor, missing: Tensor) -> Tensor:
    """Values of numbers of x, float64, NaN of those that are missing."""
    return values.double().masked_fill(missing, torch.nan)


def _learned(subject: Subject) -> bool:
    """Whether a parameter moves the likelihood's deviation."""
    with torch.enable_grad():
        found, _ = pixels_of(subject, subject.train.first(1), NORMAL)
        return bool(found.scale.requires_grad)


def measure_logits(subject: Subject) -> dict[str, Measurement]:
    """Range of a Bernoulli decoder's logits, and how the pixels fit them.

    Raises:
        DoesNotApplyError: another likelihood.
    """
    pixels, x = pixels_of(subject, subject.train, BERNOULLI)
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
    pixels, x = pixels_of(subject, subject.train, NORMAL)
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
    pixels, x = pixels_of(subject, subject.train, NORMAL)
    of_prior, _ = pixels_of(subject, subject.train.first(256), NORMAL, of_prior=256)
    means = torch.cat([pixels.mean.flatten(), of_prior.mean.flatten()]).double()
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
