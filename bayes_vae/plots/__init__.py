"""Figures: each a Matplotlib ``Figure`` that touches no global state; the ``draw_…`` functions fill one Axes.

One colour stands for one term of Bayes' rule in every figure: :data:`bayes_vae.plots.colours.COLOURS`.
"""

from bayes_vae.plots.bayes_rule import bayes_rule_figure, draw_density
from bayes_vae.plots.calibration_figure import calibration_figure, draw_coverage, draw_ranks
from bayes_vae.plots.colours import COLOURS
from bayes_vae.plots.comparison_figure import comparison_figure, draw_differences, draw_log_evidences
from bayes_vae.plots.gap_figures import (
    aggregate_figure,
    draw_aggregate_parts,
    draw_gap_parts,
    draw_kl_per_dimension,
    gap_figure,
    kl_per_dimension_figure,
)
from bayes_vae.plots.images import draw_pictures, interpolation_figure, prior_sample_figure, reconstruction_figure
from bayes_vae.plots.ladder_figure import draw_ladder, ladder_figure
from bayes_vae.plots.latents import draw_latent_means, latent_figure
from bayes_vae.plots.rate_distortion_figure import draw_rate_distortion, rate_distortion_figure
from bayes_vae.plots.refit_figure import refitted_prior_figure
from bayes_vae.plots.reliability_figures import draw_effective_sample_size, draw_pareto_k, pareto_k_figure
from bayes_vae.plots.style import save_figure
from bayes_vae.plots.training_figure import draw_term_by_epoch, training_figure
from bayes_vae.plots.traversals import draw_manifold, draw_traversals, manifold_figure, traversal_figure

__all__ = [
    "COLOURS",
    "aggregate_figure",
    "bayes_rule_figure",
    "calibration_figure",
    "comparison_figure",
    "draw_aggregate_parts",
    "draw_coverage",
    "draw_density",
    "draw_differences",
    "draw_effective_sample_size",
    "draw_gap_parts",
    "draw_kl_per_dimension",
    "draw_ladder",
    "draw_latent_means",
    "draw_log_evidences",
    "draw_manifold",
    "draw_pareto_k",
    "draw_pictures",
    "draw_ranks",
    "draw_rate_distortion",
    "draw_term_by_epoch",
    "draw_traversals",
    "gap_figure",
    "interpolation_figure",
    "kl_per_dimension_figure",
    "ladder_figure",
    "latent_figure",
    "manifold_figure",
    "pareto_k_figure",
    "prior_sample_figure",
    "rate_distortion_figure",
    "reconstruction_figure",
    "refitted_prior_figure",
    "save_figure",
    "training_figure",
    "traversal_figure",
]
