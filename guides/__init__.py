"""Guides q(z given x): the approximate posteriors, each a Pyro program."""

from bayes_vae.guides.amortized_normal import AmortizedNormalGuide
from bayes_vae.guides.autoregressive_flow import AutoregressiveFlowGuide
from bayes_vae.guides.conditional_normal import ConditionalNormalGuide
from bayes_vae.guides.exact_linear_gaussian import ExactLinearGaussianGuide
from bayes_vae.guides.flow_guide import FlowGuide
from bayes_vae.guides.full_covariance import FullCovarianceGuide
from bayes_vae.guides.guide import Guide, SingleLatentGuide
from bayes_vae.guides.local_normal import LocalNormalGuide
from bayes_vae.guides.low_rank import LowRankGuide
from bayes_vae.guides.network_guide import NetworkGuide
from bayes_vae.guides.prior_guide import PriorGuide
from bayes_vae.guides.semi_amortized import SemiAmortizedGuide
from bayes_vae.guides.semi_supervised import SemiSupervisedGuide
from bayes_vae.guides.spline_flow import SplineFlowGuide
from bayes_vae.guides.two_layer_normal import TwoLayerNormalGuide

__all__ = [
    "AmortizedNormalGuide",
    "AutoregressiveFlowGuide",
    "ConditionalNormalGuide",
    "ExactLinearGaussianGuide",
    "FlowGuide",
    "FullCovarianceGuide",
    "Guide",
    "LocalNormalGuide",
    "LowRankGuide",
    "NetworkGuide",
    "PriorGuide",
    "SemiAmortizedGuide",
    "SemiSupervisedGuide",
    "SingleLatentGuide",
    "SplineFlowGuide",
    "TwoLayerNormalGuide",
]
