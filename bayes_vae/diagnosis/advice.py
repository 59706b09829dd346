"""What each finding means and what to do: severity, why it matters, advice."""

from __future__ import annotations

from typing import NamedTuple

from bayes_vae.diagnosis.findings import Severity

__all__ = ["ADVICE", "EXPLAINS", "Advice"]


class Advice(NamedTuple):
    """What stands beside every finding of a name."""

    severity: Severity
    why: str
    what_to_do: str


ADVICE: dict[str, Advice] = {
    "not-finite": Advice(
        "fault",
        "No term of Bayes' rule can be computed from it.",
        "Go back to the last weights that are finite; lower the learning rate, clip the gradient (clip_norm), and keep "
        "deviations away from zero (softplus plus a floor). A KL with the wrong sign ends here too: look at the loss.",
    ),
    "data-range": Advice(
        "fault",
        "The likelihood has no density there, so the loss is no log probability and may even fall without bound.",
        "Divide pixels in 0…255 by 255 and binarize them, or choose a likelihood with that support.",
    ),
    "gray-data": Advice(
        "fault",
        "On gray pixels the Bernoulli likelihood is not normalized: its figures are no log probabilities and compare "
        "with those of no other model.",
        "Binarize the pixels (policy stochastic, static or threshold), or take the likelihood continuous-bernoulli, "
        "normal or discretized-logistic.",
    ),
    "kl-sign": Advice(
        "fault",
        "Training drives q away from the prior and gains nothing for it: the loss falls without bound.",
        "Minimize minus the expected log likelihood plus the KL, with KL = -0.5 sum(1 + log s² - m² - s²), which is "
        "never negative.",
    ),
    "sigmoid-missing": Advice(
        "fault",
        "Pixels are called impossible that are there, which costs log p(x | z) without bound.",
        "The decoder's outputs are logits: pass them as logits, or put one sigmoid before they are taken as "
        "probabilities.",
    ),
    "sigmoid-twice": Advice(
        "fault",
        "Every probability is between 0.5 and 0.731, so no pixel can be called dark or certain.",
        "Remove one of the two sigmoids: give the likelihood logits or probabilities, not probabilities as logits.",
    ),
    "output-relu": Advice(
        "fault",
        "Every probability is at least one half, so no pixel can be called dark.",
        "Remove the ReLU after the decoder's last layer: logits must be free to be negative.",
    ),
    "kl-missing": Advice(
        "fault",
        "Without it this is an autoencoder: samples from the prior land where the decoder was never trained, and there "
        "is no bound on log p(x).",
        "Add the KL of each observation's q to the loss, summed over latent dimensions, at weight 1.",
    ),
    "kl-across-batch": Advice(
        "fault",
        "The codes of a batch look like the prior, but no q(z | x) is held to it: each shrinks to a point, and the "
        "true KL is far larger than the one in the loss.",
        "Take the KL of each observation's own q(z | x) (its mean and its deviation), then average over the batch.",
    ),
    "sampling-off": Advice(
        "fault",
        "The decoder knows q's means alone: at draws of q, and so in the ELBO and at samples, it fails.",
        "Decode z = m + s · noise in training, drawn anew at each step.",
    ),
    "scale-misread": Advice(
        "fault",
        "ELBO, L_K and samples are those of another q than the one that was trained.",
        "Decide once what the encoder's second output is, log variance v (s = exp(v / 2)) or log deviation (s = exp), "
        "and use it alike for the draws, for the KL and in the guide.",
    ),
    "averaged-loss": Advice(
        "fault",
        "The loss is not the negative ELBO: the KL counts as if it had been multiplied.",
        "Sum log p(x | z) over pixels and the KL over latent dimensions, and average over observations only.",
    ),
    "kl-weight": Advice(
        "warning",
        "Above 1 the objective is a looser bound on log p(x) than the ELBO, and the codes say too little; below 1 it "
        "is no bound, and the prior is missed.",
        "Train to the end with weight 1, or say the weight with every figure and compare models at weight 1 only.",
    ),
    "likelihood-scale": Advice(
        "warning",
        "The deviation of the pixels is the weight of the reconstruction: too wide and the latent is given up, too "
        "narrow and the KL hardly counts.",
        "Learn the deviation (noise shared), or fix it near the residuals' own.",
    ),
    "scale-runaway": Advice(
        "warning",
        "A deviation that nothing holds goes to zero where the data allow it: densities grow without bound, gradients "
        "with them, and training ends in NaN.",
        "Give deviations a floor, share one between pixels, or add noise to data that have constant pixels.",
    ),
    "decoder-ignores-latent": Advice(
        "fault",
        "The KL is paid, and the reconstruction is the same for every z.",
        "Look for a z that is replaced, detached or multiplied by zero on its way into the decoder.",
    ),
    "variance-collapse": Advice(
        "fault",
        "q(z | x) is next to a point: an autoencoder in disguise, whose KL is paid for nothing.",
        "Look at how the deviation is made and whether it is trained; it must come from the encoder, without a small "
        "cap, and be in the KL.",
    ),
    "guide-too-narrow": Advice(
        "warning",
        "The ELBO falls short of what the same means would give, and importance weights have heavy tails.",
        "Look for a factor on the deviations (a temperature, say); else train the guide longer with the decoder held.",
    ),
    "guide-too-wide": Advice(
        "warning",
        "The ELBO falls short of what the same means would give: draws of q leave the posterior.",
        "Look for a factor or a floor on the deviations; else train the guide longer with the decoder held.",
    ),
    "posterior-collapse": Advice(
        "fault",
        "z says nothing of x: the model is its decoder's average image.",
        "Raise the KL weight from 0 over the first epochs (kl_warmup_epochs), give free bits, make the decoder weaker "
        "or its noise smaller.",
    ),
    "unused-dimensions": Advice(
        "note",
        "These dimensions are the prior whatever x is; they cost nothing and say nothing.",
        "Nothing needs to be done; a smaller latent_dim gives the same model.",
    ),
    "amortization-gap": Advice(
        "warning",
        "The encoder gives a worse q than its own family has: the ELBO is lower than it need be, and so is what the "
        "decoder learns from.",
        "Make the encoder larger or train it longer, or refine q for each observation (guide semi-amortized).",
    ),
    "undertraining": Advice(
        "warning",
        "The ELBO is not what these networks can do, and figures of two such runs compare their lengths.",
        "Train for more epochs (bayes-vae train --resume), or at a higher learning rate at the start.",
    ),
    "prior-hole": Advice(
        "warning",
        "Draws from the prior fall where no observation's code is: samples are worse than reconstructions.",
        "Use the prior of the training; else give the model a prior that can follow (mixture, vamp, flow), or train to "
        "the end at KL weight 1.",
    ),
    "overfitting": Advice(
        "warning",
        "The ELBO of observations that were not trained on is lower: training figures say too much.",
        "Stop at the best validation ELBO (patience), use smaller networks or more data; where the encoder's part is "
        "large, refine q for each observation or give the encoder noisy inputs.",
    ),
    "importance-weights": Advice(
        "note",
        "For most observations L_K is a lower bound that has not converged, whatever its standard error says.",
        "Report log p(x) from annealing (bayes-vae compare), or with a refined proposal.",
    ),
}
"""Name of a finding → what stands beside it; from the root causes down to what follows from them."""

_GAPS = ("amortization-gap", "undertraining", "importance-weights", "guide-too-narrow", "guide-too-wide")
_OBJECTIVE = ("kl-weight", "variance-collapse", "posterior-collapse", "prior-hole", "scale-runaway", *_GAPS)
_DECODER = (*_OBJECTIVE, "scale-misread", "averaged-loss", "overfitting", "unused-dimensions", "sampling-off")

EXPLAINS: dict[str, tuple[str, ...]] = {
    "sigmoid-missing": (*_DECODER, "likelihood-scale", "variance-collapse"),
    "sigmoid-twice": _DECODER,
    "output-relu": _DECODER,
    "kl-sign": (*_DECODER, "sigmoid-missing", "kl-missing", "decoder-ignores-latent"),
    "kl-missing": (*_OBJECTIVE, "scale-misread", "averaged-loss", "overfitting", "sampling-off"),
    "kl-across-batch": (*_OBJECTIVE, "scale-misread", "averaged-loss", "overfitting"),
    "sampling-off": (*_OBJECTIVE, "scale-misread", "averaged-loss"),
    "scale-misread": (*_OBJECTIVE, "averaged-loss", "sampling-off"),
    "averaged-loss": (*_OBJECTIVE, "unused-dimensions"),
    "kl-weight": (*_OBJECTIVE[1:], "unused-dimensions"),
    "likelihood-scale": (*_OBJECTIVE, "averaged-loss", "overfitting", "unused-dimensions"),
    "scale-runaway": ("prior-hole", "overfitting", *_GAPS),
    "variance-collapse": ("prior-hole", *_GAPS),
    "guide-too-narrow": ("prior-hole", "undertraining", "amortization-gap", "importance-weights"),
    "guide-too-wide": ("prior-hole", "undertraining", "amortization-gap", "importance-weights"),
    "decoder-ignores-latent": ("prior-hole", "variance-collapse", *_GAPS),
    "posterior-collapse": ("undertraining", "unused-dimensions"),
    "amortization-gap": ("undertraining", "prior-hole", "importance-weights"),
    "undertraining": ("prior-hole", "importance-weights"),
    "prior-hole": ("importance-weights",),
    "overfitting": ("importance-weights",),
}
"""Name of a finding → what follows from it, and is listed behind it."""
