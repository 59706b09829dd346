"""A deviation, of the likelihood or of q, is on its way to zero."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.kind import OF_GUIDE, Case, Kind

__all__ = ["scale_runaway"]

SMALLEST_PIXEL_SCALE = 5e-3
"""A likelihood's smallest deviation, in deviations of the data, below which its density runs away."""

SMALLEST_SCALE = 1e-4
"""q's smallest deviation, in the prior's, below which it runs away."""


@partial(
    Kind,
    "scale-runaway",
    "warning",
    needs=("smallest_scale",),
    why="A deviation that nothing holds goes to zero where the data allow it: densities grow without bound, gradients "
    "with them, and training ends in NaN.",
    advice="Give deviations a floor, share one between pixels, or add noise to data that have constant pixels.",
    explains=(*OF_GUIDE, "prior-hole", "overfitting"),
    symptom="objective",
)
def scale_runaway(seen: Examined) -> Iterator[Case]:
    """A smallest deviation that nothing holds; one for all pixels is held by the worst of them."""
    yield Case(
        f"The smallest deviation of the likelihood is {seen.value('smallest_pixel_scale'):.2g} of the data's: nothing "
        "holds it.",
        [
            seen.below("smallest_pixel_scale", SMALLEST_PIXEL_SCALE),
            seen.holds(seen.value("pixel_scale_is_one_number") != 1.0, "pixel_scale_is_one_number"),
        ],
        ("train_expected_log_likelihood", "generalization_gap"),
    )
    yield Case(
        f"The smallest deviation of q is {seen.value('smallest_scale'):.2g} of the prior's: nothing holds it.",
        [seen.below("smallest_scale", SMALLEST_SCALE)],
        ("median_scale", "largest_code"),
    )
