"""The table of parts: one row for each likelihood, prior, guide, structure, network and objective.

To add one, write its class in a file of its own, add its row here, and its name to the ``Literal`` of the setting in
``bayes_vae.settings``, which type checkers read. Flags, help, refusals, building, describing and loading follow from
the row.
"""

from __future__ import annotations

from bayes_vae.parts.part import (
    CLOSED_FORM_KL,
    DISCRETE,
    ENCODED_NORMAL,
    IN_EVERY_STRUCTURE,
    INFERS_LABELS,
    KL_BY_DIMENSION,
    NEEDS_LABELS,
    ONE_Q_PER_OBSERVATION,
    REPARAMETERIZED,
    SUMS_OVER_LABELS,
    AtLeast,
    Need,
    Part,
)

__all__ = ["TABLE"]

_NORMAL = frozenset({CLOSED_FORM_KL, KL_BY_DIMENSION})
_TRANSFORMS = {"num_transforms": "num_transforms"}
_COMPONENTS = {"num_components": "num_components"}
_PIXEL_LOGITS = ("logits", "probabilities")

_OWN_PARTS = tuple(
    Need(kind, IN_EVERY_STRUCTURE, "it has a model and a guide of its own, made of perceptrons and normals")
    for kind in ("prior", "guide", "network")
)

TABLE: list[Part] = [
    Part(
        "structure",
        "vae",
        "bayes_vae.models.vae:VAE",
        "one latent",
        offers=frozenset({CLOSED_FORM_KL, KL_BY_DIMENSION}),
    ),
    Part(
        "structure",
        "two-layer",
        "bayes_vae.models.two_layer_vae:TwoLayerVAE",
        "two stochastic layers",
        guide="bayes_vae.guides.two_layer_normal:TwoLayerNormalGuide",
        options={"top_latent_dim": "top_latent_dim", "top_hidden_dims": "top_hidden_dims"},
        needs=_OWN_PARTS,
    ),
    Part(
        "structure",
        "conditional",
        "bayes_vae.models.conditional_vae:ConditionalVAE",
        "p(x given the label)",
        guide="bayes_vae.guides.conditional_normal:ConditionalNormalGuide",
        offers=frozenset({CLOSED_FORM_KL, NEEDS_LABELS}),
        needs=_OWN_PARTS,
    ),
    Part(
        "structure",
        "semi-supervised",
        "bayes_vae.models.semi_supervised_vae:SemiSupervisedVAE",
        "the label is a latent, known for some training images",
        guide="bayes_vae.guides.semi_supervised:SemiSupervisedGuide",
        offers=frozenset({NEEDS_LABELS, INFERS_LABELS}),
        needs=(
            *_OWN_PARTS,
            Need(
                "objective",
                SUMS_OVER_LABELS,
                "its label is a discrete latent without reparameterized draws, which training sums over",
            ),
        ),
    ),
    Part("network", "mlp", "", "perceptron", offers=frozenset({IN_EVERY_STRUCTURE})),
    Part(
        "network",
        "conv",
        "",
        "convolutions, for images only",
        least=(AtLeast("hidden_dims", 1, "they are the channels of its layers"),),
    ),
    Part(
        "likelihood",
        "bernoulli",
        "bayes_vae.models.likelihoods.bernoulli:BernoulliLikelihood",
        "zeros and ones",
        data_kinds=("binary",),
        decoder_outputs=_PIXEL_LOGITS,
        offers=frozenset({DISCRETE}),
    ),
    Part(
        "likelihood",
        "continuous-bernoulli",
        "bayes_vae.models.likelihoods.continuous_bernoulli:ContinuousBernoulliLikelihood",
        "gray",
        data_kinds=("gray",),
        decoder_outputs=_PIXEL_LOGITS,
    ),
    Part(
        "likelihood",
        "normal",
        "bayes_vae.models.likelihoods.normal:NormalLikelihood",
        "gray, real",
        options={"noise_scale": "scale", "noise": "noise"},
        only=("noise",),
        data_kinds=("gray", "real"),
        decoder_outputs=("mean",),
    ),
    Part(
        "likelihood",
        "discretized-logistic",
        "bayes_vae.models.likelihoods.discretized_logistic:DiscretizedLogisticLikelihood",
        "8-bit gray",
        data_kinds=("gray",),
        offers=frozenset({DISCRETE}),
    ),
    Part(
        "likelihood",
        "categorical",
        "bayes_vae.models.likelihoods.categorical:CategoricalLikelihood",
        "counts",
        options={"num_categories": "num_categories"},
        data_kinds=("counts",),
        offers=frozenset({DISCRETE}),
    ),
    Part(
        "likelihood",
        "negative-binomial",
        "bayes_vae.models.likelihoods.negative_binomial:NegativeBinomialLikelihood",
        "counts",
        data_kinds=("counts",),
        offers=frozenset({DISCRETE}),
    ),
    Part(
        "prior",
        "standard-normal",
        "bayes_vae.models.priors.standard_normal:StandardNormalPrior",
        "N(0, I)",
        offers=_NORMAL | {IN_EVERY_STRUCTURE, REPARAMETERIZED},
    ),
    Part(
        "prior",
        "learned-normal",
        "bayes_vae.models.priors.learned_normal:LearnedNormalPrior",
        "independent dimensions, learned",
        offers=_NORMAL | {REPARAMETERIZED},
    ),
    Part(
        "prior",
        "mixture",
        "bayes_vae.models.priors.mixture_of_normals:MixtureOfNormalsPrior",
        "of normals",
        options=_COMPONENTS,
    ),
    Part(
        "prior",
        "vamp",
        "bayes_vae.models.priors.vamp:VampPrior",
        "mixture of q at pseudo-inputs",
        options=_COMPONENTS,
        needs=(
            Need(
                "guide",
                ENCODED_NORMAL,
                "it is a mixture of q(z given u) at pseudo-inputs u, so q must come from an encoder and have a density "
                "at any z",
            ),
        ),
    ),
    Part(
        "prior",
        "flow",
        "bayes_vae.models.priors.flow:FlowPrior",
        "a normal bent by couplings",
        options=_TRANSFORMS,
        offers=frozenset({REPARAMETERIZED}),
    ),
    Part(
        "guide",
        "normal",
        "bayes_vae.guides.amortized_normal:AmortizedNormalGuide",
        "independent dimensions",
        offers=_NORMAL | {ENCODED_NORMAL, IN_EVERY_STRUCTURE},
    ),
    Part(
        "guide",
        "full-covariance",
        "bayes_vae.guides.full_covariance:FullCovarianceGuide",
        "normal",
        offers=frozenset({CLOSED_FORM_KL, ENCODED_NORMAL}),
    ),
    Part(
        "guide",
        "low-rank",
        "bayes_vae.guides.low_rank:LowRankGuide",
        "normal, covariance of low rank plus a diagonal",
        options={"rank": "rank"},
        offers=frozenset({CLOSED_FORM_KL, ENCODED_NORMAL}),
        least=(AtLeast("latent_dim", "rank", "the covariance has no higher rank"),),
    ),
    Part(
        "guide",
        "autoregressive-flow",
        "bayes_vae.guides.autoregressive_flow:AutoregressiveFlowGuide",
        "each dimension shifted and scaled by those before it",
        options=_TRANSFORMS,
        least=(AtLeast("latent_dim", 2, "the first dimension has none before it; guide 'spline-flow' takes one"),),
    ),
    Part(
        "guide",
        "spline-flow",
        "bayes_vae.guides.spline_flow:SplineFlowGuide",
        "each dimension bent by splines",
        options=_TRANSFORMS,
    ),
    Part(
        "guide",
        "local",
        "bayes_vae.guides.local_normal:LocalNormalGuide",
        "parameters for each observation",
        offers=_NORMAL | {ONE_Q_PER_OBSERVATION},
    ),
    Part(
        "guide",
        "semi-amortized",
        "bayes_vae.guides.semi_amortized:SemiAmortizedGuide",
        "an encoder, then gradient steps",
        options={"num_refinements": "num_refinements"},
        offers=_NORMAL,
    ),
    Part(
        "guide",
        "prior",
        "bayes_vae.guides.prior_guide:PriorGuide",
        "p(z) whatever x is, to teach",
        offers=frozenset({CLOSED_FORM_KL}),
        needs=(
            Need(
                "prior",
                REPARAMETERIZED,
                "training needs draws with a gradient, and which component a draw comes from is a choice, which has "
                "none",
            ),
        ),
    ),
    Part(
        "objective",
        "elbo",
        "bayes_vae.objectives.elbo_objective:Elbo",
        "the mean over num_particles draws",
        options={name: name for name in ("num_particles", "kl", "kl_weight", "free_bits")},
        offers=frozenset({SUMS_OVER_LABELS}),
    ),
    Part(
        "objective",
        "importance-weighted",
        "bayes_vae.objectives.importance_weighted:ImportanceWeightedObjective",
        "L_K, K = num_particles",
        options={"num_particles": "num_particles"},
    ),
    Part(
        "objective",
        "doubly-reparameterized",
        "bayes_vae.objectives.doubly_reparameterized:DoublyReparameterizedObjective",
        "L_K with a gradient of lower variance",
        options={"num_particles": "num_particles"},
    ),
    Part(
        "objective",
        "sticking-the-landing",
        "bayes_vae.objectives.sticking_the_landing:StickingTheLandingObjective",
        "the ELBO with a gradient of lower variance",
        options={"num_particles": "num_particles", "kl_weight": "kl_weight"},
    ),
    Part(
        "exact",
        "linear-gaussian",
        "bayes_vae.models.linear_gaussian:LinearGaussianVAE",
        "the exact posterior is known",
        guide="bayes_vae.guides.exact_linear_gaussian:ExactLinearGaussianGuide",
    ),
]
