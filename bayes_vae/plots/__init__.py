"""Figures: each a Matplotlib ``Figure`` that touches no global state; the ``draw_…`` functions fill one Axes.

One colour stands for one term of Bayes' rule in every figure: :data:`bayes_vae.plots.colours.COLOURS`.
"""

from bayes_vae.plots.bayes_rule import bayes_rule_figure, draw_density
from bayes_vae.plots.calibration import calibration_figure, draw_coverage, draw_ranks
from bayes_vae.plots.colours import COLOURS
from bayes_vae.plots.images import prior_sample_figure, reconstruction_figure
from bayes_vae.plots.ladder import draw_ladder, ladder_figure
from bayes_vae.plots.latents import draw_latent_means, latent_figure
from bayes_vae.plots.reliability import draw_effective_sample_size, draw_pareto_k, pareto_k_figure
from bayes_vae.plots.style import save_figure
from bayes_vae.plots.training import draw_term_by_epoch, training_figure

__all__ = [
    "COLOURS",
    "bayes_rule_figure",
    "calibration_figure",
    "draw_coverage",
    "draw_density",
    "draw_effective_sample_size",
    "draw_ladder",
    "draw_latent_means",
    "draw_pareto_k",
    "draw_ranks",
    "draw_term_by_epoch",
    "ladder_figure",
    "latent_figure",
    "pareto_k_figure",
    "prior_sample_figure",
    "reconstruction_figure",
    "save_figure",
    "training_figure",
]
