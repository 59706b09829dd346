"""Every threshold of the diagnosis, with what it is compared with.

A pair (nats, share) is so many nats, or that share of the KL where it is more: a model whose codes say much has larger
errors of every kind. They were chosen on seeds 0 to 4 of the fault suite; docs/diagnosis.md has the table of others.
"""

from __future__ import annotations

__all__ = [
    "ACROSS_BATCH_DEVIATION",
    "AMORTIZATION_GAP",
    "AVERAGED_FROM",
    "AVERAGED_TOLERANCE",
    "BALANCED_SHARE",
    "CERTAIN_SHARE",
    "CLIPPED_SHARE",
    "COLLAPSED_KL",
    "DECODED_MEANS_GAIN",
    "FORGOTTEN_KL_WEIGHT",
    "GENERALIZATION_GAP",
    "KL_WEIGHT_AGREEMENT",
    "KL_WEIGHT_FACTOR",
    "KL_WEIGHT_FACTOR_UNSETTLED",
    "LIKELY",
    "MARGINAL_KL",
    "PARETO_K_SHARE",
    "PIXEL_SCALE_FACTOR",
    "PIXEL_SCALE_GAIN",
    "READING_TOLERANCE",
    "ROUNDED_LOGIT",
    "SCALE_GAIN",
    "SCALE_SHARE",
    "SETTLED_GAIN",
    "SMALLEST_PIXEL_SCALE",
    "SMALLEST_SCALE",
    "TINY",
    "TRAINING_GAIN",
    "UNUSED_KL",
    "UNUSED_LATENT",
    "UNUSED_SHARE",
    "VARIANCE_SHARE",
    "WRONG_PIXELS",
    "ZERO_SHARE",
]

LIKELY = 0.84
"""Probability from which a finding is reported: one standard error beyond the threshold."""

KL_WEIGHT_FACTOR = 1.3
"""Estimated weights on the KL within this factor of 1 are taken as 1."""

KL_WEIGHT_FACTOR_UNSETTLED = 3.0
"""The same where training had not come to rest, so that no balance is expected."""

KL_WEIGHT_AGREEMENT = 1.5
"""Factor within which the weights from q's means and from q's deviations must agree to be one weight."""

FORGOTTEN_KL_WEIGHT = 0.02
"""An estimated weight below it, from means and from deviations, is taken as none."""

AVERAGED_FROM = 4.0
"""Factor from 1 from which an estimated weight may be that of an average: nearer ones are taken for a KL weight."""

AVERAGED_TOLERANCE = 1.2
"""Factor within which an estimated weight must agree with a ratio of sizes to be called an average."""

BALANCED_SHARE = 0.5
"""Where next to nothing is left of the latent: share of the likelihood's pull that may stay unbalanced."""

SETTLED_GAIN = 0.3
"""Nats that a little more training at the pair's own weight may gain where it has come to rest."""

TRAINING_GAIN = (0.6, 0.03)
"""Nats of validation ELBO that a little more training may gain before a pair is called undertrained."""

COLLAPSED_KL = 0.02
"""Nats of mean KL below which a latent dimension is collapsed."""

UNUSED_LATENT = 0.1
"""Nats of log likelihood that another observation's z costs at least, where the decoder uses z."""

UNUSED_SHARE = 0.1
"""Use of the latent over the KL that is paid for it, below which the KL is wasted."""

UNUSED_KL = 0.5
"""Nats of KL from which a latent that the decoder does not use is paid for."""

VARIANCE_SHARE = 0.03
"""q's deviation over the aggregate posterior's, below which q is next to a point."""

ACROSS_BATCH_DEVIATION = 0.15
"""How far mean and deviation of all codes may be from the prior's to be called those of the prior."""

MARGINAL_KL = (0.7, 0.1)
"""Nats of KL between aggregate posterior and prior, by a classifier's lower bound, from which samples suffer."""

SCALE_GAIN = (0.3, 0.02)
"""Nats of ELBO that other deviations of q must gain."""

SCALE_SHARE = 0.5
"""Share of the amortization gap that a common factor on the deviations must make good to be the fault."""

READING_TOLERANCE = 1.2
"""Factor within 1 of which the KL weights must lie under another reading of q's deviations, for it to be right."""

DECODED_MEANS_GAIN = 3.0
"""Nats of log likelihood that decoding q's mean must gain over a draw, with q as wide as the prior."""

PIXEL_SCALE_FACTOR = 1.25
"""Residuals over the deviation of a normal likelihood: within this factor of 1 they agree."""

PIXEL_SCALE_GAIN = 1.0
"""Nats that another deviation of the likelihood must gain."""

SMALLEST_PIXEL_SCALE = 5e-3
"""A likelihood's smallest deviation, in deviations of the data, below which its density runs away."""

SMALLEST_SCALE = 1e-4
"""q's smallest deviation, in the prior's, below which it runs away."""

TINY = 1e-4
"""Logits so close to 0, or to 1, are taken as that."""

ROUNDED_LOGIT = 15.0
"""Logits beyond it may be all the same because float32 rounds their probabilities."""

CLIPPED_SHARE = 0.05
"""Share of logits that are exactly the smallest, or the largest, from which the outputs are taken to be clipped."""

CERTAIN_SHARE = 0.4
"""Share of pixels that a decoder calls certain, for logits to have been taken as probabilities."""

ZERO_SHARE = 0.01
"""Share of logits that are exactly 0, for a ReLU at the output."""

WRONG_PIXELS = 0.005
"""Share of pixels that a decoder may call impossible, at probabilities below 1e-4, and that are there."""

AMORTIZATION_GAP = (0.5, 0.25)
"""Nats that the best q of the family may gain over the encoder's, on training rows."""

GENERALIZATION_GAP = (2.0, 0.25)
"""Nats by which the ELBO of training rows may lie above that of test rows."""

PARETO_K_SHARE = 0.5
"""Share of observations with k̂ above its threshold from which log p(x) wants annealing."""
