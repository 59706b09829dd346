"""Whether the same encoder, trained by itself on the ELBO with the decoder held, closes the amortization gap."""

from __future__ import annotations

import torch

from bayes_vae.diagnosis.measure.measurement import Measurement
from bayes_vae.diagnosis.measure.more_training import FAST_RATE, start_layers_again, train_a_little, weighted_elbo
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.errors import NotDefinedError
from bayes_vae.terms.randomness import KeyedNoise, derived_seed

__all__ = ["measure_encoder_alone"]

STEPS, FRESH_STEPS, ROWS = 200, 400, 8

SMALL_GAP = (0.4, 0.2)
"""Nats of amortization gap, or share of the KL, up to which no encoder is trained: there is nothing to explain."""


def measure_encoder_alone(subject: Subject) -> dict[str, Measurement]:
    """Gain of the ELBO of held-out rows by training the encoder alone, from its weights of now and from fresh ones.

    Raises:
        NotDefinedError: no copy can be made, or q depends on no parameter, or on one that p depends on too.
    """
    gap, kl = (subject.measured.get(name) for name in ("train_amortization_gap", "train_kl_to_prior"))
    if gap is None or kl is None:
        raise NotDefinedError("the amortization gap was not measured, and so no encoder was trained to close it.")
    if gap.value < max(SMALL_GAP[0], SMALL_GAP[1] * kl.value):
        return {"gain_of_encoder": Measurement(0.0, 0.0)}
    held_out = subject.rows(subject.data.validation, subject.most_test)
    before = weighted_elbo(subject, held_out, 1.0)
    gains = {}
    for name, steps in (("gain_of_present_encoder", STEPS), ("gain_of_fresh_encoder", FRESH_STEPS)):
        copy = _with_model_held(subject)
        if name == "gain_of_fresh_encoder" and not start_layers_again(copy, copy.guide):
            continue
        train_a_little(copy, 1.0, steps, FAST_RATE)
        gains[name] = Measurement.mean(weighted_elbo(copy, held_out, 1.0) - before)
    best = max(gains.values(), key=lambda gain: gain.value)
    return gains | {"gain_of_encoder": best}


def _with_model_held(subject: Subject) -> Subject:
    """A copy of which only those parameters are trained that q depends on."""
    copy = subject.copy()
    for weight in copy.weights.values():
        weight.requires_grad_(True)
    ours, theirs = _of_guide_and_model(copy)
    if not ours or ours & theirs:
        raise NotDefinedError(
            "encoder and decoder have no parameters of their own, so that one cannot be trained alone."
        )
    for weight in copy.weights.values():
        weight.requires_grad_(id(weight) in ours)
    return copy


def _of_guide_and_model(subject: Subject) -> tuple[set[int], set[int]]:
    """Identities of the parameters that log q(z given x), and those that log p(x, z), depends on, at given latents."""
    weights, rows = list(subject.weights.values()), subject.train.first(ROWS)
    noise = KeyedNoise(derived_seed(subject.seed, "whose parameters")) if subject.pair.keyed else None
    with torch.enable_grad():
        bound = subject.pair.bind(*rows)
        latents = {site: z.detach() for site, z in bound.draw(range(1), noise).latents.items()}
        terms = bound.evaluate(latents)
        sides = terms.log_guide.sum(), (terms.log_prior + terms.log_likelihood).sum()
        pulls = [
            torch.autograd.grad(side, weights, allow_unused=True, retain_graph=True) if side.requires_grad else ()
            for side in sides
        ]
    guide, model = ({id(weight) for weight, pull in zip(weights, of, strict=False) if pull is not None} for of in pulls)
    return guide, model
