"""Independent draws of a posterior that a model knows in closed form."""

from __future__ import annotations

import time
from typing import Any

import torch

from bayes_vae.errors import NotDefinedError
from bayes_vae.posterior.draws import PosteriorDraws, check_numbers
from bayes_vae.terms.opened import open_pair
from bayes_vae.terms.prior_as_guide import prior_as_guide
from bayes_vae.terms.randomness import derived_seed, isolated_rng
from bayes_vae.terms.rows import X
from bayes_vae.terms.traits import traits_of

__all__ = ["exact_posterior_draws"]


def exact_posterior_draws(
    model: Any,
    x: X,
    *,
    num_draws: int = 1000,
    num_chains: int = 4,
    seed: int = 0,
    data_policy: str | None = None,
) -> PosteriorDraws:
    r"""Independent draws of the exact posterior, for a model that has ``exact_posterior(x)``.

    .. math:: z_{csn} \sim p(z \mid x_n)

    Args:
        model: such as :class:`bayes_vae.models.LinearGaussianVAE`.
        x: observations, shape (N, *event).
        num_draws, num_chains: what is drawn is independent; the chains only give it the shape of
            :func:`bayes_vae.posterior_draws`.
        seed, data_policy: as in :func:`bayes_vae.log_terms`.

    Returns:
        :class:`PosteriorDraws`, every draw accepted.

    Raises:
        NotDefinedError: a model without a closed form.
        SettingsError: numbers too small.
    """
    check_numbers(num_draws, num_chains)
    traits = traits_of(model)
    if traits.exact_posterior is None or not traits.exposes_distributions:
        raise NotDefinedError(
            f"{type(model).__name__} knows no exact_posterior(x): the draws of posterior_draws and nuts_draws need no "
            "closed form."
        )
    began = time.perf_counter()
    proposal = prior_as_guide(model, "distributions")
    with open_pair(model, proposal, x, seed=seed, source="distributions", data_policy=data_policy) as opened:
        opened.check_memory(2 * num_draws * num_chains, f"{num_chains} chains of num_draws={num_draws}")
        opened.check_support()
        parts, index, origin = opened.rows.read(), opened.index, opened.provenance
        with isolated_rng(derived_seed(opened.seed, "exact posterior"), index.device):
            z = traits.exact_posterior(*parts).sample((num_chains, num_draws))
        terms = opened.pair.bind(parts, index).log_joint({"z": z.flatten(0, 1)})
    log_joint = (terms.log_prior + terms.log_likelihood).double().unflatten(0, (num_chains, num_draws))
    one = log_joint.new_ones(len(index))
    none = torch.zeros(len(index), dtype=torch.int64, device=index.device)
    seconds = time.perf_counter() - began
    return PosteriorDraws({"z": z}, log_joint, one, one * torch.nan, none, 0, "closed form", seconds, origin)
