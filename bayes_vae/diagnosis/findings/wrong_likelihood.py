"""p(x given z) is not the one that was meant: what the decoder's outputs stand for, and deviations."""

from __future__ import annotations

from collections.abc import Iterator

from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.kind import (
    AT_MOST_LIKELY,
    HELD_TOO_LITTLE,
    HELD_TOO_MUCH,
    OF_DECODER,
    OF_GUIDE,
    Case,
    fault,
    warning,
)

TINY = 1e-4
"""Logits so close to 0, or to 1, are taken as that."""

ONES = ("share_of_ones", "share_of_ones_decoded")


@fault(
    "sigmoid-missing",
    needs=("share_certain_and_wrong",),
    why="Observed pixel values get a probability close to 0, which costs log p(x | z) without bound.",
    advice="The decoder's outputs are logits: pass them as logits, or put one sigmoid before they are taken as "
    "probabilities. The share certain and wrong then falls to 0.",
    explains=(*OF_DECODER, "likelihood-scale"),
)
def sigmoid_missing(seen: Examined) -> Iterator[Case]:
    """Outputs taken as probabilities: clipped in training, or pixels called impossible that are there."""
    for end in ("smallest", "largest"):  # many logits that are one number; beyond 15 float32 rounds them to one
        value, share = seen.value(f"{end}_logit"), seen.value(f"share_of_{end}_logit")
        yield Case(
            f"{share:.0%} of the logits are exactly {value:.3g}: outputs are clipped to probabilities in place of a "
            "sigmoid, and a clipped pixel has no gradient.",
            [seen.above(f"share_of_{end}_logit", 0.05), seen.holds(TINY < abs(value) < 15)],
            ("smallest_logit", "largest_logit", "share_of_certain_pixels"),
        )
    yield Case(
        f"{seen.value('share_certain_and_wrong'):.1%} of the observed pixel values have probability close to 0, and "
        f"{seen.value('share_of_certain_pixels'):.0%} are called certain, as when logits are taken as probabilities.",
        [seen.above("share_certain_and_wrong", 0.005), seen.above("share_of_certain_pixels", 0.4)],
        ("test_expected_log_likelihood",),
    )


@fault(
    "sigmoid-twice",
    needs=("smallest_logit",),
    why="Every probability is between 0.5 and 0.731, so no pixel can be called dark or certain.",
    advice="Remove one of the two sigmoids: give the likelihood logits or probabilities, not probabilities as "
    "logits. The smallest logit then falls below 0.",
    explains=OF_DECODER,
)
def sigmoid_twice(seen: Examined) -> Iterator[Case]:
    """All logits in [0, 1]."""
    yield Case(
        "All logits lie in [0, 1], so all probabilities in [0.5, 0.731]: probabilities are given as logits.",
        [seen.above("smallest_logit", -TINY), seen.below("largest_logit", 1 + TINY)],
        ONES,
    )


@fault(
    "output-relu",
    needs=("smallest_logit",),
    why="Every probability is at least one half, so no pixel can be called dark.",
    advice="Remove the ReLU after the decoder's last layer: logits must be free to be negative. The smallest "
    "logit then falls below 0.",
    explains=OF_DECODER,
)
def output_relu(seen: Examined) -> Iterator[Case]:
    """No logit below zero, and many that are zero."""
    yield Case(
        f"No logit is negative, and {seen.value('share_of_zero_logits'):.0%} are exactly 0: no pixel can be dark.",
        [
            seen.above("smallest_logit", -TINY),
            seen.above("largest_logit", 1 + TINY),
            seen.above("share_of_zero_logits", 0.01),
        ],
        ONES,
    )


LEARNED_SCALE = (
    "The deviation is learned, but has not reached its best value: train it longer or at a higher rate, and look for a "
    "floor, a ceiling or a weight decay that holds it back. The residual over scale then reads 1."
)


@warning(
    "likelihood-scale",
    needs=("residual_over_scale",),
    why="The deviation of the pixels sets the weight of the reconstruction: too wide, and the latent is given up; too "
    "narrow, and the KL hardly counts.",
    advice="Learn the deviation: likelihood={'name': 'normal', 'noise': 'shared'}; or fix it near the residuals' "
    "own. The residual over scale then reads 1.",
    explains=HELD_TOO_MUCH,
)
def likelihood_scale(seen: Examined) -> Iterator[Case]:
    """Residuals that are not of the size that the likelihood says; too wide a one acts as too large a KL weight.

    A deviation that is learned and yet off is no cause but follows: from too short a training, or from draws of q that
    are not those of the training.
    """
    ratio, learned = seen.value("residual_over_scale"), seen.value("pixel_scale_is_learned") == 1.0
    follows = (
        (*HELD_TOO_LITTLE, "kl-weight", "prior-mismatch")
        if ratio > 1
        else (*HELD_TOO_MUCH, "averaged-loss", "kl-weight")
    )
    yield Case(
        f"The normal likelihood is too {'narrow' if ratio > 1 else 'wide'}: residuals are {ratio:.2g} times its "
        f"deviation, and one that fits them would gain {seen.value('gain_of_pixel_scale'):.3g} nats.",
        [seen.off("residual_over_scale", 1.0, 1.25), seen.above("gain_of_pixel_scale", 1.0)],
        ("pixel_scale", "residual_deviation", "pixel_scale_is_learned"),
        advice=LEARNED_SCALE if learned else "",
        explains=() if learned else follows,
        at_most=AT_MOST_LIKELY if learned else 1.0,
    )


@warning(
    "scale-runaway",
    needs=("smallest_scale",),
    why="A deviation that nothing keeps up goes to zero where the data allow it: densities and gradients grow without "
    "bound, and training ends in NaN.",
    advice="Give deviations a floor, share one between pixels, or add noise to data that have constant pixels. "
    "The smallest pixel scale then stays above 0.01.",
    explains=HELD_TOO_LITTLE,
    symptom="objective",
)
def scale_runaway(seen: Examined) -> Iterator[Case]:
    """A smallest deviation that nothing holds; one for all pixels is held by the worst of them."""
    yield Case(
        f"The smallest deviation of the likelihood is {seen.value('smallest_pixel_scale'):.2g} of the data's: nothing "
        "keeps it up.",
        [
            seen.below("smallest_pixel_scale", 5e-3),
            seen.holds(seen.value("pixel_scale_is_one_number") != 1.0, "pixel_scale_is_one_number"),
        ],
        ("train_expected_log_likelihood", "generalization_gap"),
    )
    yield Case(
        f"The smallest deviation of q is {seen.value('smallest_scale'):.2g} of the prior's: nothing keeps it up.",
        [seen.below("smallest_scale", 1e-4)],
        ("median_scale", "largest_code"),
        advice="Check whether the KL of each observation is in the loss: it keeps q's deviations from shrinking. "
        "Compute them as exp of half a log variance, or as softplus plus a floor.",
        explains=OF_GUIDE,
        at_most=AT_MOST_LIKELY,
    )
