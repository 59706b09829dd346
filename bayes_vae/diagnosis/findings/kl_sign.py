"""The KL was raised in training, not lowered."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.kind import OF_DECODER, Case, Kind
from bayes_vae.diagnosis.findings.unused_latent import UNUSED_KL

__all__ = ["kl_sign"]

UNUSED_SHARE = 0.1
"""Use of the latent over the KL that is paid for it, below which the KL is wasted."""


@partial(
    Kind,
    "kl-sign",
    "fault",
    needs=("train_kl_to_prior", "use_of_latent", "marginal_kl_bound", "gain_of_training"),
    why="Training drives q away from the prior and gains nothing for it: the loss falls without bound.",
    advice="Minimize minus the expected log likelihood plus the KL, with KL = -0.5 sum(1 + log s² - m² - s²), which is "
    "never negative.",
    explains=(*OF_DECODER, "sigmoid-missing", "kl-missing", "decoder-ignores-latent"),
    of_elbo=True,
)
def kl_sign(seen: Examined) -> Iterator[Case]:
    """A KL that is paid and hardly used, with codes far from the prior and no balance anywhere near weight 1."""
    kl, use = seen.value("train_kl_to_prior"), seen.value("use_of_latent")
    yield Case(
        f"The KL is {kl:.3g} nats, and the decoder has {use:.2g} nats of use for it: training seems to have raised it "
        "instead of lowering it.",
        [
            seen.above("train_kl_to_prior", 10 * UNUSED_KL),
            seen.holds(use < UNUSED_SHARE * kl, "use_of_latent"),
            seen.above("marginal_kl_bound", UNUSED_KL),
            seen.above("gain_of_training", 0.5 * kl),
        ],
    )
