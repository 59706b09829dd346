"""The list of broken lines fits the code, and a mutant is killed by a failed test alone."""

import pytest
from mutant_workers import ERROR, KILLED, LATE, SURVIVED, Worker
from mutants import Mutant, check, listed_mutants, verdict
from random_mutants import TESTS, nodes, random_mutants

SOURCE = "def twice(x):\n    return x + x\n\n\ndef wait():\n    return 0\n"
TEST = """
import time
import pytest
from code_to_break import twice, wait

@pytest.fixture
def four():
    return twice(1) / (twice(2) - 2)

def test_twice():
    assert twice(3) == 6

def test_nothing():
    twice(3)

def test_with_fixture(four):
    pass

def test_wait():
    time.sleep(wait())
"""


def test_every_entry_fits_the_code():
    mutants = listed_mutants()
    assert len(mutants) > 300
    assert check(mutants) == []


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A project of one module and its tests."""
    root = tmp_path_factory.mktemp("project")
    (root / "tests").mkdir()
    (root / "code_to_break.py").write_text(SOURCE)
    (root / "tests" / "test_code.py").write_text(TEST)
    (root / "setup.cfg").write_text("[tool:pytest]\naddopts = --import-mode=importlib\n")
    return root


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"file": "other.py"}, "no such file"),
        ({"line": "x * x"}, "occurs 0 times"),
        ({"line": "return"}, "occurs 2 times"),
        ({"line": "return", "occurrence": 3}, "occurs 2 times"),
        ({"broken": "x + x"}, "broken to itself"),
        ({"broken": "x +"}, "does not parse"),
        ({"test": "test_other.py::test_twice"}, "no file tests/test_other.py"),
        ({"test": "test_code.py::test_thrice"}, "no test 'test_thrice'"),
        ({"test": ("test_code.py::test_twice", "test_code.py")}, "no test ''"),
    ],
)
def test_what_is_wrong_with_an_entry(tree, changes, problem):
    entry = {"file": "code_to_break.py", "line": "x + x", "broken": "x * x", "test": "test_code.py::test_twice"}
    found = check([Mutant(**entry | changes)], tree)
    assert [problem in sentence for sentence in found] == [True] * (problem is not None)


def test_an_entry_that_stands_twice(tree):
    mutant = Mutant("code_to_break.py", "x + x", "x * x", "test_code.py::test_twice")
    assert "stands twice" in check([mutant, mutant], tree)[0]


def test_only_a_failed_test_kills(tree, tmp_path):
    worker = Worker(tmp_path, tree)

    def ending(line, broken, test, **options):
        return verdict(worker, Mutant("code_to_break.py", line, broken, f"test_code.py::{test}", **options)).word

    try:
        assert worker.run(["test_code.py"]).word == SURVIVED
        assert ending("x + x", "x * x", "test_twice") == KILLED
        assert ending("x + x", "x * x", "test_nothing") == SURVIVED
        assert ending("x + x", "2", "test_with_fixture") == ERROR
        assert ending("def twice", "def thrice", "test_twice") == ERROR
        assert ending("return 0", "return 60", "test_wait", limit=2.0) == LATE
        assert ending("return 0", "return 60", "test_wait", limit=2.0, timeout="kills") == KILLED
        assert worker.run(["test_code.py"]).word == SURVIVED
        assert (worker.tree / "code_to_break.py").read_text() == SOURCE
    finally:
        worker.close()


def test_random_mutants_are_in_the_rooms_and_parse():
    mutants = random_mutants(60, seed=1)
    assert len(set(mutants)) == 60
    assert {mutant.file.split("/")[1] for mutant in mutants} <= TESTS.keys()
    assert [problem for problem in check(mutants) if "no test ''" not in problem and "no file" not in problem] == []
    assert random_mutants(60, seed=1) == mutants
    assert random_mutants(60, seed=2) != mutants


def test_messages_annotations_and_defaults_are_left_alone():
    source = 'def f(x: int = 3) -> "1":\n    y: int = 2\n    raise ValueError(f"{x + 1}", 4)\n'
    assert [node.value for node in nodes(source)] == [2]


def test_places_that_can_be_broken():
    source = "a = b + 1.5 if not c and d < e else f\n"
    kinds = sorted(type(node).__name__ for node in nodes(source))
    assert kinds == ["BinOp", "BoolOp", "Compare", "Constant", "IfExp", "UnaryOp"]
