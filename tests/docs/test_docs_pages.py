"""What the pages name exists: every function, every test, every figure of the site's source."""

import ast
import dataclasses
import importlib
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
MODULES = tuple(f"bayes_vae{part}" for part in ("", ".models", ".guides", ".data", ".plots", ".errors"))

NAME = re.compile(r"`~?(bayes_vae(?:\.\w+)+)(?:\(\))?`")
TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
DIRECTIVE = re.compile(r"^\.\. (?:auto(?:function|class|exception)|py:data):: (\S+)$", re.MULTILINE)
WHOLE_MODULE = re.compile(r"^\.\. automodule:: (\S+)\n((?:   :.*\n)*)", re.MULTILINE)


def found_in(path, pattern):
    return sorted(set(pattern.findall(path.read_text(encoding="utf-8"))))


def relative(path):
    return str(path.relative_to(DOCS))


def resolve(dotted):
    """Return what a dotted name stands for: a module, something in it, or an attribute or field of a class."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            fields = {field.name for field in dataclasses.fields(found)} if dataclasses.is_dataclass(found) else set()
            found = getattr(found, part, part) if part in fields else getattr(found, part)
        return found
    raise ModuleNotFoundError(dotted)


@cache
def functions_in(path):
    """Return the names of the test functions that pytest finds in a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_the_pages_are_found():
    assert {"index.md", "theory.md", "api/terms.md", "notebooks/your_pair.md"} <= set(map(relative, PAGES))


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_name_on_a_page_exists(page):
    for name in found_in(page, NAME):
        resolve(name)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_test_on_a_page_exists(page):
    for path, name in found_in(page, TEST):
        assert (ROOT / path).is_file(), f"{page.name} names {path}, which does not exist"
        assert name in functions_in(path), f"{page.name} names {path}::{name}, which does not exist"


def test_every_row_of_the_theory_page_has_a_name_and_a_test():
    text = (DOCS / "theory.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if re.match(r"\| (?!---|symbol )", line)]
    assert len(rows) > 25
    for row in rows:
        assert NAME.search(row), row
        assert TEST.search(row), row


def test_names_that_do_not_exist_are_seen():
    for wrong in ("bayes_vae.no_such_name", "bayes_vae.LogTerms.no_such_term", "bayes_vae.no_such_module.name"):
        with pytest.raises((AttributeError, ModuleNotFoundError)):
            resolve(wrong)


def documented():
    """Return every dotted name for which the reference has a directive."""
    names = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        names |= set(DIRECTIVE.findall(text))
        for module, options in WHOLE_MODULE.findall(text):
            assert ":members:" in options, f"{page.name}: automodule:: {module} without its members"
            names |= {f"{module}.{name}" for name in importlib.import_module(module).__all__}
    return names


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference(module):
    """Under this name or another one: load_data is bayes_vae.load_data and bayes_vae.data.load_data."""
    described = {id(resolve(name)) for name in documented()}
    public = [name for name in importlib.import_module(module).__all__ if not name.startswith("__")]
    missing = [f"{module}.{name}" for name in public if id(resolve(f"{module}.{name}")) not in described]
    assert not missing, f"give each a line in the topic page of docs/api/ that it belongs to: {missing}"


def test_every_directive_of_the_reference_names_something():
    for name in documented():
        resolve(name)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_a_page_fetches_nothing(page):
    """No picture, script or style from elsewhere: the site opens from disk."""
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"!\[[^]]*\]\(\w+://|<(?:img|script|link|iframe)\b[^>]*\w+://", text)
