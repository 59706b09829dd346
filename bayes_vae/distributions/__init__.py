"""The densities that torch lacks, closed-form KL divergences, draws from noise, and the check of a support.

Our distributions skip torch's own argument validation; :func:`check_support` checks the support of the data once.
"""

from __future__ import annotations

from bayes_vae.distributions.bernoulli_logits import BernoulliLogits
from bayes_vae.distributions.closed_form_kl import analytic_kl, analytic_kl_per_dimension
from bayes_vae.distributions.observed import missing_in, observed_log_prob, observed_part
from bayes_vae.distributions.properties import (
    diagonal_normal,
    draw_from_noise,
    has_normal_base,
    is_discrete,
    is_masked,
    is_point_mass,
    noise_like,
    noise_parts,
    noise_shape,
    normal_parts,
)
from bayes_vae.distributions.rows import as_pyro, distribution_of_rows, with_batch_shape
from bayes_vae.distributions.support import check_support, in_support_where_masked

__all__ = [
    "BernoulliLogits",
    "analytic_kl",
    "analytic_kl_per_dimension",
    "as_pyro",
    "check_support",
    "diagonal_normal",
    "distribution_of_rows",
    "draw_from_noise",
    "has_normal_base",
    "in_support_where_masked",
    "is_discrete",
    "is_masked",
    "is_point_mass",
    "missing_in",
    "noise_like",
    "noise_parts",
    "noise_shape",
    "normal_parts",
    "observed_log_prob",
    "observed_part",
    "with_batch_shape",
]
