"""The decoder's outputs are taken for what they are not: no sigmoid, two of them, or a ReLU."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.kind import OF_DECODER, Case, Kind

__all__ = ["output_relu", "sigmoid_missing", "sigmoid_twice"]

TINY = 1e-4
"""Logits so close to 0, or to 1, are taken as that."""

ROUNDED_LOGIT = 15.0
"""Logits beyond it may be all the same because float32 rounds their probabilities."""

CLIPPED_SHARE = 0.05
"""Share of logits that are exactly the smallest, or the largest, from which the outputs are taken to be clipped."""

CERTAIN_SHARE = 0.4
"""Share of pixels that a decoder calls certain, for logits to have been taken as probabilities."""

WRONG_PIXELS = 0.005
"""Share of pixels that a decoder may call impossible, at probabilities below 1e-4, and that are there."""

ZERO_SHARE = 0.01
"""Share of logits that are exactly 0, for a ReLU at the output."""

ONES = ("share_of_ones", "share_of_ones_decoded")


@partial(
    Kind,
    "sigmoid-missing",
    "fault",
    needs=("share_certain_and_wrong",),
    why="Pixels are called impossible that are there, which costs log p(x | z) without bound.",
    advice="The decoder's outputs are logits: pass them as logits, or put one sigmoid before they are taken as "
    "probabilities.",
    explains=(*OF_DECODER, "likelihood-scale"),
)
def sigmoid_missing(seen: Examined) -> Iterator[Case]:
    """Outputs taken as probabilities: clipped in training, or pixels called impossible that are there."""
    for end in ("smallest", "largest"):  # many logits that are the same number, which no rounding puts there
        value, share = seen.value(f"{end}_logit"), seen.value(f"share_of_{end}_logit")
        yield Case(
            f"{share:.0%} of the logits are exactly {value:.3g}: outputs are clipped to probabilities in place of a "
            "sigmoid, and a clipped pixel has no gradient.",
            [
                seen.above(f"share_of_{end}_logit", CLIPPED_SHARE),
                seen.holds(TINY < abs(value) < ROUNDED_LOGIT),
            ],
            ("smallest_logit", "largest_logit", "share_of_certain_pixels"),
        )
    yield Case(
        f"{seen.value('share_certain_and_wrong'):.1%} of the pixels that are there have probability next to 0, and "
        f"{seen.value('share_of_certain_pixels'):.0%} are called certain: logits taken as probabilities look so.",
        [seen.above("share_certain_and_wrong", WRONG_PIXELS), seen.above("share_of_certain_pixels", CERTAIN_SHARE)],
        ("test_expected_log_likelihood",),
    )


@partial(
    Kind,
    "sigmoid-twice",
    "fault",
    needs=("smallest_logit",),
    why="Every probability is between 0.5 and 0.731, so no pixel can be called dark or certain.",
    advice="Remove one of the two sigmoids: give the likelihood logits or probabilities, not probabilities as logits.",
    explains=OF_DECODER,
)
def sigmoid_twice(seen: Examined) -> Iterator[Case]:
    """All logits in [0, 1]."""
    yield Case(
        "All logits lie in [0, 1], so all probabilities in [0.5, 0.731]: probabilities are given as logits.",
        [seen.above("smallest_logit", -TINY), seen.below("largest_logit", 1 + TINY)],
        ONES,
    )


@partial(
    Kind,
    "output-relu",
    "fault",
    needs=("smallest_logit",),
    why="Every probability is at least one half, so no pixel can be called dark.",
    advice="Remove the ReLU after the decoder's last layer: logits must be free to be negative.",
    explains=OF_DECODER,
)
def output_relu(seen: Examined) -> Iterator[Case]:
    """No logit below zero, and many that are zero."""
    yield Case(
        f"No logit is negative, and {seen.value('share_of_zero_logits'):.0%} are exactly 0: no pixel can be dark.",
        [
            seen.above("smallest_logit", -TINY),
            seen.above("largest_logit", 1 + TINY),
            seen.above("share_of_zero_logits", ZERO_SHARE),
        ],
        ONES,
    )
