"""One of several latent sites, or of several observed sites, that has no part in the model."""

from __future__ import annotations

from collections.abc import Iterator

from bayes_vae.diagnosis.findings.examined import Examined
from bayes_vae.diagnosis.findings.kind import AT_MOST_LIKELY, OF_DECODER, OF_GUIDE, Case, fault, warning
from bayes_vae.diagnosis.findings.latent_use import UNUSED_KL
from bayes_vae.diagnosis.measure.codes_and_prior import COLLAPSED_KL
from bayes_vae.diagnosis.measure.sites import GAIN, KL, USE, USE_FOR

IGNORED = 0.1
"""Nats that the rest of the model may lose by another observation's draw of a layer that it ignores."""

FORGOTTEN_GAIN = (0.3, 0.25)
"""Nats that a little training must gain of a forgotten modality; share of it that others may gain, or z be worth."""


@fault(
    "forgotten-modality",
    needs=("smallest_use_of_latent_for_a_site", "largest_gain_of_a_site"),
    why="p(x | z) of this site is almost arbitrary, and so is every term that sums over the sites.",
    advice="Add its log likelihood to the loss, and give its decoder's parameters to the optimizer: the ELBO "
    "sums over all observed sites. The use of latent for it then rises well above 0 nats.",
    explains=(
        *OF_DECODER,
        *("kl-sign", "kl-missing", "kl-across-batch", "sampling-off", "scale-misread", "prior-mismatch"),
        *("averaged-loss", "kl-weight", "mismatched-pair", "likelihood-scale", "undertraining", "overfitting"),
        *("sigmoid-missing", "output-relu", "importance-weights", "amortization-gap"),
    ),
    of_elbo=True,
)
def forgotten_modality(seen: Examined) -> Iterator[Case]:
    """A little training gains much of one site alone, for which z is worth nothing yet."""
    least, share = FORGOTTEN_GAIN
    gains = {name: seen.value(f"{GAIN}{name}") for name in _names(seen, GAIN)}
    for name, gain in gains.items():
        others = max(other for site, other in gains.items() if site != name)
        use = seen.value(f"{USE_FOR}{name}")
        yield Case(
            f"The likelihood of site {name!r} was not trained: a little training on the ELBO raises it by {gain:.2g} "
            f"nats, and others by {max(others, 0.0):.2g} at most; another observation's z explains it just as well.",
            [
                seen.above(f"{GAIN}{name}", least),
                seen.holds(others < share * gain and use < max(IGNORED, share * gain), f"{USE_FOR}{name}"),
            ],
            [f"{GAIN}{site}" for site in gains if site != name],
            at_most=AT_MOST_LIKELY,  # its thresholds are not calibrated on trained pairs yet
        )


@fault(
    "layer-ignored",
    needs=("smallest_kl_of_a_site",),
    why="Its KL is paid, but the rest of the model is the same whatever its value.",
    advice="Look for a latent that is replaced, detached or multiplied by zero on its way to the part of the "
    "model that it should change. The use of site then rises above 0.1 nats.",
    explains=(*OF_GUIDE, "importance-weights"),
)
def layer_ignored(seen: Examined) -> Iterator[Case]:
    """A latent site whose KL is paid, while another observation's draw of it does as well."""
    for name in _names(seen, KL):
        yield Case(
            f"The KL of latent {name!r} is {seen.value(f'{KL}{name}'):.2g} nats, but another observation's draw of it "
            "does just as well.",
            [seen.below(f"{USE}{name}", IGNORED), seen.above(f"{KL}{name}", UNUSED_KL)],
        )


@warning(
    "layer-dead",
    needs=("smallest_kl_of_a_site",),
    why="This layer is its prior whatever x is: the model is the same without it.",
    advice="Raise the KL weight from 0 over the first epochs (kl_warmup_epochs), use free bits for this site, or "
    "leave the layer out. The KL of site then rises above 0.02 nats.",
    symptom="latent",
)
def layer_dead(seen: Examined) -> Iterator[Case]:
    """A latent site that is its prior, and sets nothing, while others do."""
    names = _names(seen, KL)
    dead = [
        name
        for name in names
        if seen.value(f"{KL}{name}") < COLLAPSED_KL and abs(seen.value(f"{USE}{name}")) < COLLAPSED_KL
    ]
    others = [f"{KL}{name}" for name in names if name not in dead]
    if others:
        for name in dead:
            yield Case(
                f"Latent {name!r} is dead: its KL is {max(seen.value(f'{KL}{name}'), 0.0):.2g} nats, and another "
                "observation's draw of it does just as well.",
                [seen.below(f"{KL}{name}", COLLAPSED_KL), seen.below(f"{USE}{name}", COLLAPSED_KL)],
                others,
            )


def _names(seen: Examined, beginning: str) -> list[str]:
    """Sites of which a number was measured."""
    return [name.removeprefix(beginning) for name in seen.measured if name.startswith(beginning)]
