"""Each q(z given x) is next to a point."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.kind import OF_GUIDE, Case, Kind

__all__ = ["variance_collapse"]

VARIANCE_SHARE = 0.03
"""q's deviation over the aggregate posterior's, below which q is next to a point."""


@partial(
    Kind,
    "variance-collapse",
    "fault",
    needs=("scale_share",),
    why="q(z | x) is next to a point: an autoencoder in disguise, whose KL is paid for nothing.",
    advice="Look at how the deviation is made and whether it is trained; it must come from the encoder, without a small "
    "cap, and be in the KL.",
    explains=(*OF_GUIDE, "prior-hole"),
    symptom="objective",
)
def variance_collapse(seen: Examined) -> Iterator[Case]:
    """Each q is next to a point beside the spread of all codes."""
    yield Case(
        f"The deviation of q(z | x) is {seen.value('scale_share'):.2g} of that of all codes together: next to a point.",
        [seen.below("scale_share", VARIANCE_SHARE)],
        ("median_scale", "train_kl_to_prior", "best_scale_factor"),
    )
