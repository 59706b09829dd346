"""Looking up parts in the table, and building them by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, get_args

from bayes_vae.errors import SettingsError
from bayes_vae.parts.part import Part, PartKind, Trait
from bayes_vae.parts.table import TABLE

__all__ = ["added", "as_setting", "build_part", "find", "help_with_parts", "listed", "names", "part_of", "rows"]


def rows(kind: PartKind, *traits: Trait) -> list[Part]:
    """The parts of a kind that offer all of these traits, in the order of the table."""
    return [part for part in TABLE if part.kind == kind and set(part.offers).issuperset(traits)]


def names(kind: PartKind, *traits: Trait) -> tuple[str, ...]:
    """The names of :func:`rows`.

    >>> names("network")
    ('mlp', 'conv')
    """
    return tuple(part.name for part in rows(kind, *traits))


def find(kind: PartKind, name: Any) -> Part:
    """The part with this name.

    Raises:
        SettingsError: lists the names there are.
    """
    for part in rows(kind):
        if part.name == name:
            return part
    raise SettingsError(f"unknown {kind} {name!r}: choose one of {', '.join(names(kind))}.")


def part_of(cls: type) -> Part:
    """The row of a class.

    Raises:
        SettingsError: a class that the table lacks.
    """
    where = f"{cls.__module__}:{cls.__qualname__}"
    for part in TABLE:
        if part.where == where:
            return part
    raise SettingsError(f"{where} is not in the table of parts: give it a row in bayes_vae/parts/table.py.")


@contextmanager
def added(*parts: Part) -> Iterator[None]:
    """Parts that the table holds until the end of the block."""
    TABLE.extend(parts)
    try:
        yield
    finally:
        for part in parts:
            TABLE.remove(part)


def build_part(kind: PartKind, chosen: str | Mapping[str, Any], **given: Any) -> Any:
    """Build a part from a choice, as settings files and constructors have it.

    Args:
        kind: of the part.
        chosen: a name, or a mapping with "name" and options, such as ``{"name": "normal", "scale": 0.1}``.
        **given: arguments that are no options, such as data_shape; a class that does not take one goes without it.

    Raises:
        SettingsError: an unknown name or option; lists those there are.

    >>> build_part("prior", "standard-normal", latent_dim=3, data_shape=(8, 8))().event_shape
    torch.Size([3])
    """
    if not isinstance(chosen, str | Mapping):
        raise SettingsError(
            f"the {kind} must be a name, or a mapping with 'name' and options, got {type(chosen).__name__}."
        )
    options = {"name": chosen} if isinstance(chosen, str) else dict(chosen)
    part = find(kind, options.pop("name", None))
    parameters = inspect.signature(part.cls).parameters
    taken = {name: about for name, about in parameters.items() if name not in given}
    for option in options:
        if option not in taken:
            takes = f"it takes {', '.join(taken)}" if taken else "it takes none"
            raise SettingsError(f"the {kind} {part.name!r} has no option {option!r}: {takes}.")
    for option, about in taken.items():
        if about.default is about.empty and option not in options:
            raise SettingsError(
                f"the {kind} {part.name!r} needs the option {option!r}: "
                f"give {{'name': {part.name!r}, {option!r}: ...}}."
            )
    return part.cls(**{name: value for name, value in given.items() if name in parameters}, **options)


def as_setting(chosen: str | Mapping[str, Any]) -> str | dict[str, Any]:
    """A choice as JSON has it."""
    return chosen if isinstance(chosen, str) else dict(chosen)


def help_with_parts(setting: str, text: str) -> str:
    """The help of a setting, with the parts that it chooses from or the parts that take it.

    >>> help_with_parts("network", "kind of networks")
    'kind of networks: mlp (perceptron), conv (convolutions, for images only)'
    >>> help_with_parts("num_transforms", "transforms of a flow")
    'transforms of a flow (prior flow; guide autoregressive-flow or spline-flow)'
    """
    if setting in get_args(PartKind):
        return f"{text}: {', '.join(f'{part.name} ({part.help})' for part in rows(setting))}"  # type: ignore[arg-type]
    takers = []
    for kind in get_args(PartKind):
        taking = [part.name for part in rows(kind) if setting in part.options]
        if taking and len(taking) < len(rows(kind)):
            takers.append(f"{kind} {' or '.join(taking)}")
    return f"{text} ({'; '.join(takers)})" if takers else text


def listed(choices: Iterable[str]) -> str:
    """Names in quotes, as messages list them.

    >>> listed(["a", "b", "c"])
    "'a', 'b' or 'c'"
    """
    *first, last = map(repr, choices)
    return f"{', '.join(first)} or {last}" if first else last
