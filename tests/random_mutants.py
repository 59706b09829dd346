"""Mutants at random places: an operator, a comparison, a constant or a condition changed, for :mod:`mutants`."""

import ast
import random
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from mutant_workers import ROOT
from mutants import Mutant

TESTS = {
    "terms": ("terms", "estimators/test_invariance.py", "test_reference.py"),
    "estimators": ("estimators",),
    "objectives": ("objectives",),
    "distributions": (
        "distributions",
        "models/test_likelihood_numerics.py",
        "models/test_likelihoods.py",
        "models/test_priors.py",
        "guides/test_guide_table.py",
        "estimators/test_aggregate_posterior.py",
    ),
    "training": ("training",),
}
"""Room of the package → the tests that run against a mutant in it: its own, and those of the rooms that use it most."""

TIME_LIMIT = 1800.0

ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


def random_mutants(count: int, seed: int, root: Path = ROOT) -> list[Mutant]:
    """So many of the mutants of these rooms, each place as likely as another."""
    files = [path for room in TESTS for path in sorted((root / "bayes_vae" / room).rglob("*.py"))]
    places = [(path, place) for path in files for place in range(len(list(nodes(path.read_text("utf-8")))))]
    drawn = random.Random(seed)
    chosen = drawn.sample(places, min(count, len(places)))
    return [mutant_at(path, place, files_for(path, root), drawn, root) for path, place in sorted(chosen)]


@cache
def files_for(path: Path, root: Path) -> tuple[str, ...]:
    """The test files that run against a module, those first that speak of it most."""
    places = [root / "tests" / place for place in TESTS[path.relative_to(root / "bayes_vae").parts[0]]]
    files = [file for place in places for file in (sorted(place.glob("test_*.py")) if place.is_dir() else [place])]
    public = re.search(r"__all__ = (\[.*?\])", path.read_text("utf-8"), re.DOTALL)
    names = [path.stem, *(ast.literal_eval(public[1]) if public else [])]
    mentions = {file: sum(file.read_text("utf-8").count(name) for name in names) for file in files}
    return tuple(
        file.relative_to(root / "tests").as_posix() for file in sorted(files, key=lambda file: -mentions[file])
    )


def nodes(source: str) -> Iterator[ast.expr]:
    """What of a module can be broken; not annotations, nor anything that only makes a message, a name or a default."""
    tree = ast.parse(source)
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        unread = [getattr(node, name, None) for name in ("annotation", "returns")]
        if isinstance(node, ast.FunctionDef):
            unread += [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults]
        if isinstance(node, ast.ClassDef):
            unread += [*node.decorator_list, *node.bases, *node.keywords]
        if isinstance(node, ast.JoinedStr | ast.Raise):
            unread.append(node)
        skipped |= {part for one in unread if one is not None for part in ast.walk(one)}
    for node in ast.walk(tree):
        if isinstance(node, ast.expr) and node not in skipped and _can_break(node):
            yield node


def _can_break(node: ast.expr) -> bool:
    match node:
        case ast.BinOp(op=operator, left=left, right=right):
            text = any(
                isinstance(side, ast.Constant | ast.JoinedStr) and not _is_number(side) for side in (left, right)
            )
            return type(operator) in ARITHMETIC and not text
        case ast.Compare(ops=[operator]):
            return type(operator) in COMPARISONS
        case ast.UnaryOp(op=ast.Not()) | ast.BoolOp() | ast.IfExp():
            return True
    return _is_number(node)


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def mutant_at(path: Path, place: int, tests: tuple[str, ...], drawn: random.Random, root: Path = ROOT) -> Mutant:
    """The mutant at one place of a file."""
    source = path.read_text("utf-8")
    node = list(nodes(source))[place]
    lines = source.encode().splitlines(keepends=True)
    starts = [sum(map(len, lines[: number - 1])) + column for number, column in
              ((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset))]  # fmt: skip
    start, end = (len(source.encode()[:at].decode()) for at in starts)
    # the whole lines around it, so that the text can be found and read
    first, last = source.rfind("\n", 0, start) + 1, source.find("\n", end)
    line = source[first:last]
    broken = source[first:start] + _broken(node, drawn) + source[end:last]
    file = path.relative_to(root).as_posix()
    return Mutant(file, line, broken, tests, source.count(line, 0, first + len(line)), limit=TIME_LIMIT)


def _broken(node: ast.expr, drawn: random.Random) -> str:
    """The source of a changed node."""
    match node:
        case ast.BinOp():
            node.op = ARITHMETIC[type(node.op)]()
        case ast.Compare():
            node.ops = [COMPARISONS[type(node.ops[0])]()]
        case ast.BoolOp():
            node.op = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
        case ast.UnaryOp():
            node = node.operand
        case ast.IfExp():
            node.body, node.orelse = node.orelse, node.body
        case ast.Constant():
            node.value = drawn.choice([node.value + 1, node.value - 1, 2 * node.value or 2])
    return f"({ast.unparse(node)})"
