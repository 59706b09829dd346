"""Priors and likelihoods by name, with options, as settings have them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn

from bayes_vae.errors import SettingsError

__all__ = ["as_setting", "make_part"]

Part = TypeVar("Part", bound=nn.Module)


def make_part(role: str, known: Mapping[str, type[Part]], chosen: str | Mapping[str, Any], *arguments: Any) -> Part:
    """Build a part of a model.

    Args:
        role: "prior" or "likelihood".
        known: name → class.
        chosen: a name, or a mapping with "name" and options.
        *arguments: the class's first arguments.

    Raises:
        SettingsError: an unknown name or option; lists those there are.
    """
    options: dict[str, Any] = {"name": chosen} if isinstance(chosen, str) else dict(chosen)
    name: Any = options.pop("name", None)
    if name not in known:
        raise SettingsError(f"unknown {role} {name!r}: choose one of {', '.join(known)}.")
    taken = dict(list(inspect.signature(known[name]).parameters.items())[len(arguments) :])
    for option in options:
        if option not in taken:
            takes = f"it takes {', '.join(taken)}" if taken else "it takes none"
            raise SettingsError(f"the {role} {name!r} has no option {option!r}: {takes}.")
    for option, about in taken.items():
        if about.default is about.empty and option not in options:
            raise SettingsError(
                f"the {role} {name!r} needs the option {option!r}: give {{'name': {name!r}, {option!r}: ...}}."
            )
    return known[name](*arguments, **options)


def as_setting(chosen: str | Mapping[str, Any]) -> str | dict[str, Any]:
    """A choice as JSON has it."""
    return chosen if isinstance(chosen, str) else dict(chosen)
