"""Whether the same encoder, trained by itself on the ELBO with the decoder held, closes the amortization gap."""

from __future__ import annotations

from bayes_vae.diagnosis.measure.measurement import Measurement
from bayes_vae.diagnosis.measure.more_training import FAST_RATE, start_layers_again, train_a_little, weighted_elbo
from bayes_vae.diagnosis.measure.subject import Subject
from bayes_vae.errors import NotDefinedError
from bayes_vae.terms.program import modules_of

__all__ = ["measure_encoder_alone"]

STEPS, FRESH_STEPS = 200, 400

SMALL_GAP = (0.4, 0.2)
"""Nats of amortization gap, or share of the KL, up to which no encoder is trained: there is nothing to explain."""


def measure_encoder_alone(subject: Subject) -> dict[str, Measurement]:
    """Gain of the ELBO of held-out rows by training the encoder alone, from its weights of now and from fresh ones.

    Raises:
        NotDefinedError: no copy can be made, or encoder and decoder share parameters or have none.
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
    copy = subject.copy()
    ours = [weight for module in modules_of(copy.guide) for weight in module.parameters()]
    theirs = [weight for module in modules_of(copy.model) for weight in module.parameters()]
    if not ours or {id(weight) for weight in ours} & {id(weight) for weight in theirs}:
        raise NotDefinedError("encoder and decoder are not modules of their own, so that one cannot be trained alone.")
    for weight in theirs:
        weight.requires_grad_(False)
    for weight in ours:
        weight.requires_grad_(True)
    return copy
