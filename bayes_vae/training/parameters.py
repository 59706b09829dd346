"""Gathering what can be trained: from modules, from the owners of bound methods, and from ``param`` sites."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyro
import pyro.poutine as poutine
import torch
from torch import Tensor, nn

from bayes_vae.errors import ProgramError, SettingsError
from bayes_vae.terms.isolation import PROCESS_STATE
from bayes_vae.terms.program import Observations, Program, admit_rows, modules_of, pyro_module_parameters, relink_store
from bayes_vae.terms.randomness import isolated_rng
from bayes_vae.terms.reached import evaluation_mode, reached_modules
from bayes_vae.terms.tracing import run_pair

__all__ = ["Trainable", "gather", "own_store"]


@dataclass(frozen=True, eq=False)
class Trainable:
    """What is trained of a pair.

    Attributes:
        parameters: name → leaf tensor.
        modules: "model" and "guide" → the modules behind them, each once.
        sites: names of the ``pyro.param`` sites that belong to no module.
    """

    parameters: dict[str, Tensor]
    modules: dict[str, nn.Module]
    sites: tuple[str, ...]

    def state(self) -> dict[str, Tensor]:
        """A copy of all weights on the CPU: module states, and unconstrained values of ``param`` sites."""
        state = {
            f"{name}.{key}": value.detach().cpu().clone()
            for name, module in self.modules.items()
            for key, value in module.state_dict().items()
        }
        sites = {f"param.{name}": self.parameters[name].detach().cpu().clone() for name in self.sites}
        return {**state, **sites}

    def site_values(self) -> dict[str, Tensor]:
        """Copies of the unconstrained values of the ``param`` sites that belong to no module."""
        return {name: self.parameters[name].detach().clone() for name in self.sites}

    def load(self, state: dict[str, Tensor]) -> None:
        """Put a state of :meth:`state` back in place."""
        for name, module in self.modules.items():
            prefix = f"{name}."
            module.load_state_dict(
                {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            )
        with torch.no_grad():
            for name in self.sites:
                self.parameters[name].copy_(state[f"param.{name}"])


@contextmanager
def own_store(*programs: Program) -> Iterator[None]:
    """Give the block a parameter store of its own; the caller's comes back as it was.

    It starts with copies of the caller's values, but for those of modules (from ``pyro.module``, or of a ``PyroModule``
    among the programs): a module holds its own, and a stale entry of the same name would be trained in its place.
    """
    with PROCESS_STATE:
        store = pyro.get_param_store()
        caller = store.get_state()
        of_modules = {name for name, _ in pyro_module_parameters(programs)}
        names = [name for name in caller["params"] if "$$$" not in name and name not in of_modules]
        copies = {name: caller["params"][name].detach().clone().requires_grad_() for name in names}
        try:
            with store.scope({"params": copies, "constraints": {name: caller["constraints"][name] for name in names}}):
                yield
        finally:
            relink_store()


def gather(model: Program, guide: Program, x: Observations, index: Tensor) -> Trainable:
    """Gather the parameters of a pair from its modules and from one traced step. Call inside :func:`own_store`.

    Raises:
        ProgramError: none found.
        SettingsError: batch norm that would be in training mode.
    """
    admit_rows(guide, index)
    sites = _param_sites(model, guide, x, index)
    modules: dict[str, nn.Module] = {}
    for name, program in (("model", model), ("guide", guide)):
        for owner in modules_of(program):
            if all(owner is not module for module in modules.values()):
                modules[name] = owner
    parameters: dict[str, Tensor] = {}
    known: set[int] = set()
    for name, module in modules.items():
        for key, value in module.named_parameters():
            if value.requires_grad and id(value) not in known:  # model and guide may share a network
                parameters[f"{name}.{key}"] = value
                known.add(id(value))
    _refuse_batch_norm(modules, reached_modules(model, guide))
    stray = {name: leaf for name, leaf in sites.items() if id(leaf) not in known}
    if not parameters and not stray:
        raise ProgramError(
            "nothing to train: neither program is or belongs to a torch module with parameters that require "
            "gradients, and one step showed no pyro.param site. Pass modules, or register the networks with "
            "pyro.module inside the programs."
        )
    return Trainable({**parameters, **stray}, modules, tuple(stray))


def _param_sites(model: Program, guide: Program, x: Observations, index: Tensor) -> dict[str, Tensor]:
    with evaluation_mode(model, guide), isolated_rng(0, index.device), poutine.trace(param_only=True) as captured:
        run_pair(model, guide, x, index)
    nodes: dict[str, Any] = captured.trace.nodes
    return {name: site["value"].unconstrained() for name, site in nodes.items()}


def _refuse_batch_norm(modules: dict[str, nn.Module], reached: list[nn.Module]) -> None:
    """Refuse layers that would normalize over the batch while training: no observation then has an ELBO of its own."""
    modes = [(layer, layer.training) for layer in reached]
    try:
        for module in modules.values():
            module.train()
        tying = [layer for layer in reached if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.training]
    finally:
        for layer, mode in modes:
            layer.training = mode
    if tying:
        named = {id(layer): f" {name!r}" for module in modules.values() for name, layer in module.named_modules()}
        raise SettingsError(
            f"the networks have {type(tying[0]).__name__}{named.get(id(tying[0]), '')}, which in training mode "
            "normalizes over the batch and ties its observations together: the ELBO of one would depend on the others. "
            "Use layer norm or group norm; or, for a trained network, fold it into the layer before it "
            "(torch.nn.utils.fusion.fuse_conv_bn_eval, fuse_linear_bn_eval) or keep it frozen (a train() that leaves "
            "it in evaluation mode). Networks with batch norm that were trained elsewhere can be evaluated as they are."
        )
