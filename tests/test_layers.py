"""Imports only go down the layers, and there are no cycles: read from the source, whether or not it runs."""

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LAYERS = [
    {"errors", "parts", "plain_files", "process", "progress", "settings", "vocabulary"},
    {"distributions", "networks", "reference"},
    {"terms"},
    {"data", "guides", "models"},
    {"pairs", "reference_pairs"},
    {"estimators"},
    {"objectives", "posterior"},
    {"runs", "training"},
    {"diagnosis", "plots"},
    {"explore", "report"},
    {"bayes_vae"},
    {"__main__", "cli", "experiments"},
]
"""From low to high: the part of the name after ``bayes_vae.``; ``bayes_vae`` itself is the public face."""

BLIND = [("models", "guides"), ("guides", "models")]
"""(who, whom): pairs that may not import each other, though neither is above the other."""

TORCH_FREE = {"errors", "parts", "process", "settings", "vocabulary"}

SOURCES = {
    "bayes_vae": "bayes_vae",
    "bayes_vae.experiments": "experiments",
    "bayes_vae.guides": "guides",
    "bayes_vae.models": "models",
}


def find_modules(root):
    """Return module name → file of every module under the folders of ``SOURCES``, each once."""
    modules = {}
    for package, folder in SOURCES.items():
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            if package == "bayes_vae" and f"bayes_vae.{parts[0]}" in SOURCES:
                continue
            name = ".".join([package, *(part for part in parts if part != "__init__")])
            modules[name] = path
    return modules


def imported_names(tree):
    """Yield (line, dotted name) of every import, at any depth; ``from a import b`` gives ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names = (argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant))
            yield from ((node.lineno, name) for name in names)


def find_imports(modules):
    """Return module name → [(line, name of the imported module, as long as it exists)]."""
    imports = {}
    for name, path in modules.items():
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        imports[name] = [(line, closest_module(target, modules)) for line, target in imported_names(tree)]
    return imports


def closest_module(target, modules):
    """Return the module that ``target`` is or is an attribute of; a foreign name comes back unchanged."""
    parts = target.split(".")
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in modules), target)


def part_of(module):
    """Return the name that ``LAYERS`` knows a module by."""
    return module.split(".")[1] if "." in module else module


def layer_of(module):
    return next((height for height, parts in enumerate(LAYERS) if part_of(module) in parts), None)


def upward_imports(imports):
    """Return a line of text for each import that goes up the layers, or between parts that are blind."""
    found = []
    for name, targets in imports.items():
        for line, target in targets:
            if target not in imports or layer_of(name) is None or layer_of(target) is None:
                continue
            blind = (part_of(name), part_of(target)) in BLIND
            if blind or layer_of(target) > layer_of(name):
                found.append(f"{name}, line {line}, imports {target}")
    return sorted(set(found))


def find_cycle(imports):
    """Return the modules of one import cycle, or None."""
    graph = {name: {target for _, target in targets if target in imports} for name, targets in imports.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


@pytest.fixture(scope="module")
def imports():
    return find_imports(find_modules(ROOT))


def test_every_module_has_its_layer(imports):
    unknown = {part_of(name) for name in imports if layer_of(name) is None}
    assert not unknown, f"give these their place in LAYERS of tests/test_layers.py: {sorted(unknown)}"


def test_every_name_in_the_table_exists(imports):
    stale = set.union(*LAYERS) - {part_of(name) for name in imports}
    assert not stale, f"LAYERS of tests/test_layers.py names what no file holds: {sorted(stale)}"


def test_imports_only_go_down(imports):
    assert not upward_imports(imports)


def test_there_are_no_cycles(imports):
    assert find_cycle(imports) is None


def test_imports_are_absolute(imports):
    relative = [f"{name}, line {line}" for name, found in imports.items() for line, t in found if t[0] == "."]
    assert not relative


def test_the_torch_free_parts_need_the_standard_library_only(imports):
    allowed = {*sys.stdlib_module_names, "bayes_vae"}
    for name in sorted(imports):
        if part_of(name) in TORCH_FREE:
            assert {target.split(".")[0] for _, target in imports[name]} <= allowed, name


def test_reference_is_plain_torch(imports):
    allowed = {*sys.stdlib_module_names, "torch"}
    assert {target.split(".")[0] for _, target in imports.get("bayes_vae.reference", [])} <= allowed


@pytest.fixture
def fake_imports(tmp_path):
    """Return the imports of a tree that holds the given sources, by module name, and ``errors``."""

    def build(**sources):
        for name, source in {"errors": "", **sources}.items():
            folder = tmp_path / (name if f"bayes_vae.{name}" in SOURCES else "bayes_vae")
            folder.mkdir(exist_ok=True)
            stem = "__init__" if folder.name == name else name
            (folder / f"{stem}.py").write_text(source)
        return find_imports(find_modules(tmp_path))

    return build


@pytest.mark.parametrize(
    "source",
    [
        "import bayes_vae.estimators",
        "from bayes_vae.estimators import elbo_terms",
        "from bayes_vae import estimators",
        "def f():\n    from bayes_vae.estimators import elbo_terms",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from bayes_vae.estimators import ElboTerms",
        "import importlib\nimportlib.import_module('bayes_vae.estimators')",
    ],
)
def test_an_upward_import_is_found(fake_imports, source):
    line = len(source.splitlines())
    imports = fake_imports(networks=source, estimators="")
    assert upward_imports(imports) == [f"bayes_vae.networks, line {line}, imports bayes_vae.estimators"]


def test_an_import_of_the_public_face_is_found(fake_imports):
    imports = fake_imports(bayes_vae="", estimators="from bayes_vae import fit", experiments="import bayes_vae as bv")
    assert upward_imports(imports) == ["bayes_vae.estimators, line 1, imports bayes_vae"]


@pytest.mark.parametrize(("who", "whom"), BLIND)
def test_models_and_guides_are_blind_to_each_other(fake_imports, who, whom):
    imports = fake_imports(**{who: f"from bayes_vae.{whom} import x", whom: ""})
    assert upward_imports(imports) == [f"bayes_vae.{who}, line 1, imports bayes_vae.{whom}"]


def test_a_downward_import_is_allowed(fake_imports):
    assert not upward_imports(fake_imports(networks="from bayes_vae.errors import SettingsError"))


def test_a_cycle_within_a_layer_is_found(fake_imports):
    imports = fake_imports(networks="import bayes_vae.distributions", distributions="import bayes_vae.networks")
    assert not upward_imports(imports)
    assert set(find_cycle(imports)) == {"bayes_vae.networks", "bayes_vae.distributions"}


def test_a_module_that_the_table_lacks_is_found(fake_imports):
    assert [name for name in fake_imports(helpers="") if layer_of(name) is None] == ["bayes_vae.helpers"]
