"""Models and guides in a configuration, and back: described, and built again."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bayes_vae.errors import RunError
from bayes_vae.guides import Guide
from bayes_vae.models import Model
from bayes_vae.parts.part import class_at
from bayes_vae.parts.table import TABLE
from bayes_vae.terms.randomness import isolated_rng

__all__ = ["build_program", "describe_program"]

_BASES: dict[str, type[nn.Module]] = {"model": Model, "guide": Guide}


def _class_named(role: str, name: object) -> type[nn.Module] | None:
    """The class of the table of parts with that name: what a configuration says is never imported by path.

    A part of a model, such as a prior, is in the table too and is no model.
    """
    for where in (where for part in TABLE for where in (part.where, part.guide)):
        if where.endswith(f":{name}"):
            found: type[nn.Module] = class_at(where)
            return found if issubclass(found, _BASES[role]) else None
    return None


def describe_program(role: str, program: Any) -> dict[str, Any]:
    """What a configuration says of a program.

    Args:
        role: "model" or "guide".
        program: the Pyro program.

    Returns:
        class and settings, if the class is ours; else no class and a description for a person.
    """
    name = type(program).__name__
    if type(program) is _class_named(role, name):
        return {"class": name, "settings": program.settings}
    inner = getattr(program, "program", program)
    if hasattr(inner, "program_description"):
        return {"class": None, "description": inner.program_description}
    named = inner if hasattr(inner, "__qualname__") else type(inner)
    return {"class": None, "description": f"{named.__module__}.{named.__qualname__}"}


def build_program(role: str, description: Mapping[str, Any], model: Any = None) -> nn.Module:
    """Build a model or guide of ours from its description; its weights are still arbitrary.

    Args:
        role: "model" or "guide".
        description: from :func:`describe_program`.
        model: for guides that follow their model.

    Raises:
        RunError: a program from elsewhere, a class that this release lacks, or settings that it does not
            take.
    """
    name = description.get("class")
    if name is None:
        raise RunError(
            f"the {role} of this run is {description.get('description')}, not a class of bayes_vae.{role}s, "
            "so it cannot be built from the run directory alone. Build the pair as for training and pass it: "
            "load(path, model=..., guide=...)."
        )
    found = _class_named(role, name)
    if found is None:
        raise RunError(
            f"the {role} of this run is of class {name!r}, which bayes_vae.{role}s lacks in this release. "
            "Install the release that wrote the run (config.json names it), or pass the pair: load(path, "
            "model=..., guide=...)."
        )
    follows = {"model": model} if "model" in inspect.signature(found).parameters else {}
    try:
        with isolated_rng(0), torch.device("cpu"):
            return found(**follows, **description["settings"])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise RunError(
            f"the {role} of this run, {name}, does not take the settings in config.json ({error}). Install "
            "the release that wrote the run (config.json names it)."
        ) from error
