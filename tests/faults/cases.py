"""Trainings with exactly one fault, by the name of the finding that must come of it, and healthy ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bayes_vae.data import Data, load_data
from bayes_vae.guides import AmortizedNormalGuide
from bayes_vae.models import VAE
from bayes_vae.settings import Policy
from bayes_vae.terms.randomness import derived_seed, isolated_rng
from bayes_vae.training import fit
from faults.losses import (
    Loss,
    autoencoding,
    averaged,
    deterministic,
    kl_across_the_batch,
    log_variance_as_scale,
    squares_drawn,
    squares_in_kl,
    train,
    weighted,
    without_gradient,
)
from faults.pairs import (
    AlteredGuide,
    AlteredModel,
    SharedScale,
    bernoulli_pixels,
    normal_pixels,
    own_pair,
    plain_pair,
)

__all__ = ["CASES", "Case", "Patient"]

LATENT, EPOCHS = 6, 60


class Patient(NamedTuple):
    """A trained pair and its data."""

    model: Any
    guide: Any
    data: Data
    history: tuple[dict[str, float], ...] = ()
    settings: dict[str, Any] | None = None


class Case(NamedTuple):
    """One kind of training.

    Attributes:
        expected: names of which one must be the first or second finding; empty for a healthy training.
        build: from a seed to the trained pair.
        words: what was done.
    """

    expected: tuple[str, ...]
    build: Callable[[int], Patient]
    words: str


def fresh(
    seed: int, latent_dim: int = LATENT, policy: Policy = "threshold", likelihood: Any = None, outputs: int = 1
) -> Patient:
    """A pair before training: this library's own for even seeds, plain torch networks for odd ones."""
    data = load_data("digits", policy=policy)
    with isolated_rng(derived_seed(seed, "weights of the fault suite")):
        if seed % 2 == 0 and likelihood is None:
            return Patient(*own_pair(latent_dim, data.data_shape), data)
        return Patient(*plain_pair(latent_dim, data.data_shape, likelihood, outputs), data)


RIGHT = weighted(1.0)
"""The negative ELBO."""


def trained(
    seed: int, loss: Loss = RIGHT, epochs: int = EPOCHS, start: Patient | None = None, **options: Any
) -> Patient:
    """A pair trained on a loss."""
    found = start or fresh(seed)
    with isolated_rng(derived_seed(seed, "training of the fault suite")):
        train(found.model, found.guide, found.data, loss, epochs=epochs, seed=seed, **options)
    return found


def _gray(seed: int, scale: float | None, outputs: int = 1, **options: Any) -> Patient:
    """Gray digits under normal pixels."""
    likelihood = normal_pixels((8, 8), scale)
    return trained(seed, start=fresh(seed, policy="none", likelihood=likelihood, outputs=outputs), **options)


def _changed_scale(seed: int, change: Callable[[Tensor], Tensor]) -> Patient:
    """A right training whose deviations are then read otherwise."""
    found = trained(seed)
    return found._replace(guide=AlteredGuide(found.guide, lambda loc, scale: (loc, change(scale))))


def _fixed_scale(seed: int) -> Patient:
    """Deviations held at a thousandth."""
    found = fresh(seed)
    guide = AlteredGuide(found.guide, lambda loc, scale: (loc, scale.detach() * 0 + 1e-3))
    return trained(seed, start=found._replace(guide=guide))


def _other_prior(seed: int) -> Patient:
    """A prior three times as wide as the one of the training."""
    found = trained(seed)
    return found._replace(model=AlteredModel(found.model, prior=(0.0, 3.0)))


def _moved_prior(seed: int) -> Patient:
    """Codes that the guide has moved away from where the KL wanted them."""
    found = trained(seed)
    return found._replace(model=AlteredModel(found.model, prior=(2.0, 1.0)))


def _last_layer(seed: int, layer: nn.Module) -> Patient:
    """A decoder with one more layer on its output."""
    found = fresh(seed)
    found.model.decoder = nn.Sequential(found.model.decoder, layer)
    return trained(seed, start=found)


def _probabilities(seed: int) -> Patient:
    """Logits taken as probabilities, clipped to [0, 1]."""
    found = trained(seed)
    inside = 1e-6

    def likelihood(z: Tensor) -> Any:
        p = found.model.likelihood(z).logits
        return bernoulli_pixels((8, 8))(torch.logit(p.clamp(inside, 1 - inside)).flatten(-2))

    return found._replace(model=AlteredModel(found.model, likelihood=likelihood))


def _gray_bernoulli(seed: int) -> Patient:
    """Gray pixels under a Bernoulli likelihood."""
    return trained(seed, start=fresh(seed, policy="none"))


def _pixels_to_255(seed: int) -> Patient:
    """Pixels in 0…255 under a Bernoulli likelihood."""
    found = fresh(seed, policy="none")
    values = {
        name: replace(split, values=split.values.float())
        for name in ("train", "validation", "test")
        for split in (getattr(found.data, name),)
    }
    return trained(seed, start=found._replace(data=replace(found.data, kind="real", **values)), epochs=5)


def _without_latent(seed: int) -> Patient:
    """A decoder that is handed zeros in place of z, behind an encoder that was trained with another decoder."""
    found = trained(seed)
    decoder = found.model.decoder
    for layer in decoder.modules():
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    found.model.decoder = nn.Sequential(_Zeros(), decoder)
    found.guide.requires_grad_(False)
    return trained(seed, epochs=30, start=found)


class _Zeros(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        """Zeros in the shape of z."""
        return z * 0


def _small_encoder(seed: int) -> Patient:
    """An encoder through a single hidden number, trained for a decoder that had a better one."""
    found = trained(seed)
    found.model.requires_grad_(False)
    with isolated_rng(derived_seed(seed, "small encoder")):
        found.guide.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.Tanh(), nn.Linear(1, 2 * LATENT))
    found = trained(seed, start=found)
    found.model.requires_grad_(True)
    return found


def _stale_encoder(seed: int) -> Patient:
    """An encoder that stopped being trained before the decoder did."""
    found = trained(seed, epochs=4, falling=False)
    found.guide.requires_grad_(False)
    found = trained(seed, start=found)
    found.guide.requires_grad_(True)
    return found


def _few_images(seed: int, epochs: int) -> Patient:
    """Trained on the first 100 training images alone, with small noise."""
    found = fresh(seed)
    few = found.data.train
    few = replace(few, values=few.values[:100], labels=None, index=few.index[:100])
    return trained(seed, epochs=epochs, start=found._replace(data=replace(found.data, train=few)))


def _not_a_number(seed: int) -> Patient:
    """One weight of the decoder is NaN."""
    found = trained(seed, epochs=3)
    with torch.no_grad():
        next(found.model.decoder.parameters())[0, 0] = torch.nan
    return found


class _Clipped(nn.Module):
    def forward(self, output: Tensor) -> Tensor:
        """Logits of outputs that are clipped to probabilities."""
        return torch.logit(output.clamp(1e-4, 1 - 1e-4))


def _known_weight(seed: int, weight: float) -> Patient:
    """A KL weight that the settings tell."""
    return trained(seed, weighted(weight))._replace(settings={"kl_weight": weight})


def _held_decoder(seed: int) -> Patient:
    """A decoder that stays held, behind an encoder that went on being trained."""
    found = trained(seed)
    found.model.requires_grad_(False)
    return trained(seed, start=found)


def _shared_scale(seed: int) -> Patient:
    """Gray digits under normal pixels with one learned deviation."""
    return trained(seed, start=fresh(seed, policy="none", likelihood=SharedScale((8, 8), 0.2)))


def _convolutional(seed: int) -> Patient:
    """This library's convolutional networks."""
    found = fresh(seed)
    networks: dict[str, Any] = {"data_shape": (8, 8), "hidden_dims": (8, 16), "network": "conv"}
    with isolated_rng(derived_seed(seed, "weights of the fault suite")):
        pair = VAE(4, **networks), AmortizedNormalGuide(4, **networks)
    return trained(seed, epochs=50, start=Patient(*pair, found.data))


def _fitted(seed: int) -> Patient:
    """This library's own training."""
    found = fresh(2 * seed, policy="stochastic")
    run = fit(found.model, found.guide, found.data, epochs=EPOCHS, learning_rate=5e-3, seed=seed, progress="none")
    return found._replace(history=tuple(run.history), settings=run.settings["training"])


COLLAPSE, WEIGHT, AVERAGED = "posterior-collapse", "kl-weight", "averaged-loss"

CASES: dict[str, Case] = {
    "kl-weight-2": Case((WEIGHT,), lambda s: trained(s, weighted(2.0)), "KL weight 2"),
    "kl-weight-tenth": Case((WEIGHT,), lambda s: trained(s, weighted(0.1)), "KL weight 0.1"),
    "kl-weight-collapsed": Case((COLLAPSE,), lambda s: trained(s, weighted(6.0)), "KL weight 6: z is given up"),
    "averaged-over-pixels": Case(
        (AVERAGED,), lambda s: trained(s, averaged(True, False)), "mean over pixels, sum over z"
    ),
    "averaged-both": Case((AVERAGED,), lambda s: trained(s, averaged(True, True)), "mean over pixels, mean of KL"),
    "averaged-over-dimensions": Case(
        (AVERAGED,), lambda s: trained(s, averaged(False, True)), "sum over pixels, mean of KL over dimensions"
    ),
    "kl-weight-known": Case((WEIGHT,), lambda s: _known_weight(s, 1 / LATENT), "KL weight 1/6, said in the settings"),
    "kl-across-batch": Case(("kl-across-batch",), lambda s: trained(s, kl_across_the_batch), "KL of a batch's moments"),
    "kl-missing": Case(("kl-missing",), lambda s: trained(s, weighted(0.0)), "no KL"),
    "autoencoder": Case(("kl-missing",), lambda s: trained(s, autoencoding), "no KL, and the mean of q decoded"),
    "kl-sign": Case(
        ("kl-sign",),
        lambda s: trained(s, weighted(-1.0), epochs=5, rate=1e-3),
        "the KL's sign is wrong; 5 epochs at a fifth of the rate, before all is NaN",
    ),
    "variance-collapse": Case(("variance-collapse",), _fixed_scale, "q's deviations held at 0.001"),
    "prior-hole-wide": Case(("prior-hole",), _other_prior, "altered: a prior three times as wide as in training"),
    "prior-hole-moved": Case(
        ("prior-hole",), _moved_prior, "altered: a prior two deviations away from that of training"
    ),
    "scale-root": Case(
        ("scale-misread",), lambda s: _changed_scale(s, torch.sqrt), "altered: a deviation read as variance"
    ),
    "scale-square": Case(
        ("scale-misread",), lambda s: _changed_scale(s, torch.square), "altered: a variance read as deviation"
    ),
    "scale-in-loss": Case(
        ("scale-misread",), lambda s: trained(s, log_variance_as_scale), "KL and draws read the encoder differently"
    ),
    "scale-in-draws": Case(
        ("scale-misread",), lambda s: trained(s, squares_drawn), "draws with the variance for a deviation"
    ),
    "scale-in-kl": Case(
        ("scale-misread",), lambda s: trained(s, squares_in_kl), "a KL with the variance for a deviation"
    ),
    "sigmoid-twice": Case(("sigmoid-twice",), lambda s: _last_layer(s, nn.Sigmoid()), "sigmoid, then again"),
    "sigmoid-missing": Case(("sigmoid-missing",), _probabilities, "altered: logits taken as probabilities"),
    "sigmoid-clipped": Case(
        ("sigmoid-missing",), lambda s: _last_layer(s, _Clipped()), "outputs clipped to probabilities, no sigmoid"
    ),
    "output-relu": Case(("output-relu",), lambda s: _last_layer(s, nn.ReLU()), "a ReLU at the decoder's output"),
    "gray-data": Case(("gray-data",), _gray_bernoulli, "gray pixels under Bernoulli"),
    "pixels-to-255": Case(("data-range",), _pixels_to_255, "pixels in 0…255 under Bernoulli"),
    "likelihood-too-wide": Case(("likelihood-scale",), lambda s: _gray(s, 1.0), "normal pixels, deviation fixed at 1"),
    "likelihood-too-narrow": Case(
        ("likelihood-scale",), lambda s: _gray(s, 0.02), "normal pixels, deviation fixed at 0.02"
    ),
    "scale-runaway": Case(
        ("scale-runaway",), lambda s: _gray(s, None, outputs=2), "a deviation for each pixel without a floor"
    ),
    "sampling-off": Case(("sampling-off",), lambda s: trained(s, deterministic), "the mean of q decoded in training"),
    "no-gradient": Case((COLLAPSE,), lambda s: trained(s, without_gradient), "draws without a gradient: z is given up"),
    "guide-too-narrow": Case(
        ("guide-too-narrow",),
        lambda s: _changed_scale(s, lambda scale: 0.3 * scale),
        "altered: q's deviations times 0.3",
    ),
    "guide-too-wide": Case(
        ("guide-too-wide",), lambda s: _changed_scale(s, lambda scale: 2.5 * scale), "altered: q's deviations times 2.5"
    ),
    "small-encoder": Case(("amortization-gap",), _small_encoder, "an encoder through one number"),
    "stale-encoder": Case(("amortization-gap",), _stale_encoder, "an encoder frozen early"),
    "overfitting": Case(("overfitting",), lambda s: _few_images(s, 600), "100 images, 600 epochs"),
    "decoder-ignores-latent": Case(("decoder-ignores-latent",), _without_latent, "a decoder handed zeros"),
    "undertraining": Case(("undertraining",), lambda s: trained(s, epochs=5, falling=False), "5 epochs"),
    "not-finite": Case(("not-finite",), _not_a_number, "altered: a weight that is NaN"),
    "healthy": Case((), trained, "Bernoulli, 6 latents, thresholded digits"),
    "healthy-stochastic": Case((), lambda s: trained(s, start=fresh(s, policy="stochastic")), "binarized at each use"),
    "healthy-2": Case((), lambda s: trained(s, start=fresh(s, 2)), "2 latents"),
    "healthy-20": Case((), lambda s: trained(s, start=fresh(s, 20)), "20 latents, most of them not needed"),
    "healthy-normal": Case((), _shared_scale, "normal pixels, one learned deviation"),
    "healthy-conv": Case((), _convolutional, "convolutions, 4 latents"),
    "healthy-held": Case((), _held_decoder, "a decoder that is held while the encoder goes on"),
    "healthy-fit": Case((), _fitted, "trained by bayes_vae.fit, with its history and settings"),
}
