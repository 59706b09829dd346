"""Pairs of model and guide in a configuration, and back: described, built again, filled with weights."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

import bayes_vae.guides
import bayes_vae.models
from bayes_vae.errors import RunError
from bayes_vae.runs.programs import ParameterizedProgram
from bayes_vae.terms.program import modules_of
from bayes_vae.terms.randomness import isolated_rng

__all__ = ["build_program", "check_attached", "describe_program", "fill_pair"]

_PACKAGES = {"model": bayes_vae.models, "guide": bayes_vae.guides}
_BASES: dict[str, type[nn.Module]] = {"model": bayes_vae.models.Model, "guide": bayes_vae.guides.Guide}


def _class_named(role: str, name: object) -> type[nn.Module] | None:
    """The concrete class of ours with that name: looked up among public names, never imported by path.

    A part of a model, such as a prior, is public too and no model.
    """
    package = _PACKAGES[role]
    found = getattr(package, name) if isinstance(name, str) and name in package.__all__ else None
    concrete = inspect.isclass(found) and issubclass(found, _BASES[role]) and not inspect.isabstract(found)
    return found if concrete else None


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


def check_attached(model: Any, guide: Any) -> None:
    """Refuse to store a pair whose prior is made of another guide than the pair's.

    Args:
        model: the model; one without ``attached_guide``, or with None there, is made of no guide.
        guide: the guide of the pair.

    Raises:
        RunError: says which guides these are.
    """
    attached = getattr(model, "attached_guide", None)
    if attached is None or any(attached is owner for owner in modules_of(guide)):
        return
    raise RunError(
        f"the model's prior is made of the q of another guide, {type(attached).__name__}, than that of this run, "
        f"{type(guide).__name__}. Its weights would not be stored, and the prior be another once loaded. Train the "
        "pair together: call model.attach_guide(guide) with the guide that is passed to fit."
    )


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


def fill_pair(model: Any, guide: Any, state: Mapping[str, Tensor], built: Collection[str] = ()) -> tuple[Any, Any]:
    """Put weights into a pair and switch it to evaluation mode; a prior that is made of q gets the pair's guide.

    Args:
        model: the model; its weights go to the module behind it.
        guide: the guide, likewise.
        state: weights as :class:`~bayes_vae.runs.Run` has them.
        built: which of "model" and "guide" were built here; those take the dtype of the weights.

    Returns:
        the same pair; where the run has ``pyro.param`` sites, wrapped in programs that carry their values.

    Raises:
        RunError: weights that do not fit; the pair is then as it was.
    """
    targets = _targets(model, guide, state)
    for role, module, weights in targets:
        if role in built:
            _match_dtype(module, weights)
        _check_fit(role, module, weights)
    if hasattr(model, "attach_guide"):
        model.attach_guide(guide)
    for _, module, weights in targets:
        module.load_state_dict(weights)
        module.eval()
    values = _part(state, "param")
    if not values:
        return model, guide
    leaves = {name: value.clone().requires_grad_(value.is_floating_point()) for name, value in values.items()}
    return ParameterizedProgram(model, leaves), ParameterizedProgram(guide, leaves)


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}


def _targets(model: Any, guide: Any, state: Mapping[str, Tensor]) -> list[tuple[str, nn.Module, dict[str, Tensor]]]:
    """The modules behind a pair, each once, with the weights that go there."""
    programs = {"model": model, "guide": guide}
    owners = {role: owner for role, program in programs.items() for owner in modules_of(program)}
    weights = {role: _part(state, role) for role in programs}
    if len(owners) == 2 and owners["model"] is owners["guide"]:
        return [("model", owners["model"], weights["guide"] | weights["model"])]
    for role in programs:
        if weights[role] and role not in owners:
            raise RunError(
                f"this run has weights of a module for the {role}, but the {role} that was passed is "
                f"{type(programs[role]).__name__}, with no module behind it. Pass a module, or a bound "
                "method of one, as for training."
            )
    return [(role, owner, weights[role]) for role, owner in owners.items()]


def _match_dtype(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    dtypes = {weight.dtype for weight in weights.values() if weight.is_floating_point()}
    if len(dtypes) == 1:
        module.to(dtypes.pop())


def _check_fit(role: str, module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    expected = module.state_dict()
    faults = [f"the run lacks {key}" for key in expected.keys() - weights.keys()]
    faults += [f"the {role} lacks {key}" for key in weights.keys() - expected.keys()]
    for key in expected.keys() & weights.keys():
        own, stored = (f"{tuple(t.shape)} {t.dtype}" for t in (expected[key], weights[key]))
        if own != stored:
            faults.append(f"{key} is {stored} in the run and {own} in the {role}")
    if faults:
        raise RunError(
            f"the weights of this run do not fit the {role}: {'; '.join(sorted(faults))}. Build it as for "
            "training (config.json has the settings), with the same dtype."
        )
