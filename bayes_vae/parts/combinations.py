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
FACTORIZED_GUIDES = ("normal", "local", "semi-amortized")
NORMAL_GUIDES = (*FACTORIZED_GUIDES, "full-covariance", "low-rank")


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
    """The data with a policy that the pair takes, where none was chosen.

    A likelihood of other than zeros and ones takes pixels as they are. A local guide takes pixels that are drawn once.

    Raises:
        SettingsError: a local guide, and pixels that are drawn anew at each use; a number of labels that are seen, and
            a structure that infers none.

    >>> with_fitting_policy(DataSettings(), PairSettings(likelihood="normal")).policy
    'none'
    """
    if data.num_labelled is not None and pair.structure != "semi-supervised":
        raise SettingsError(
            f"num_labelled goes with structure 'semi-supervised' only: {pair.structure!r} sees "
            f"{'every label' if pair.structure == 'conditional' else 'no label'}. Leave num_labelled out, or choose "
            "structure 'semi-supervised'."
        )
    if data.policy is None and pair.likelihood not in BINARY:
        return replace(data, policy="none")
    if pair.guide != "local" or pair.likelihood not in BINARY:
        return data
    if data.policy == "stochastic":
        raise SettingsError(
            "guide 'local' does not go with policy 'stochastic': it has one q for each observation, and an observation "
            "whose pixels are drawn anew at each use is another one each time. Choose policy 'static' or 'threshold'."
        )
    return replace(data, policy=data.policy or "static")


def _of_structure(pair: PairSettings) -> Iterator[str]:
    """What the structures other than a plain VAE have of their own."""
    if pair.structure == "vae":
        return
    own = {"prior": "standard-normal", "guide": "normal", "network": "mlp"}
    for name, only in own.items():
        chosen = getattr(pair, name)
        if chosen != only:
            yield (
                f"structure {pair.structure!r} does not go with {name} {chosen!r}: it has a model and a guide of its "
                f"own, made of perceptrons and normals. Leave {name} out, or choose structure 'vae'."
            )


def _of_parts(pair: PairSettings) -> Iterator[str]:
    if pair.prior == "vamp" and pair.guide not in VAMP_GUIDES:
        yield (
            f"prior 'vamp' does not go with guide {pair.guide!r}: it is a mixture of q(z given u) at pseudo-inputs u, "
            f"so q must come from an encoder and have a density at any z: choose guide {' or '.join(VAMP_GUIDES)}."
        )
    if pair.prior == "mixture" and pair.guide == "prior":
        yield (
            "guide 'prior' does not go with prior 'mixture': training needs draws with a gradient, and which component "
            "a draw is from is a choice, which has none. Choose prior 'learned-normal' or 'flow', or another guide."
        )
    if pair.guide == "autoregressive-flow" and pair.latent_dim < 2:
        yield (
            "guide 'autoregressive-flow' needs latent_dim of at least 2, got 1: with one number nothing comes before "
            "it. Choose guide 'normal' or 'spline-flow'."
        )
    if pair.network == "conv" and not pair.hidden_dims:
        yield "network 'conv' needs at least one hidden layer: give hidden_dims its channels."
    if pair.likelihood != "normal" and pair.noise != "fixed":
        yield (
            f"noise {pair.noise!r} goes with likelihood 'normal' only: {pair.likelihood!r} has no scale of noise to "
            "choose. Leave noise out."
        )
    if pair.guide == "low-rank" and pair.rank > pair.latent_dim:
        yield f"rank must be at most latent_dim, got rank {pair.rank} and latent_dim {pair.latent_dim}."


def _of_training(pair: PairSettings, training: TrainingSettings) -> Iterator[str]:
    if pair.structure == "semi-supervised" and training.objective != "elbo":
        yield (
            f"structure 'semi-supervised' does not go with objective {training.objective!r}: its label is a discrete "
            "latent without reparameterized draws, which training sums over. Choose objective 'elbo'."
        )
    if training.kl == "analytic" and not _has_closed_form(pair):
        yield (
            f"kl 'analytic' needs a closed form of the KL, which structure {pair.structure!r} with guide "
            f"{pair.guide!r} and prior {pair.prior!r} lacks: it is known between normals of one latent. Choose kl "
            "'auto' or 'sampled'."
        )
    factorized = pair.structure == "vae" and pair.prior in CLOSED_FORM_PRIORS and pair.guide in FACTORIZED_GUIDES
    if training.free_bits and not factorized:
        yield (
            "free_bits needs the KL of each latent dimension by itself, which only factorized normals have: choose "
            f"guide {' or '.join(FACTORIZED_GUIDES)} and prior {' or '.join(CLOSED_FORM_PRIORS)}, or leave free_bits "
            "out."
        )


def _has_closed_form(pair: PairSettings) -> bool:
    """Whether the KL from q to p(z) is known."""
    if pair.structure != "vae":
        return pair.structure == "conditional"
    return pair.prior in CLOSED_FORM_PRIORS and pair.guide in (*NORMAL_GUIDES, "prior")
