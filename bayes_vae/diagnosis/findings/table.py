"""The table of all kinds of findings: a new one is a file, or a function beside its kin, and a row here."""

from __future__ import annotations

from bayes_vae.diagnosis.findings import (
    confined,
    kl_weight,
    latent_use,
    likelihood_sees_x,
    mismatch,
    repeatable,
    sites,
    splits,
    training_length,
    unusable,
    wrong_guide,
    wrong_likelihood,
    wrong_objective,
)

__all__ = ["KINDS"]

KINDS = (
    unusable.not_finite,
    unusable.data_range,
    unusable.gray_data,
    repeatable.not_repeatable,
    splits.splits_differ,
    splits.repeated_rows,
    confined.encoder_confined,
    confined.unscaled_columns,
    confined.decoder_reach,
    likelihood_sees_x.likelihood_sees_x,
    sites.forgotten_modality,
    wrong_objective.kl_sign,
    wrong_likelihood.sigmoid_missing,
    wrong_likelihood.sigmoid_twice,
    wrong_likelihood.output_relu,
    wrong_objective.kl_missing,
    wrong_objective.kl_across_batch,
    wrong_objective.sampling_off,
    wrong_guide.scale_misread,
    mismatch.prior_mismatch,
    mismatch.mismatched_pair,
    kl_weight.averaged_loss,
    kl_weight.kl_weight,
    wrong_likelihood.likelihood_scale,
    wrong_likelihood.scale_runaway,
    confined.near_overflow,
    latent_use.decoder_ignores_latent,
    latent_use.variance_collapse,
    wrong_guide.guide_too_narrow,
    wrong_guide.guide_too_wide,
    latent_use.posterior_collapse,
    sites.layer_ignored,
    sites.layer_dead,
    latent_use.unused_dimensions,
    wrong_guide.amortization_gap,
    training_length.undertraining,
    latent_use.prior_hole,
    training_length.overfitting,
    wrong_guide.importance_weights,
)
"""From the root causes down to what follows: a finding may explain those below it."""
