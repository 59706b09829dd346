"""Terms of each latent site and of each observed site, where a program has several."""

from __future__ import annotations

import torch

from bayes_vae.diagnosis.measure.elbo_on_rows import DRAWS
from bayes_vae.diagnosis.measure.measurement import Measurement
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.errors import DoesNotApplyError
from bayes_vae.estimators.elbo import ElboAtDraws
from bayes_vae.terms.opened import collect
from bayes_vae.terms.randomness import KeyedNoise, derived_seed
from bayes_vae.terms.traced import TracedBatch, TracedPair

__all__ = ["GAIN", "KL", "LIKELIHOOD", "USE", "USE_FOR", "measure_latent_sites", "measure_observed_sites"]

KL, USE = "kl_of_site_", "use_of_site_"
"""What names of numbers of a latent site begin with."""

LIKELIHOOD, USE_FOR, GAIN = "log_likelihood_of_site_", "use_of_latent_for_", "gain_of_training_of_"
"""What names of numbers of an observed site begin with."""

USE_DRAWS = 4


def measure_latent_sites(subject: Subject) -> dict[str, Measurement]:
    r"""The KL of each latent site, and what the rest of the model makes of it.

    The use of a site s is what all other terms of the model lose where its draw is that of another observation:

    .. math:: E_q \left[ \log p(x, z_{-s} \mid z_s) - \log p(x, z_{-s} \mid z'_s) \right]

    Raises:
        DoesNotApplyError: a pair with one latent site.
    """
    if not isinstance(subject.pair, TracedPair) or len(subject.pair.layout.latents) < 2:
        raise DoesNotApplyError("the pair has one latent site.")
    elbo = ElboAtDraws("auto")
    with subject.opened(subject.train, "latent sites") as opened:
        collect(opened, DRAWS, elbo)
        by_site = elbo.result(opened).averages_by_site()
    found = {f"{KL}{name}": Measurement(kl.value, kl.total_error) for name, kl in by_site.items()}
    bound, noise = _bound(subject)
    latents = bound.draw(range(USE_DRAWS), noise).latents
    own = bound.log_densities(latents)
    for name, values in latents.items():
        other = bound.log_densities({**latents, name: values.roll(1, dims=1)})
        lost = torch.stack([own[site].double() - other[site].double() for site in own if site != name])
        found[f"{USE}{name}"] = Measurement.mean(lost.sum(0).mean(0))
    smallest = min((number for name, number in found.items() if name.startswith(KL)), key=lambda kl: kl.value)
    return {**found, "smallest_kl_of_a_site": smallest}


def measure_observed_sites(subject: Subject) -> dict[str, Measurement]:
    """The expected log likelihood of each observed site, and what it loses where z is another observation's.

    Raises:
        DoesNotApplyError: a pair with one observed site.
    """
    several = "the pair has one observed site."
    if not isinstance(subject.pair, TracedPair):
        raise DoesNotApplyError(several)
    bound, noise = _bound(subject)
    latents = bound.draw(range(USE_DRAWS), noise).latents
    rolled = {name: values.roll(1, dims=1) for name, values in latents.items()}
    own, other = (
        {site: values.double().mean(0) for site, values in bound.log_densities(at).items() if site not in latents}
        for at in (latents, rolled)
    )
    if len(own) < 2:
        raise DoesNotApplyError(several)
    likelihood = {f"{LIKELIHOOD}{name}": Measurement.mean(values) for name, values in own.items()}
    use = {f"{USE_FOR}{name}": Measurement.mean(values - other[name]) for name, values in own.items()}
    smallest = min(use.values(), key=lambda number: number.value)
    return {**likelihood, **use, "smallest_use_of_latent_for_a_site": smallest}


def _bound(subject: Subject) -> tuple[TracedBatch, KeyedNoise | None]:
    """The first test rows, ready to be drawn for, and the noise."""
    pair = subject.pair
    assert isinstance(pair, TracedPair), "both callers have looked"
    noise = KeyedNoise(derived_seed(subject.seed, "sites")) if pair.keyed else None
    return TracedBatch(pair, *subject.test), noise
