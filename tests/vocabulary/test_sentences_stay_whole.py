"""No code looks into a sentence: how a figure reads is asked of its ``Reading``, never of the text made from it."""

import ast
import re
from pathlib import Path

import pytest

from bayes_vae import errors

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("bayes_vae", "models", "guides", "experiments", "benchmarks")

SPEECH = {
    "caption",
    "conditions",
    "error",
    "note",
    "notes",
    "reading",
    "readings",
    "reason",
    "sentence",
    "sentences",
    "why",
    "why_no_grid",
    "why_no_kl_per_dimension",
    "why_not_annealed",
    "why_not_split",
    "why_undefined",
    "words",
}
"""What a sentence is called; ``error`` is that in ``str(error)``."""

PARSING = {
    *("count", "endswith", "find", "index", "partition", "removeprefix", "removesuffix", "replace", "rfind"),
    *("rindex", "rpartition", "rsplit", "split", "splitlines", "startswith"),
}

OURS = set(errors.__all__)

MATCHING = {"findall", "finditer", "fullmatch", "match", "search", "split", "sub"}


def speech(node):
    """Return the name of the sentence that an expression is, or None."""
    if isinstance(node, ast.Name | ast.Attribute):
        name = node.id if isinstance(node, ast.Name) else node.attr
        return name if name in SPEECH - {"error"} else None
    if isinstance(node, ast.Subscript):
        key = node.slice.value if isinstance(node.slice, ast.Constant) else None
        return (key if key in SPEECH else None) if isinstance(key, str) else speech(node.value)
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id == "str" and node.args:
            told = node.args[0]
            return "error" if isinstance(told, ast.Name) and told.id == "error" else speech(told)
        return speech(node.func)
    return None


def looked_into(node):
    """Return the sentences that one node of a tree takes apart or compares with text."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        attribute, owner = node.func.attr, node.func.value
        if isinstance(owner, ast.Name) and owner.id == "re" and attribute in MATCHING:
            return [speech(argument) for argument in node.args]
        whitespace = attribute == "split" and not node.args
        return [speech(owner)] if attribute in PARSING and not whitespace else []
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        if any(isinstance(each, ast.In | ast.NotIn) for each in node.ops):
            return [speech(side) for side in sides]
        if any(isinstance(side, ast.Constant) and isinstance(side.value, str) for side in sides):
            return [speech(side) for side in sides]
    return []


def foreign_lines(tree):
    """Return the lines that handle errors of other libraries, which say what they are in words only."""
    handlers = (node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.type)
    foreign = (handler for handler in handlers if not set(re.findall(r"\w+", ast.unparse(handler.type))) & OURS)
    return {line for handler in foreign for line in range(handler.lineno, handler.end_lineno + 1)}


def violations(source):
    tree = ast.parse(source)
    foreign = foreign_lines(tree)
    found = ((node.lineno, looked_into(node)) for node in ast.walk(tree) if hasattr(node, "lineno"))
    named = ((line, name) for line, names in found for name in filter(None, names))
    return sorted((line, name) for line, name in named if name != "error" or line not in foreign)


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_sentence_is_taken_apart(folder):
    paths = [path for path in sorted((ROOT / folder).rglob("*.py")) if not path.parent.is_symlink()]
    assert paths
    found = {
        str(path.relative_to(ROOT)): lines for path in paths if (lines := violations(path.read_text(encoding="utf-8")))
    }
    assert not found, f"ask the Reading, or pass a value along: {found}"


@pytest.mark.parametrize(
    "source",
    [
        "average.note.partition(':')[0]",
        "term['note'].split(';')",
        "'lower bound' in estimate.note",
        "rung.note.startswith('lower')",
        "estimate.readings[0] == 'estimate'",
        "str(average.reading).replace('a', 'b')",
        "sentence(average.reading).partition(':')",
        "comparison.sentence().removesuffix('.')",
        "try:\n    f()\nexcept NotDefinedError as error:\n    str(error).partition('. ')[0]",
        "re.search('not converged', note)",
        "top.note not in ('', LOWER_BOUND)",
        "reason.replace('Ask for more ', 'Ask for more with --')",
        "conditions(contents, 1).replace('N = ', '')",
    ],
)
def test_looking_into_a_sentence_is_seen(source):
    assert violations(source)


@pytest.mark.parametrize(
    "source",
    [
        "reading.kind == 'lower_bound_not_converged'",
        "' '.join(str(error).split())",
        "name.startswith('bound_')",
        "try:\n    f()\nexcept ValueError as error:\n    'Shape mismatch' in str(error)",
        "not estimate.reading.settled",
        "figures['reading']['kind'] == 'exact'",
    ],
)
def test_asking_the_value_is_allowed(source):
    assert not violations(source)
