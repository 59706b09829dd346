"""Programs whose parameters are ``pyro.param`` sites, with values that come from a run directory."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import constraints, transform_to

from bayes_vae.terms.traits import HANDED_ON, traits_of

__all__ = ["ParameterizedProgram"]

_MODULE_SEPARATOR = "$$$"
"""Pyro's own mark in the names of parameters that ``pyro.module`` declares."""


class _SupplyParameters(Messenger):
    """Gives each ``pyro.param`` site its value, past Pyro's store."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.values = values
        self.filled: dict[str, weakref.ref[Tensor]] = {}

    def _pyro_param(self, msg: Any) -> None:
        name = msg["name"]
        if name not in self.values:
            return
        if _MODULE_SEPARATOR in name and len(msg["args"]) > 1:
            msg["value"] = self._into_module(name, msg["args"][1])
            return
        constraint = msg["kwargs"].get("constraint") or constraints.real
        value = transform_to(constraint)(self.values[name])
        value.unconstrained = weakref.ref(self.values[name])
        msg["value"] = value

    def _into_module(self, name: str, parameter: Tensor) -> Tensor:
        """Copy the value into the module's own parameter, with which it computes; once, so it can train."""
        if name not in self.filled or self.filled[name]() is not parameter:
            with torch.no_grad():
                parameter.copy_(self.values[name])
            self.filled[name] = weakref.ref(parameter)
        parameter.unconstrained = self.filled[name]  # type: ignore[attr-defined]
        return parameter


class ParameterizedProgram:
    """A Pyro program that carries the values of its ``pyro.param`` sites, past Pyro's own store.

    Args:
        program: the Pyro program.
        values: name of a site → its unconstrained value.
    """

    def __init__(self, program: Callable[..., Any], values: Mapping[str, Tensor]) -> None:
        self.__wrapped__ = program
        self._supply = _SupplyParameters(values)

    def __getattr__(self, name: str) -> Any:
        """What the program says of itself, its methods run with these parameters."""
        if name not in HANDED_ON:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        found = getattr(traits_of(self.__wrapped__), name)
        return self._with_parameters(found) if callable(found) else found

    def _with_parameters(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._supply:
                return method(*args, **kwargs)

        return call

    def __call__(self, *x: Any, **kwargs: Any) -> Any:
        """Run the program with its own parameters."""
        with self._supply:
            return self.__wrapped__(*x, **kwargs)
