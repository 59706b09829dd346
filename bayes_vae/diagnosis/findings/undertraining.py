"""More training would help."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bayes_vae.diagnosis.findings.examined import Condition, Examined, agree
from bayes_vae.diagnosis.findings.kind import Case, Kind
from bayes_vae.diagnosis.findings.kl_weight import KL_WEIGHT_FACTOR_UNSETTLED
from bayes_vae.diagnosis.findings.prior_hole import MARGINAL_KL

__all__ = ["undertraining"]

TRAINING_GAIN = (0.6, 0.03)
"""Nats of validation ELBO that a little more training may gain before a pair is called undertrained."""


@partial(
    Kind,
    "undertraining",
    "warning",
    needs=("gain_of_training",),
    why="The ELBO is not what these networks can do, and figures of two such runs compare their lengths.",
    advice="Train for more epochs (bayes-vae train --resume), or at a higher learning rate at the start.",
    explains=("prior-hole", "importance-weights"),
    symptom="guide",
    of_elbo=True,
)
def undertraining(seen: Examined) -> Iterator[Case]:
    """A little more training helps rows that were not trained on, or the history still rose."""
    yield Case(
        f"A little more training of a copy raises the validation ELBO by {seen.value('gain_of_training'):.2g} nats.",
        [seen.above("gain_of_training", seen.at_least(*TRAINING_GAIN)), *_not_another_prior(seen)],
        ("gain_of_training_on_train", "last_rise"),
    )
    yield Case(
        f"The validation ELBO rose by {seen.value('last_rise'):.2g} nats over the last fifth of the epochs.",
        [seen.above("last_rise", 2 * seen.at_least(*TRAINING_GAIN))],
        ("epochs", "gain_of_training"),
    )


def _not_another_prior(seen: Examined) -> list[Condition]:
    """The means are near rest at weight 1, or the codes are where the prior is: else the prior is another one."""
    if "kl_weight_of_means" not in seen.measured:
        return []
    near = agree(seen.value("kl_weight_of_means"), 1.0, KL_WEIGHT_FACTOR_UNSETTLED)
    at_home = not seen.value("marginal_kl_bound") > seen.at_least(*MARGINAL_KL)
    return [seen.holds(near or at_home, "kl_weight_of_means")]
