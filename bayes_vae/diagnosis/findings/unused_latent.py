"""z, or some of its dimensions, carries nothing of x."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.kind import OF_GUIDE, Case, Kind
from bayes_vae.diagnosis.measure.codes_and_prior import COLLAPSED_KL

__all__ = ["decoder_ignores_latent", "posterior_collapse", "unused_dimensions"]

UNUSED_LATENT = 0.1
"""Nats of log likelihood that another observation's z costs at least, where the decoder uses z."""

UNUSED_KL = 0.5
"""Nats of KL from which a latent that the decoder does not use is paid for."""

KL, LARGEST_KL = "train_kl_to_prior", "largest_mean_kl_of_a_dimension"


@partial(
    Kind,
    "decoder-ignores-latent",
    "fault",
    needs=("use_of_latent", KL),
    why="The KL is paid, and the reconstruction is the same for every z.",
    advice="Look for a z that is replaced, detached or multiplied by zero on its way into the decoder.",
    explains=(*OF_GUIDE, "prior-hole", "variance-collapse"),
)
def decoder_ignores_latent(seen: Examined) -> Iterator[Case]:
    """A KL is paid, and another observation's z does as well."""
    yield Case(
        f"The KL is {seen.value(KL):.2g} nats, and z of another observation reconstructs as well.",
        [seen.below("use_of_latent", UNUSED_LATENT), seen.above(KL, UNUSED_KL)],
    )


@partial(
    Kind,
    "posterior-collapse",
    "fault",
    needs=(KL,),
    why="z says nothing of x: the model is its decoder's average image.",
    advice="Raise the KL weight from 0 over the first epochs (kl_warmup_epochs), give free bits, make the decoder weaker "
    "or its noise smaller.",
    explains=("undertraining", "unused-dimensions"),
    symptom="objective",
)
def posterior_collapse(seen: Examined) -> Iterator[Case]:
    """Every dimension is the prior, or q is the same for every x, though not quite the prior."""
    if not seen.value(LARGEST_KL) < COLLAPSED_KL:
        yield Case(
            f"z of another observation reconstructs as well, at a KL of {seen.value(KL):.2g} nats: z says nothing of x.",
            [seen.below("use_of_latent", COLLAPSED_KL), seen.below(KL, UNUSED_KL)],
            (LARGEST_KL,),
        )
    by_dimension = LARGEST_KL in seen.measured
    count = int(seen.value("latent_dimensions")) if by_dimension else 0
    which = f"all {count} latent dimensions are" if count > 1 else "the latent is"
    yield Case(
        f"q(z | x) is the prior whatever x is: {which} collapsed.",
        [seen.below(LARGEST_KL if by_dimension else KL, COLLAPSED_KL)],
        (KL, "use_of_latent", "gain_of_training"),
    )


@partial(
    Kind,
    "unused-dimensions",
    "note",
    needs=("collapsed_dimensions",),
    why="These dimensions are the prior whatever x is; they cost nothing and say nothing.",
    advice="Nothing needs to be done; a smaller latent_dim gives the same model.",
    symptom="decoder",
)
def unused_dimensions(seen: Examined) -> Iterator[Case]:
    """Some dimensions are the prior, and others are not."""
    count, unused = int(seen.value("latent_dimensions")), int(seen.value("collapsed_dimensions"))
    dimensions = [f"z_{d + 1}" for d in range(count) if seen.value(f"kl_of_z_{d + 1}") < COLLAPSED_KL]
    yield Case(
        f"{unused} of {count} latent dimensions {'is' if unused == 1 else 'are'} collapsed: {', '.join(dimensions)}.",
        [seen.holds(unused not in (0, count), "collapsed_dimensions")],
        (LARGEST_KL, KL),
    )
