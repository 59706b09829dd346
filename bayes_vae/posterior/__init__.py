"""Draws of the exact posterior p(z given x), and of observations."""

from bayes_vae.posterior.draws import PosteriorDraws
from bayes_vae.posterior.exact import exact_posterior_draws
from bayes_vae.posterior.generated import interpolate, reconstruct, sample
from bayes_vae.posterior.hamiltonian import posterior_draws
from bayes_vae.posterior.nuts import nuts_draws

__all__ = [
    "PosteriorDraws",
    "exact_posterior_draws",
    "interpolate",
    "nuts_draws",
    "posterior_draws",
    "reconstruct",
    "sample",
]
