"""The deviation of normal pixels is not that of the residuals."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.kind import OF_OBJECTIVE, Case, Kind

__all__ = ["likelihood_scale"]

PIXEL_SCALE_FACTOR = 1.25
"""Residuals over the deviation of a normal likelihood: within this factor of 1 they agree."""

PIXEL_SCALE_GAIN = 1.0
"""Nats that another deviation of the likelihood must gain."""


@partial(
    Kind,
    "likelihood-scale",
    "warning",
    needs=("residual_over_scale",),
    why="The deviation of the pixels is the weight of the reconstruction: too wide and the latent is given up, too "
    "narrow and the KL hardly counts.",
    advice="Learn the deviation (noise shared), or fix it near the residuals' own.",
    explains=(*OF_OBJECTIVE, "averaged-loss", "overfitting", "unused-dimensions"),
)
def likelihood_scale(seen: Examined) -> Iterator[Case]:
    """Residuals that are not of the size that the likelihood says."""
    ratio = seen.value("residual_over_scale")
    yield Case(
        f"The normal likelihood is too {'narrow' if ratio > 1 else 'wide'}: residuals are {ratio:.2g} times its "
        f"deviation, and the one that fits them is worth {seen.value('gain_of_pixel_scale'):.3g} nats.",
        [
            seen.off("residual_over_scale", 1.0, PIXEL_SCALE_FACTOR),
            seen.above("gain_of_pixel_scale", PIXEL_SCALE_GAIN),
        ],
        ("pixel_scale", "residual_deviation"),
    )
