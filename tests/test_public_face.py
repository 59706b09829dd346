"""What the public functions return is public too, and what results hold is in the reference."""

import dataclasses
import importlib
import inspect
import re
import typing
from functools import cached_property
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
MODULES = tuple(f"bayes_vae{part}" for part in ("", ".models", ".guides", ".data", ".plots", ".errors"))


def members(module):
    return {name: getattr(importlib.import_module(module), name) for name in importlib.import_module(module).__all__}


PUBLIC = {id(value) for module in MODULES for value in members(module).values()}
NAMED = [(module, name, value) for module in MODULES for name, value in members(module).items()]
FUNCTIONS = [(module, name) for module, name, value in NAMED if inspect.isfunction(value)]
CLASSES = [(module, name) for module, name, value in NAMED if inspect.isclass(value)]


def ours_in(hint):
    """Yield the classes of this library in a type, at any depth."""
    if inspect.isclass(hint) and hint.__module__.startswith("bayes_vae"):
        yield hint
    for part in typing.get_args(hint):
        yield from ours_in(part)


def attribute_hints(kind):
    """Yield (name, type) of every public field, property and method's result."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        yield from ((field.name, hints[field.name]) for field in dataclasses.fields(kind))
    for name, member in inspect.getmembers_static(kind):
        function = {property: "fget", cached_property: "func"}.get(type(member))
        function = getattr(member, function) if function else member
        if inspect.isfunction(function) and function.__module__.startswith("bayes_vae"):
            yield name, typing.get_type_hints(function).get("return")


@pytest.mark.parametrize(("module", "name"), FUNCTIONS)
def test_what_a_function_returns_is_public(module, name):
    hint = typing.get_type_hints(getattr(importlib.import_module(module), name))["return"]
    private = [kind for kind in ours_in(hint) if id(kind) not in PUBLIC]
    assert not private, f"{module}.{name} returns {private}: give them a public name"


@pytest.fixture(scope="module")
def documented():
    """The objects that docs/api/ describes."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((DOCS / "api").glob("*.md")))
    names = re.findall(r"^\.\. autoclass:: (\S+)$", text, re.MULTILINE)
    return {id(getattr(importlib.import_module(name.rpartition(".")[0]), name.rpartition(".")[2])) for name in names}


@pytest.mark.parametrize(("module", "name"), CLASSES)
def test_what_a_class_holds_is_in_the_reference(module, name, documented):
    kind = getattr(importlib.import_module(module), name)
    missing = {
        f"{attribute}: {each.__name__}"
        for attribute, hint in attribute_hints(kind)
        if not attribute.startswith("_")
        for each in ours_in(hint)
        if id(each) not in documented | PUBLIC
    }
    assert not missing, f"give these of {module}.{name} a line in docs/api/: {sorted(missing)}"


def test_a_private_class_in_a_type_is_seen():
    from bayes_vae.estimators.gap_terms import GapSplit

    assert list(ours_in(dict[str, tuple[GapSplit, int] | None])) == [GapSplit]
