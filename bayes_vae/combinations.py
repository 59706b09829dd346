"""Which settings can work together; no torch here, so that the command line says so at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bayes_vae.errors import SettingsError
from bayes_vae.settings import DataSettings, PairSettings, TrainingSettings

__all__ = ["check_combination", "with_fitting_policy"]

BINARY = ("bernoulli",)
"""Likelihoods of zeros and ones; the others take values as they are."""

CLOSED_FORM_PRIORS = ("standard-normal", "learned-normal")
VAMP_GUIDES = ("normal", "full-covariance", "low-rank")


def check_combination(pair: PairSettings, training: TrainingSettings | None = None) -> None:
    """Refuse settings that cannot work together.

    Args:
        pair: model and guide.
        training: how they are trained; None to look at the pair alone.

    Raises:
        SettingsError: the first combination that cannot work, and why.

    >>> check_combination(PairSettings(prior="vamp", guide="spline-flow"))
    Traceback (most recent call last):
    ...
    bayes_vae.errors.SettingsError: prior 'vamp' does not go with guide 'spline-flow': ...
    """
    problems = [*_of_structure(pair), *_of_parts(pair)]
    if training is not None:
        problems += _of_training(pair, training)
    if problems:
        raise SettingsError(problems[0])


def with_fitting_policy(data: DataSettings, pair: PairSettings) -> DataSettings:
    """The data with a policy that the likelihood takes, where none was chosen: none but for zeros and ones.

    >>> with_fitting_policy(DataSettings(), PairSettings(likelihood="normal")).policy
    'none'
    """
    if data.policy is None and pair.likelihood not in BINARY:
        return replace(data, policy="none")
    return data


def _of_structure(pair: PairSettings) -> Iterator[str]:
    """What the structures other than a plain VAE have of their own."""
    if pair.structure == "vae":
        return
    own = {"prior": "standard-normal", "guide": "normal", "network": "mlp"}
    for name, only in own.items():
        chosen = getattr(pair, name)
        if chosen != only:
            yield (
                f"structure {pair.structure!r} does not go with {name} {chosen!r}: it has its own latents, and a model "
                f"and a guide made for them. Leave {name} out, or choose structure 'vae'."
            )


def _of_parts(pair: PairSettings) -> Iterator[str]:
    if pair.prior == "vamp" and pair.guide not in VAMP_GUIDES:
        yield (
            f"prior 'vamp' does not go with guide {pair.guide!r}: it is a mixture of q(z given u) at pseudo-inputs u, "
            f"so q must come from an encoder and have a density at any z: choose guide {' or '.join(VAMP_GUIDES)}."
        )
    if pair.network == "conv" and not pair.hidden_dims:
        yield "network 'conv' needs at least one hidden layer: give hidden_dims its channels."
    if pair.likelihood != "normal" and pair.noise != "fixed":
        yield (
            f"noise {pair.noise!r} goes with likelihood 'normal' only: {pair.likelihood!r} has no scale of noise to "
            "choose. Leave noise out."
        )
    if pair.guide in ("low-rank",) and pair.rank > pair.latent_dim:
        yield f"rank must be at most latent_dim, got rank {pair.rank} and latent_dim {pair.latent_dim}."


def _of_training(pair: PairSettings, training: TrainingSettings) -> Iterator[str]:
    if pair.structure == "semi-supervised" and training.objective != "elbo":
        yield (
            f"structure 'semi-supervised' does not go with objective {training.objective!r}: its label is a discrete "
            "latent without reparameterized draws, which training sums over. Choose objective 'elbo'."
        )
    closed = pair.prior in CLOSED_FORM_PRIORS and pair.structure == "vae" and pair.guide in ("normal", "semi-amortized")
    if training.free_bits and not (closed or pair.guide in ("local",)):
        yield (
            "free_bits needs the KL of each latent dimension by itself, which only factorized normals have: choose "
            "guide 'normal' and prior 'standard-normal' or 'learned-normal', or leave free_bits out."
        )
