"""Which torch modules a program reaches, through whatever it is made of, and how they are put into evaluation mode."""

from __future__ import annotations

import dis
import functools
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from bayes_vae.terms.traits import Program, traits_of

__all__ = ["evaluation_mode", "reached_modules", "same_buffers"]

MOST_OBJECTS = 50_000
"""Objects that are looked at; a program that reaches more holds a data set, say."""

LIBRARIES = {*sys.stdlib_module_names, "bayes_vae", "matplotlib", "numpy", "pandas", "pyro", "scipy", "torch"}
"""Packages whose code refers to no module of the user's by a global name."""

_GLOBALS = {"LOAD_GLOBAL", "LOAD_NAME"}

_OWN = {"_parameters", "_buffers", "_modules"}
"""Attributes of a torch module in which it keeps what ``children()`` and the like give."""


def reached_modules(*programs: Program) -> list[nn.Module]:
    """Every module that running these programs may use, and their submodules; each once.

    Looked through are bound methods, ``functools.partial`` and Pyro's handlers, closures (also of functions within
    functions), defaults, attributes, containers, and what the code refers to by global names. Nothing is called, and no
    property is read.
    """
    found: dict[int, nn.Module] = {}
    seen: dict[int, Any] = {}  # held, so that no number is used twice
    waiting: list[Any] = list(reversed(programs))
    while waiting and len(seen) < MOST_OBJECTS:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, Tensor | str | bytes | int | float | complex | None):
            continue
        seen[id(one)] = one
        if isinstance(one, nn.Module):
            found[id(one)] = one
        waiting.extend(_parts(one))
    return list(found.values())


def _parts(one: Any) -> Iterator[Any]:
    """What an object holds or refers to."""
    if isinstance(one, functools.partial):
        yield from (one.func, one.args, one.keywords)
    elif isinstance(one, MethodType):
        yield from (one.__self__, one.__func__)
    elif isinstance(one, FunctionType):
        yield from _parts_of_function(one)
    elif isinstance(one, staticmethod | classmethod):
        yield one.__func__
    elif isinstance(one, property):
        yield from (one.fget, one.fset)
    elif isinstance(one, Mapping):
        yield from list(one.values())
    elif isinstance(one, list | tuple | set | frozenset):
        yield from one
    elif isinstance(one, type):
        if not _of_a_library(one.__module__):
            yield from list(vars(one).values())
    elif not isinstance(one, ModuleType):
        yield from _parts_of_object(one)


def _parts_of_object(one: Any) -> Iterator[Any]:
    if isinstance(one, nn.Module):
        yield from one.children()
    elif type(one).__module__.partition(".")[0] in LIBRARIES - {"bayes_vae", "pyro", "torch"}:
        return
    yield from (value for name, value in list(getattr(one, "__dict__", {}).items()) if name not in _OWN)
    yield from (base for base in type(one).__mro__ if not _of_a_library(base.__module__))


def _parts_of_function(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue
    yield from (function.__defaults__ or (), function.__kwdefaults__ or {}, function.__dict__)
    if _of_a_library(str(function.__globals__.get("__name__", ""))):
        return
    names, attributes = _names_in(function.__code__)
    for name in names & function.__globals__.keys():
        value = function.__globals__[name]
        if not isinstance(value, ModuleType):
            yield value
        elif not _of_a_library(value.__name__):  # a file of the user's: what is named beside it
            yield from (vars(value)[attribute] for attribute in attributes & vars(value).keys())


@functools.lru_cache(maxsize=4096)
def _names_in(code: CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The global names that code refers to, and all names in it, with those of functions defined in it."""
    names = {str(line.argval) for line in dis.get_instructions(code) if line.opname in _GLOBALS}
    attributes = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner = _names_in(constant)
            names |= inner[0]
            attributes |= inner[1]
    return frozenset(names), frozenset(attributes)


def _of_a_library(module: str | None) -> bool:
    return (module or "").partition(".")[0] in LIBRARIES


@contextmanager
def evaluation_mode(*programs: Program) -> Iterator[None]:
    """Switch dropout, batch statistics and the like off, then restore each submodule's own mode and buffers."""
    modules = reached_modules(*programs)
    modes = [module.training for module in modules]
    with same_buffers(*programs):
        try:
            for module in modules:
                module.training = False
            yield
        finally:
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode


@contextmanager
def same_buffers(*programs: Program) -> Iterator[None]:
    """Put the buffers of all modules back as they were at the end, but for guides that ``prepare`` themselves."""
    lasting = [program for program in programs if traits_of(program).prepare is None]
    saved = [
        (module, name, buffer, buffer.detach().clone(), buffer._version)
        for module in reached_modules(*lasting)
        for name, buffer in module._buffers.items()
        if buffer is not None and not buffer.is_inference()
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for module, name, buffer, value, version in saved:
                if buffer._version != version:
                    buffer.copy_(value)
                module._buffers[name] = buffer
