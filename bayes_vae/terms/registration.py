"""Registering a module's parameters with Pyro's store under a name that no other instance has."""

from __future__ import annotations

import itertools
import weakref

import pyro
from torch import nn

__all__ = ["register_at_each_call", "register_parameters"]

_serial = itertools.count()
_names: weakref.WeakKeyDictionary[nn.Module, str] = weakref.WeakKeyDictionary()


def _name_of(module: nn.Module) -> str:
    """A name unique to this instance: copies of a module get names of their own."""
    if module not in _names:
        _names[module] = f"bayes_vae.{type(module).__name__}.{next(_serial)}"
    return _names[module]


def register_parameters(module: nn.Module) -> None:
    """Declare each trainable parameter of ``module`` as a ``pyro.param``, so that ``SVI`` trains it.

    ``pyro.module`` under a fixed name makes a second instance share the first one's entries and never train.
    Here each instance has its own. Frozen parameters stay frozen.
    """
    store = pyro.get_param_store()
    stored = dict(store.named_parameters())
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        full_name = f"{_name_of(module)}.{name}"
        if full_name in stored and stored[full_name] is not parameter:
            del store[full_name]
        pyro.param(full_name, parameter)


def register_at_each_call(module: nn.Module) -> None:
    """Register the parameters now and whenever the program runs, as ``pyro.module`` inside it would.

    ``SVI`` with a loss of Pyro's trains what is declared while the programs run, and nothing else.
    """
    register_parameters(module)
    if _declare not in module._forward_pre_hooks.values():
        module.register_forward_pre_hook(_declare)


def _declare(module: nn.Module, _inputs: object) -> None:
    register_parameters(module)
