"""Draws of the exact posterior p(z given x)."""

from bayes_vae.posterior.draws import PosteriorDraws
from bayes_vae.posterior.exact import exact_posterior_draws
from bayes_vae.posterior.hamiltonian import posterior_draws
from bayes_vae.posterior.imputation import Imputation, impute
from bayes_vae.posterior.nuts import nuts_draws

__all__ = ["Imputation", "PosteriorDraws", "exact_posterior_draws", "impute", "nuts_draws", "posterior_draws"]
