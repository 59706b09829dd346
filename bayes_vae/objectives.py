"""Objectives for training: each a ``pyro.infer.ELBO``, right for each observation."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import pyro
import pyro.poutine as poutine
import torch
from pyro.infer import ELBO
from torch import Tensor, nn

from bayes_vae.elbo import KL, check_kl, resolve_kl
from bayes_vae.errors import ProgramError, ScaledSiteWarning, SettingsError
from bayes_vae.registration import register_parameters
from bayes_vae.terms.program import (
    Program,
    as_observations,
    modules_of,
    own_parameters,
    pyro_module_parameters,
    undisturbed,
)
from bayes_vae.terms.stream import Pair, as_index, read_pair
from bayes_vae.terms.tracing import run_pair

__all__ = ["Elbo", "ElboModule", "ObjectiveTerms"]


class ObjectiveTerms(NamedTuple):
    """The ELBO's two terms for each observation, shape (N,), nats, differentiable."""

    expected_log_likelihood: Tensor
    kl_to_prior: Tensor


class ElboModule(nn.Module):
    """An objective fixed to a pair, as a module whose parameters a torch optimizer can run over.

    The modules behind bound methods are submodules too, so that their parameters are not hidden.
    """

    def __init__(self, model: Program, guide: Program, elbo: Elbo) -> None:
        super().__init__()
        self.elbo = elbo
        self._programs = (model, guide)
        for name, program in (("model", model), ("guide", guide)):
            for owner in modules_of(program):
                if all(owner is not module for module in self.children()):
                    self.add_module(name, owner)

    def forward(self, *x: Tensor, index: Tensor | None = None) -> Tensor:
        """Negative ELBO of the batch, summed over its observations, nats."""
        with own_parameters(*self._programs):
            return self.elbo.differentiable_loss(*self._programs, *x, index=index)

    def terms(self, *x: Tensor, index: Tensor | None = None) -> ObjectiveTerms:
        """The two terms for each observation."""
        with own_parameters(*self._programs):
            return self.elbo.terms(*self._programs, *x, index=index)


class Elbo(ELBO):
    r"""The negative ELBO as an objective, with the KL weighted.

    .. math:: -\sum_n \Big( E_{q} \log p(x_n \mid z) - \beta \, \mathrm{KL}(q(z \mid x_n) \,\|\, p(z)) \Big)

    Works under ``pyro.infer.SVI``, where it registers each module of the pair under a name of its own, and as a module,
    ``Elbo()(model, guide)``, which leaves Pyro's parameter store untouched.

    Args:
        num_particles: K draws from q for each observation; their mean is still the ELBO, not a tighter bound.
        kl: "analytic", "sampled", or "auto": the closed form where the pair exposes its distributions and has one,
            else sampled, as ``Trace_ELBO`` does.
        kl_weight: β; only with β = 1 is this a bound on log p(x).

    Raises:
        ProgramError: a scaled site, a latent without ``rsample``, or nothing to train.

    Reference: Kingma, Welling (2014), "Auto-encoding variational Bayes", eqs. 6 and 7.
    """

    def __init__(self, num_particles: int = 1, *, kl: KL = "auto", kl_weight: float = 1.0) -> None:
        super().__init__(num_particles=num_particles)  # type: ignore[no-untyped-call]
        if not (hasattr(num_particles, "__index__") and num_particles >= 1):
            raise SettingsError(f"num_particles must be a whole number of at least 1, got {num_particles!r}.")
        if not kl_weight >= 0:
            raise SettingsError(f"kl_weight must be at least 0, got {kl_weight}.")
        check_kl(kl)
        self.kl, self.kl_weight = kl, kl_weight
        self._read: tuple[Program, Program, Pair] | None = None

    def __call__(self, model: Program, guide: Program) -> ElboModule:  # type: ignore[override]
        """The objective of this pair, as a module: called with x it gives the loss."""
        return ElboModule(model, guide, self)

    def _pair(self, model: Program, guide: Program, x: tuple[Tensor, ...], index: Tensor) -> Pair:
        if self._read is None or self._read[0] != model or self._read[1] != guide:
            with poutine.block(), undisturbed(model, guide, device=x[0].device), warnings.catch_warnings():
                warnings.simplefilter("ignore", ScaledSiteWarning)  # refused below
                pair = read_pair(model, guide, x, index)
            _refuse_untrainable(pair)
            self._read = (model, guide, pair)
        return self._read[2]

    def _get_trace(self, model: Program, guide: Program, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """One plain run of the pair, model trace first: what ``pyro.infer.ELBO`` asks of its subclasses."""
        index = torch.arange(len(args[0]), device=args[0].device)
        guide_trace, model_trace = run_pair(model, guide, args, kwargs.get("index", index))
        return model_trace, guide_trace

    def terms(self, model: Program, guide: Program, *x: Tensor, index: Tensor | None = None) -> ObjectiveTerms:
        """The ELBO's two terms for each observation, unweighted; draws come from torch's own generator."""
        parts = as_observations(x)
        indices = as_index(index, len(parts[0]), parts[0].device)
        pair = self._pair(model, guide, parts, indices)
        bound = pair.bind(parts, indices)
        kl = "sampled" if self.kl == "auto" and pair.source == "traces" else self.kl
        _, closed = resolve_kl(bound, kl)
        draw = bound.draw(range(self.num_particles), None)
        sampled = (draw.log_guide - draw.log_prior).mean(0) if closed is None else closed
        return ObjectiveTerms(draw.log_likelihood.mean(0), sampled)

    def differentiable_loss(self, model: Program, guide: Program, *x: Tensor, **kwargs: Any) -> Tensor:
        """Negative ELBO of the batch, summed over its observations; differentiable, nats."""
        terms = self.terms(model, guide, *x, **kwargs)
        return (self.kl_weight * terms.kl_to_prior - terms.expected_log_likelihood).sum()

    def loss(self, model: Program, guide: Program, *x: Tensor, **kwargs: Any) -> float:
        """Negative ELBO of the batch, summed, as a number."""
        with torch.no_grad():
            return float(self.differentiable_loss(model, guide, *x, **kwargs))

    def loss_and_grads(self, model: Program, guide: Program, *x: Tensor, **kwargs: Any) -> float:
        """Register the pair's parameters with Pyro's store, as ``SVI`` expects, and run backward.

        Raises:
            ProgramError: the pair has no parameter that could be trained, or the store holds another module's
                parameters under the names of this one's.
        """
        _refuse_sharing(model, guide)
        with poutine.trace(param_only=True) as captured:
            for program in (model, guide):
                for owner in modules_of(program):
                    register_parameters(owner)
            loss = self.differentiable_loss(model, guide, *x, **kwargs)
        if not captured.trace.nodes:
            raise ProgramError(
                "nothing can be trained: neither program is or belongs to a torch module with parameters that "
                "require gradients, and neither has a pyro.param site. Pass modules, or register the networks with "
                "pyro.module inside the programs."
            )
        _refuse_stale(captured.trace.nodes)
        loss.backward()
        return float(loss.detach())


def _refuse_stale(sites: dict[str, Any]) -> None:
    """``pyro.module`` hands SVI what the store holds under its name, be it another module's."""
    trained = {id(site["value"].unconstrained()) for site in sites.values()}
    for name, site in sites.items():
        given = site["args"][1] if len(site["args"]) > 1 else None
        if isinstance(given, nn.Parameter) and id(given) not in trained:
            raise ProgramError(_stale(name, "would never train", "give pyro.module another name"))


def _refuse_sharing(*programs: Program) -> None:
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


def _refuse_untrainable(pair: Pair) -> None:
    for site, factor in pair.scaled:
        raise ProgramError(
            f"site {site!r} is scaled by {factor}; Elbo takes the weight of the KL as Elbo(kl_weight=...). Remove "
            "poutine.scale, or train with pyro.infer.Trace_ELBO, which honours it."
        )
    for site in pair.not_reparameterized:
        raise ProgramError(
            f"latent {site!r} has no rsample, so Elbo has no gradient for its guide. Train this pair with "
            "pyro.infer.TraceEnum_ELBO (discrete latents) or pyro.infer.TraceGraph_ELBO."
        )
