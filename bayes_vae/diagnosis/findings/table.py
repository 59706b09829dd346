"""The table of all kinds of findings: a new one is a file and a row here."""

from __future__ import annotations

from bayes_vae.diagnosis.findings.amortization_gap import amortization_gap
from bayes_vae.diagnosis.findings.forgotten_kl import kl_across_batch, kl_missing
from bayes_vae.diagnosis.findings.guide_width import guide_too_narrow, guide_too_wide
from bayes_vae.diagnosis.findings.importance_weights import importance_weights
from bayes_vae.diagnosis.findings.kl_sign import kl_sign
from bayes_vae.diagnosis.findings.kl_weight import averaged_loss, kl_weight
from bayes_vae.diagnosis.findings.likelihood_scale import likelihood_scale
from bayes_vae.diagnosis.findings.logits import output_relu, sigmoid_missing, sigmoid_twice
from bayes_vae.diagnosis.findings.overfitting import overfitting
from bayes_vae.diagnosis.findings.prior_hole import prior_hole
from bayes_vae.diagnosis.findings.sampling_off import sampling_off
from bayes_vae.diagnosis.findings.scale_misread import scale_misread
from bayes_vae.diagnosis.findings.scale_runaway import scale_runaway
from bayes_vae.diagnosis.findings.undertraining import undertraining
from bayes_vae.diagnosis.findings.unusable import data_range, gray_data, not_finite
from bayes_vae.diagnosis.findings.unused_latent import decoder_ignores_latent, posterior_collapse, unused_dimensions
from bayes_vae.diagnosis.findings.variance_collapse import variance_collapse

__all__ = ["KINDS"]

KINDS = (
    not_finite,
    data_range,
    gray_data,
    kl_sign,
    sigmoid_missing,
    sigmoid_twice,
    output_relu,
    kl_missing,
    kl_across_batch,
    sampling_off,
    scale_misread,
    averaged_loss,
    kl_weight,
    likelihood_scale,
    scale_runaway,
    decoder_ignores_latent,
    variance_collapse,
    guide_too_narrow,
    guide_too_wide,
    posterior_collapse,
    unused_dimensions,
    amortization_gap,
    undertraining,
    prior_hole,
    overfitting,
    importance_weights,
)
"""From the root causes down to what follows from them: of two, the first may explain the second, never the other way."""
