"""The KL had another weight than 1 in training: chosen, or come of an average in place of a sum."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bayes_vae.diagnosis.findings.examined import Condition, Examined, agree
from bayes_vae.diagnosis.findings.kind import AT_MOST_LIKELY, HELD_TOO_LITTLE, HELD_TOO_MUCH, Case, fault, warning
from bayes_vae.diagnosis.findings.latent_use import UNUSED_KL
from bayes_vae.diagnosis.measure.codes_and_prior import COLLAPSED_KL
from bayes_vae.diagnosis.measure.measurement import Measurement

KL_WEIGHT_FACTOR = 1.3
"""Estimated weights on the KL within this factor of 1 are taken as 1."""

KL_WEIGHT_FACTOR_UNSETTLED = 3.0
"""The same where training had not come to rest, so that no balance is expected."""

KL_WEIGHT_AGREEMENT = 1.5
"""Factor within which the weights from q's means and from q's deviations must agree to be one weight."""

FORGOTTEN_KL_WEIGHT = 0.02
"""An estimated weight below it, from means and from deviations, is taken as none."""

DISCRETE_FACTOR = 1.4
"""The same for discrete latents, of a weight below 1."""

SETTLED_GAIN = 0.3
"""Nats that a little more training at the pair's own weight may gain where it has come to rest."""

UNEXPLAINED = 0.25
"""Share of what training at weight 1 gains that training at the estimated weight may gain, where that is the weight."""

RESTING = 0.1
"""The same share where a weight at which the pair rests rules out that its deviations were read otherwise."""

BOTH = ("kl_weight_of_means", "kl_weight_of_scales")
LARGEST_KL = "largest_mean_kl_of_a_dimension"


@fault(
    "averaged-loss",
    needs=("kl_weight",),
    why="The loss is not the negative ELBO: the KL counts as if it had been multiplied.",
    advice="Sum log p(x | z) over pixels and the KL over latent dimensions, and average over observations only: loss = "
    "(reconstruction.flatten(1).sum(1) + kl.sum(1)).mean(). The estimated KL weight then reads 1.",
    explains=(*HELD_TOO_MUCH, *HELD_TOO_LITTLE, "kl-weight"),
    symptom="decoder",
    of_elbo=True,
)
def averaged_loss(seen: Examined) -> Iterator[Case]:
    """A weight that is a ratio of sizes; or a latent given up that the ELBO would not give up."""
    if seen.setting("kl_weight", 1.0) != 1 or seen.setting("free_bits", 0.0) > 0:
        return
    if not speaks_of_one_weight(
        seen
    ):  # nothing is left to be read off, but the ELBO would have kept the latent: a suspicion
        again = seen.value("gain_of_starting_again")
        yield Case(
            f"A fresh copy trained a little at KL weight 1 keeps the latent, and its ELBO is {again:.2g} nats higher. "
            f"The usual cause is a mean over the {seen.num_pixels} numbers of x beside a sum over z; a large KL "
            "weight, draws without a gradient (sample in place of rsample) or too high a learning rate look the same.",
            [seen.below(LARGEST_KL, COLLAPSED_KL), seen.above("gain_of_starting_again", SETTLED_GAIN)],
            severity="warning",
            at_most=AT_MOST_LIKELY,
        )
        return
    weight = seen.value("kl_weight")
    words, ratio = min(_averages(seen).items(), key=lambda average: abs(math.log(weight / average[1])))
    yield Case(
        f"The estimated KL weight {weight:.3g} is what {words} would give ({ratio:.3g}); a KL weight of that size "
        "would look the same: the line that computes the loss tells them apart.",
        [seen.within("kl_weight", ratio, 1.2), seen.off("kl_weight", 1.0, 4.0), *_weight_conditions(seen)],
        BOTH,
        explains=(*_follows(weight), "kl-weight"),
    )


def _follows(weight: float) -> tuple[str, ...]:
    """What follows from a weight above 1, or below."""
    return HELD_TOO_MUCH if weight > 1 else HELD_TOO_LITTLE


def _averages(seen: Examined) -> dict[str, float]:
    """What is averaged → the weight on the KL that comes of it."""
    pixels, latents = float(seen.num_pixels), seen.value("latent_dimensions")
    found = {"a mean over the numbers of x beside a sum over z": pixels}
    if latents > 1:
        found["means over the numbers of x and over z"] = pixels / latents
        found["a sum over x beside a mean over z"] = 1 / latents
    batch = seen.setting("batch_size", 1.0)
    if batch > 1:
        found["a mean over the batch of log p(x | z) beside a sum of the KL"] = batch
        found["a sum over the batch of log p(x | z) beside a mean of the KL"] = 1 / batch
    return found


@warning(
    "kl-weight",
    needs=("kl_weight",),
    why="Above 1 the objective is a looser bound on log p(x) than the ELBO, and the codes carry too little; below 1 "
    "it is not a bound, and the codes miss the prior.",
    advice="Finish training at weight 1, or report the weight with every figure and compare models at weight 1 only. "
    "After training at weight 1 the estimated KL weight reads 1.",
    explains=HELD_TOO_LITTLE,
    symptom="objective",
    of_elbo=True,
)
def kl_weight(seen: Examined) -> Iterator[Case]:
    """A weight other than 1: known from the settings, else estimated."""
    known, free = seen.setting("kl_weight", 1.0), seen.setting("free_bits", 0.0)
    means, scales = map(seen.value, BOTH)
    if known != 1:
        said = Measurement(known, unit="", name="kl_weight_of_the_settings", threshold=1.0)
        words = f"The run was trained with KL weight {known:g}."
        yield Case(words, [Condition(said, 1.0)], ("kl_weight",), explains=_follows(known))
    elif free > 0:
        said = Measurement(free, name="free_bits_of_the_settings", threshold=0.0)
        words = f"The run was trained with {free:g} nats of free bits in each latent dimension of each observation."
        yield Case(words, [Condition(said, 1.0)], ("kl_weight",))
    elif speaks_of_one_weight(seen):
        yield Case(
            f"Training came to rest as if the KL had weight {seen.value('kl_weight'):.2g}.",
            _weight_conditions(seen),
            (*BOTH, "train_kl_to_prior", "gain_at_own_weight"),
            explains=_follows(seen.value("kl_weight")),
            at_most=AT_MOST_LIKELY if math.isfinite(means) and not agree(means, scales, KL_WEIGHT_AGREEMENT) else 1.0,
        )


@warning(
    "discrete-kl-weight",
    needs=("kl_weight_of_draws",),
    why="Below 1 the objective is no bound on log p(x), and the codes say more than the prior allows. A relaxation of "
    "the draws, such as Gumbel-softmax, moves the number up, not down.",
    advice="Look whether the loss has the KL of the discrete latents, summed over categories and latents, with weight "
    "1: kl = (q.probs * (q.logits - prior.logits)).sum(-1).sum(-1). The kl weight of draws then reads 1 or more, and "
    "the mean KL falls.",
    explains=HELD_TOO_LITTLE,
    symptom="objective",
    of_elbo=True,
)
def discrete_kl_weight(seen: Examined) -> Iterator[Case]:
    """Discrete latents that are held too little: by a small weight, or by none, for which no number is at rest."""
    weight = seen.value("kl_weight_of_draws")
    yield Case(
        f"Training came to rest as if the KL of the discrete latents had weight {weight:.2g} at most. It may have had "
        "none: then q sharpens as long as training lasts.",
        [seen.below("kl_weight_of_draws", 1 / DISCRETE_FACTOR)],
        ("train_kl_to_prior",),
        at_most=AT_MOST_LIKELY,
    )


def at_rest_elsewhere(seen: Examined) -> bool:
    """Whether training at the estimated weight still gains much beside what it gains at 1: the weight is no weight."""
    own, gain = seen.value("gain_at_own_weight_on_train"), seen.value("gain_of_training_on_train")
    return own > max(SETTLED_GAIN, UNEXPLAINED * gain)


def speaks_of_one_weight(seen: Examined) -> bool:
    """Whether q's means and deviations speak of the same weight, where both are known, and not of none at all."""
    if at_rest_elsewhere(seen):
        return False
    means, scales, weight = map(seen.value, (*BOTH, "kl_weight"))
    if math.isnan(means):
        return weight > FORGOTTEN_KL_WEIGHT
    if seen.value(LARGEST_KL) < COLLAPSED_KL:
        return weight > 1 and seen.value("unbalanced_share") < 0.5
    if seen.value("use_of_latent") < COLLAPSED_KL and seen.value("train_kl_to_prior") < UNUSED_KL:
        return False  # next to nothing is paid for a latent of which the decoder makes nothing
    agreed = agree(means, scales, KL_WEIGHT_AGREEMENT) or rests_at_own_weight(seen)
    return agreed and weight > FORGOTTEN_KL_WEIGHT


def at_rest_at_one_weight(seen: Examined) -> bool:
    """Whether means and deviations speak of one weight, and training at it gains next to nothing of what 1 gains."""
    own, gain = seen.value("gain_at_own_weight_on_train"), seen.value("gain_of_training_on_train")
    return speaks_of_one_weight(seen) and own < RESTING * gain


def rests_at_own_weight(seen: Examined) -> bool:
    """Whether training at the estimated weight gains next to nothing, where both weights are far off 1 on one side."""
    means, scales = map(seen.value, BOTH)
    far = max(means, scales) < 1 / KL_WEIGHT_FACTOR_UNSETTLED or min(means, scales) > KL_WEIGHT_FACTOR_UNSETTLED
    own, gain = seen.value("gain_at_own_weight_on_train"), seen.value("gain_of_training_on_train")
    near = agree(means, scales, KL_WEIGHT_FACTOR_UNSETTLED)
    return far and near and own < min(SETTLED_GAIN, UNEXPLAINED * gain)


def _weight_conditions(seen: Examined) -> list[Condition]:
    """Off from 1, from means and from deviations; further where training had not come to rest."""
    settled = not seen.value("gain_at_own_weight_on_train") > SETTLED_GAIN
    factor = KL_WEIGHT_FACTOR if settled else KL_WEIGHT_FACTOR_UNSETTLED
    return [seen.off(name, 1.0, factor) for name in ("kl_weight", *BOTH) if name in seen.measured]
