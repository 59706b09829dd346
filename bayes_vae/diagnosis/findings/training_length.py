"""Too little training, or too much for the data at hand."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bayes_vae.diagnosis.findings.examined import CLEARLY, Examined, agree
from bayes_vae.diagnosis.findings.kind import AT_MOST_LIKELY, Case, warning
from bayes_vae.diagnosis.findings.kl_weight import KL_WEIGHT_FACTOR_UNSETTLED
from bayes_vae.diagnosis.findings.latent_use import MARGINAL_KL

YOUNG = 3.0
"""Times as much as any better q gains that training both gains, where the decoder is young too."""

FOLLOWS = ("prior-hole", "importance-weights")
"""What follows from too short a training."""


@warning(
    "undertraining",
    needs=("gain_of_training",),
    why="These networks can reach a higher ELBO; comparing such runs compares training time, not models.",
    advice="Train for more epochs (bayes-vae train --resume), or at a higher learning rate at the start. The "
    "gain of training then falls below 0.6 nats, or 3 % of the KL.",
    explains=FOLLOWS,
    symptom="guide",
    of_elbo=True,
)
def undertraining(seen: Examined) -> Iterator[Case]:
    """A little more training helps rows that were not trained on, or the history still rose.

    Where means and codes are elsewhere than at rest under the prior, only if the decoder gains as well: another prior
    or another weight is a matter of the encoder above all. What is less than the error of the test ELBO is likely at
    most: a few hundred rows cannot tell such runs apart.
    """
    gain, young = seen.value("gain_of_training"), hardly_trained(seen)
    sure = _near_rest(seen) and not gain < seen.shown("test_elbo").error
    learned = ("likelihood-scale",) if seen.value("pixel_scale_is_learned") == 1.0 else ()
    yield Case(
        f"A little more training of a copy raises the validation ELBO by {gain:.2g} nats.",
        [
            seen.above("gain_of_training", 0.6, or_share_of_kl=0.03),
            seen.holds(_near_rest(seen) or young, "kl_weight_of_means"),
        ],
        ("gain_of_training_on_train", "train_amortization_gap", "last_rise"),
        explains=("amortization-gap", *learned, *FOLLOWS) if young else FOLLOWS,
        at_most=1.0 if sure else AT_MOST_LIKELY,
    )
    yield Case(
        f"The validation ELBO rose by {seen.value('last_rise'):.2g} nats over the last fifth of the epochs.",
        [seen.above("last_rise", 1.2, or_share_of_kl=0.06)],
        ("epochs", "gain_of_training"),
    )


def hardly_trained(seen: Examined, times: float = YOUNG) -> bool:
    """Whether training both gains far more than any better q would: the decoder is young, not the encoder alone."""
    better_q = [seen.value(name) for name in ("train_amortization_gap", "gain_of_encoder") if name in seen.measured]
    return bool(better_q) and seen.value("gain_of_training") > times * max(better_q)


def _near_rest(seen: Examined) -> bool:
    """The means are near rest at weight 1, or unknown, or the codes are where the prior is."""
    near = agree(seen.value("kl_weight_of_means"), 1.0, KL_WEIGHT_FACTOR_UNSETTLED)
    at_home = not seen.value("marginal_kl_bound") > seen.at_least(*MARGINAL_KL)
    return near or at_home or "kl_weight_of_means" not in seen.measured


@warning(
    "overfitting",
    needs=("generalization_gap",),
    why="The ELBO of observations that were not trained on is lower: figures on training rows are too good.",
    advice="Stop at the best validation ELBO (patience), use smaller networks or more data; where the encoder's "
    "part is large, refine q for each observation or give the encoder noisy inputs. The generalization "
    "gap then falls below 4 nats, or half of the KL.",
    explains=("importance-weights",),
    symptom="decoder",
    at_most=AT_MOST_LIKELY,
)
def overfitting(seen: Examined) -> Iterator[Case]:
    """Training rows have a larger ELBO than test rows, by more than two errors: these are other rows."""
    above = seen.above("generalization_gap", 4.0, or_share_of_kl=0.5)
    gap, encoder = seen.value("generalization_gap"), seen.value("encoder_generalization_gap")
    part = "" if math.isnan(encoder) else f", of which {max(encoder, 0.0):.2g} the encoder's"
    yield Case(
        f"The ELBO of training rows is {gap:.3g} nats above that of test rows{part}.",
        [above, seen.holds(above.probability > CLEARLY)],
        ("train_elbo", "test_elbo", "encoder_generalization_gap"),
    )
