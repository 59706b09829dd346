"""The table of parts: one row for each likelihood, prior, guide, structure, network, objective and rung of the ladder.

To add one, write its class in a file of its own, add its row here, and its name to the ``Literal`` of the setting in
``bayes_vae.settings``, which type checkers read. Flags, help, refusals, building, describing and loading follow from
the row. A rung has no setting: its row is all that ``compare``, ``evaluate`` and the report need. Rungs stand from the
ELBO up, and the last whose criterion holds stands for log p(x).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from bayes_vae.parts.part import AtLeast, Need, Part, PartKind, Trait

__all__ = ["TABLE"]


def _row(kind: PartKind, package: str, name: str, where: str, help: str, *offers: Trait, **about: Any) -> Part:
    return Part(kind, name, f"bayes_vae.{package}.{where}", help, offers=offers, **about)


def _same(*names: str) -> dict[str, str]:
    """Options that setting and argument have one name for."""
    return {name: name for name in names}


_structure = partial(_row, "structure", "models")
_likelihood = partial(_row, "likelihood", "models.likelihoods")
_prior = partial(_row, "prior", "models.priors")
_guide = partial(_row, "guide", "guides")
_objective = partial(_row, "objective", "objectives")
_rung = partial(_row, "rung", "estimators.rungs")

_BINARY, _GRAY, _COUNTS = ({"data_kinds": (kind,)} for kind in ("binary", "gray", "counts"))
_LOGITS = {"decoder_outputs": ("logits", "probabilities")}
_LOCATED: dict[str, Any] = {
    "options": {"noise_scale": "scale", "noise": "noise"},
    "only": ("noise",),
    "data_kinds": ("gray", "real"),
    "decoder_outputs": ("mean",),
}
_COMPONENTS, _TRANSFORMS, _DRAWS = map(_same, ("num_components", "num_transforms", "num_particles"))
_NORMAL: tuple[Trait, ...] = ("closed-form KL", "KL by dimension")

_OWN_PARTS = tuple(
    Need(kind, "in every structure", "it has a model and a guide of its own, made of perceptrons and normals")
    for kind in ("prior", "guide", "network")
)
_SUMMED = "its label is a discrete latent without reparameterized draws, which training sums over"
_MIXED = "it is a mixture of q(z given u) at pseudo-inputs u, so q needs an encoder and a density at any z"
_DRAWN = "training needs draws with a gradient, and the choice of a component has none"

TABLE: list[Part] = [
    _structure("vae", "vae:VAE", "one latent", *_NORMAL),
    _structure(
        "two-layer",
        "two_layer_vae:TwoLayerVAE",
        "two stochastic layers",
        guide="bayes_vae.guides.two_layer_normal:TwoLayerNormalGuide",
        options=_same("top_latent_dim", "top_hidden_dims"),
        needs=_OWN_PARTS,
    ),
    _structure(
        "conditional",
        "conditional_vae:ConditionalVAE",
        "p(x given the label)",
        "closed-form KL",
        "needs labels",
        guide="bayes_vae.guides.conditional_normal:ConditionalNormalGuide",
        needs=_OWN_PARTS,
    ),
    _structure(
        "semi-supervised",
        "semi_supervised_vae:SemiSupervisedVAE",
        "the label is a latent, known for some training images",
        "needs labels",
        "infers labels",
        guide="bayes_vae.guides.semi_supervised:SemiSupervisedGuide",
        needs=(*_OWN_PARTS, Need("objective", "sums over labels", _SUMMED)),
    ),
    Part("network", "mlp", "", "perceptron", offers=("in every structure",)),
    Part("network", "conv", "", "convolutions, for images only", least=(AtLeast("hidden_dims", 1, "its channels"),)),
    _likelihood("bernoulli", "bernoulli:BernoulliLikelihood", "zeros and ones", "discrete x", **_BINARY, **_LOGITS),
    _likelihood(
        "continuous-bernoulli", "continuous_bernoulli:ContinuousBernoulliLikelihood", "gray", **_GRAY, **_LOGITS
    ),
    _likelihood("normal", "normal:NormalLikelihood", "gray, real", **_LOCATED),
    _likelihood(
        "discretized-logistic",
        "discretized_logistic:DiscretizedLogisticLikelihood",
        "8-bit gray",
        "discrete x",
        **_GRAY,
    ),
    _likelihood(
        "categorical",
        "categorical:CategoricalLikelihood",
        "counts",
        "discrete x",
        options=_same("num_categories"),
        **_COUNTS,
    ),
    _likelihood("negative-binomial", "negative_binomial:NegativeBinomialLikelihood", "counts", "discrete x", **_COUNTS),
    _likelihood("laplace", "laplace:LaplaceLikelihood", "gray, real, with outliers", **_LOCATED),
    _likelihood("poisson", "poisson:PoissonLikelihood", "counts", "discrete x", **_COUNTS),
    _likelihood(
        "zero-inflated-negative-binomial",
        "zero_inflated_negative_binomial:ZeroInflatedNegativeBinomialLikelihood",
        "counts, many zeros",
        "discrete x",
        **_COUNTS,
    ),
    _likelihood(
        "columns",
        "columns:ColumnsLikelihood",
        "groups of columns, each with a likelihood of its own",
        options=_LOCATED["options"] | _same("groups"),
        only=("noise", "groups"),
        data_kinds=("counts", "real"),
    ),
    _prior(
        "standard-normal",
        "standard_normal:StandardNormalPrior",
        "N(0, I)",
        *_NORMAL,
        "reparameterized draws",
        "in every structure",
    ),
    _prior(
        "learned-normal",
        "learned_normal:LearnedNormalPrior",
        "independent dimensions",
        *_NORMAL,
        "reparameterized draws",
    ),
    _prior("mixture", "mixture_of_normals:MixtureOfNormalsPrior", "of normals", options=_COMPONENTS),
    _prior(
        "vamp",
        "vamp:VampPrior",
        "mixture of q at pseudo-inputs",
        options=_COMPONENTS,
        needs=(Need("guide", "encoded normal", _MIXED),),
    ),
    _prior("flow", "flow:FlowPrior", "a transformed normal", "reparameterized draws", options=_TRANSFORMS),
    _guide(
        "normal",
        "amortized_normal:AmortizedNormalGuide",
        "independent dimensions",
        *_NORMAL,
        "encoded normal",
        "in every structure",
    ),
    _guide("full-covariance", "full_covariance:FullCovarianceGuide", "normal", "closed-form KL", "encoded normal"),
    _guide(
        "low-rank",
        "low_rank:LowRankGuide",
        "normal, covariance of low rank plus a diagonal",
        "closed-form KL",
        "encoded normal",
        options=_same("rank"),
        least=(AtLeast("latent_dim", "rank", "the covariance has no higher rank"),),
    ),
    _guide(
        "autoregressive-flow",
        "autoregressive_flow:AutoregressiveFlowGuide",
        "each dimension shifted and scaled by those before it",
        options=_TRANSFORMS,
        least=(AtLeast("latent_dim", 2, "a first dimension has none before it; guide 'spline-flow' takes one"),),
    ),
    _guide("spline-flow", "spline_flow:SplineFlowGuide", "each dimension transformed by splines", options=_TRANSFORMS),
    _guide("local", "local_normal:LocalNormalGuide", "parameters for each x", *_NORMAL, "one q per observation"),
    _guide(
        "semi-amortized",
        "semi_amortized:SemiAmortizedGuide",
        "an encoder, then gradient steps",
        *_NORMAL,
        options=_same("num_refinements"),
    ),
    _guide(
        "prior",
        "prior_guide:PriorGuide",
        "p(z) for every x, for teaching",
        "closed-form KL",
        needs=(Need("prior", "reparameterized draws", _DRAWN),),
    ),
    _objective(
        "elbo",
        "elbo_objective:Elbo",
        "the mean over num_particles draws",
        "sums over labels",
        options=_same("num_particles", "kl", "kl_weight", "free_bits"),
    ),
    _objective(
        "importance-weighted",
        "importance_weighted:ImportanceWeightedObjective",
        "L_K, K = num_particles",
        options=_DRAWS,
    ),
    _objective(
        "doubly-reparameterized",
        "doubly_reparameterized:DoublyReparameterizedObjective",
        "L_K with a gradient of lower variance",
        options=_DRAWS,
    ),
    _objective(
        "sticking-the-landing",
        "sticking_the_landing:StickingTheLandingObjective",
        "the ELBO with a gradient of lower variance",
        options=_same("num_particles", "kl_weight"),
    ),
    Part(
        "exact",
        "linear-gaussian",
        "bayes_vae.models.linear_gaussian:LinearGaussianVAE",
        "exact posterior known",
        guide="bayes_vae.guides.exact_linear_gaussian:ExactLinearGaussianGuide",
    ),
    _rung("bounds", "nested_bounds:nested_bounds", "the ELBO and L_k up to L_K"),
    _rung("refined", "refined_rung:refined_rung", "L_K from a refined proposal"),
    _rung("annealed", "annealed_rung:annealed_rung", "the annealed log p(x)"),
    _rung("converged", "annealed_rung:converged_rung", "the converged annealed log p(x)"),
    _rung("quadrature", "quadrature_rung:quadrature_rung", "log p(x) by quadrature"),
    _rung("exact", "exact_rung:exact_rung", "the exact log p(x)"),
]
