"""Where the codes are, and what x puts into them: points, nothing, or another place than the prior's."""

from __future__ import annotations

from collections.abc import Iterator

from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.kind import AT_MOST_LIKELY, OF_GUIDE, Case, fault, note, warning
from bayes_vae.diagnosis.measure.codes_and_prior import COLLAPSED_KL

UNUSED_KL = 0.5
"""Nats of KL from which a latent that the decoder does not use is paid for."""

UNUSED = (0.1, 0.05)
"""Nats, or share of the KL, that another observation's z costs where the decoder makes nothing of z."""

VARIANCE_SHARE = 0.03
"""q's deviation over the aggregate posterior's, below which q is next to a point."""

MARGINAL_KL = (0.7, 0.1)
"""Nats of KL between aggregate posterior and prior, or share of the KL, from which samples suffer."""

KL, LARGEST_KL = "train_kl_to_prior", "largest_mean_kl_of_a_dimension"
MOMENTS = ("aggregate_mean_off", "aggregate_deviation_smallest", "aggregate_deviation_largest")


@fault(
    "decoder-ignores-latent",
    needs=("use_of_latent", KL),
    why="The KL is paid, but the reconstruction is the same for every z.",
    advice="Look for a z that is replaced, detached or multiplied by zero on its way into the decoder. The use "
    "of latent then rises above the KL.",
    explains=(*OF_GUIDE, "prior-hole", "variance-collapse"),
    at_most=AT_MOST_LIKELY,
)
def decoder_ignores_latent(seen: Examined) -> Iterator[Case]:
    """A KL is paid, and another observation's z does as well; where it does better, the decoder does use z."""
    least = seen.at_least(*UNUSED)
    yield Case(
        f"The KL is {seen.value(KL):.2g} nats, but another observation's z reconstructs x just as well.",
        [
            seen.below("use_of_latent", least),
            seen.above(KL, UNUSED_KL),
            seen.holds(seen.value("use_of_latent") > -UNUSED_KL - least, "use_of_latent"),
        ],
    )


@fault(
    "posterior-collapse",
    needs=(KL,),
    why="z carries no information about x: the model is one average observation, whatever z is.",
    advice="Raise the KL weight from 0 over the first epochs (kl_warmup_epochs), use free bits, or make the "
    "decoder weaker or its noise smaller. The train KL to prior then rises above 0.5 nats, and use of "
    "latent above it.",
    explains=("undertraining", "unused-dimensions"),
    symptom="latent",
)
def posterior_collapse(seen: Examined) -> Iterator[Case]:
    """Every dimension is the prior, or q is the same for every x, though not quite the prior."""
    if not seen.value(LARGEST_KL) < COLLAPSED_KL:
        yield Case(
            f"Another observation's z reconstructs x just as well, at a KL of {seen.value(KL):.2g} nats: z carries no "
            "information about x.",
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


@note(
    "unused-dimensions",
    needs=("collapsed_dimensions",),
    why="These dimensions are the prior whatever x is; they cost nothing and carry nothing.",
    advice="Nothing needs to be done; a smaller latent_dim gives the same model.",
    symptom="decoder",
)
def unused_dimensions(seen: Examined) -> Iterator[Case]:
    """Some dimensions are the prior, and others are not."""
    count, unused = int(seen.value("latent_dimensions")), int(seen.value("collapsed_dimensions"))
    dimensions = [f"z_{d}" for d in range(count) if seen.value(f"kl_of_z_{d}") < COLLAPSED_KL]
    yield Case(
        f"{unused} of {count} latent dimensions {'is' if unused == 1 else 'are'} collapsed: {', '.join(dimensions)}.",
        [seen.holds(unused not in (0, count), "collapsed_dimensions")],
        (LARGEST_KL, KL),
    )


@fault(
    "variance-collapse",
    needs=("scale_share",),
    why="q(z | x) is almost a point: an autoencoder in disguise that pays a KL and gains nothing.",
    advice="Look at how the deviation is computed and whether it is trained: log_var must come from the encoder, "
    "without a small cap, and be in the KL, z = mean + torch.randn_like(mean) * (log_var / 2).exp(). The "
    "scale share then rises well above 0.03.",
    explains=(*OF_GUIDE, "prior-hole"),
    symptom="objective",
    at_most=AT_MOST_LIKELY,
)
def variance_collapse(seen: Examined) -> Iterator[Case]:
    """Each q is next to a point beside the spread of all codes."""
    yield Case(
        f"The deviation of q(z | x) is {seen.value('scale_share'):.2g} times that of all codes together: almost a "
        "point.",
        [seen.below("scale_share", VARIANCE_SHARE)],
        ("median_scale", "train_kl_to_prior", "best_scale_factor"),
    )


@warning(
    "prior-hole",
    needs=("marginal_kl_bound",),
    why="Draws from the prior fall where no observation's code is: samples are worse than reconstructions.",
    advice="Use the prior of the training; otherwise fit a more flexible prior (mixture, vamp, flow) to the "
    "codes, with bv.refit_prior(model, guide, data) or `bayes-vae refit-prior RUN --out NEWRUN`, or train "
    "with such a prior and finish at KL weight 1. The marginal KL bound then falls below 0.7 nats, or a "
    "tenth of the KL.",
    explains=("importance-weights",),
    symptom="objective",
    at_most=AT_MOST_LIKELY,
)
def prior_hole(seen: Examined) -> Iterator[Case]:
    """Codes and draws of the prior that can be told apart."""
    yield Case(
        "The aggregate posterior is not the prior: their KL is at least "
        f"{seen.value('marginal_kl_bound'):.2g} nats, by a classifier that tells codes from draws of the prior.",
        [seen.above("marginal_kl_bound", *MARGINAL_KL)],
        MOMENTS,
    )
