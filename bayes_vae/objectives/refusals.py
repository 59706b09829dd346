"""What an objective refuses: pairs without a gradient, and parameters that Pyro's store would mix up."""

from __future__ import annotations

from typing import Any

import pyro
from torch import nn

from bayes_vae.errors import ProgramError
from bayes_vae.terms.program import Program, pyro_module_parameters
from bayes_vae.terms.stream import Pair

__all__ = ["refuse_nothing_to_train", "refuse_sharing", "refuse_stale", "refuse_untrainable"]


def refuse_untrainable(pair: Pair, objective: str, summed: str | None = None) -> None:
    """Refuse scaled sites, and latents whose draws carry no gradient.

    Args:
        pair: as it was read.
        objective: name of the objective's class.
        summed: the latent that is summed over in place of being drawn, if there is one.
    """
    for site, factor in pair.scaled:
        raise ProgramError(
            f"site {site!r} is scaled by {factor}; {objective} scales no site: the weight of the KL is "
            "Elbo(kl_weight=...). Remove poutine.scale, or train with pyro.infer.Trace_ELBO, which honours it."
        )
    for site in pair.not_reparameterized:
        if site == summed:
            continue
        raise ProgramError(
            f"latent {site!r} has no rsample, so {objective} has no gradient for its guide. Train this pair with "
            "EnumeratedElbo (one discrete latent), pyro.infer.TraceEnum_ELBO (several) or pyro.infer.TraceGraph_ELBO."
        )


def refuse_nothing_to_train(sites: dict[str, Any]) -> None:
    """Refuse a run that declared no parameter: ``SVI`` would train nothing and say nothing."""
    if not sites:
        raise ProgramError(
            "nothing can be trained: neither program is or belongs to a torch module with parameters that "
            "require gradients, and neither has a pyro.param site. Pass modules, or register the networks with "
            "pyro.module inside the programs."
        )


def refuse_stale(sites: dict[str, Any]) -> None:
    """``pyro.module`` hands SVI what the store holds under its name, be it another module's."""
    trained = {id(site["value"].unconstrained()) for site in sites.values()}
    for name, site in sites.items():
        given = site["args"][1] if len(site["args"]) > 1 else None
        if isinstance(given, nn.Parameter) and id(given) not in trained:
            raise ProgramError(_stale(name, "would never train", "give pyro.module another name"))


def refuse_sharing(*programs: Program) -> None:
    """A ``PyroModule`` takes over what the store holds under its name, be it another module's."""
    stored = dict(pyro.get_param_store().named_parameters())
    for name, parameter in pyro_module_parameters(programs):
        if stored.get(name, parameter) is not parameter:
            raise ProgramError(_stale(name, "would be replaced by it", "train this pair with bayes_vae.fit"))


def _stale(name: str, consequence: str, remedy: str) -> str:
    return (
        f"the parameter store holds another tensor under the name {name!r}, left there by an earlier pair, so this "
        f"pair's {consequence}. Call pyro.clear_param_store() first, or {remedy}."
    )
