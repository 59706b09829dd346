"""The figures of small fixed pairs are those in `recorded_figures.json`, and what differs is named."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "benchmarks" / "record" / "figures.py"
RECORDED = Path(__file__).with_name("recorded_figures.json")
WHOLE = {"dtype": "float64", "shape": [2], "values": [1.0, -4.0]}
LARGE = {"dtype": "float64", "shape": [400], "values": [1.0, -4.0], "sum": 80.0, "norm": 60.0, "sha256": "a"}


def run(*words):
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800, check=False)


@pytest.fixture(scope="module")
def comparing():
    """The module that compares, which needs the standard library alone."""
    spec = importlib.util.spec_from_file_location("comparing", SCRIPT.with_name("comparing.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_figure_changed():
    """Made by ``python benchmarks/record/figures.py --write tests/recorded_figures.json --only PATTERN ...``.

    The patterns are in the file. Chains and trainings in it run in float64, whose rounding they do not amplify far.
    """
    child = run("--against", RECORDED, "--rounding")
    assert child.returncode == 0, child.stdout + child.stderr


def test_a_changed_figure_fails_a_lost_one_and_a_new_one_too(tmp_path):
    record = json.loads(RECORDED.read_text())
    name = "exact-guide/distributions"
    figures = {key: entry for key, entry in record["figures"].items() if key.startswith(name)}
    figures[f"{name}/prior log_prob"][0] *= 1 + 1e-5
    figures[f"{name}/log_prior"] = figures.pop(f"{name}/sample")
    (tmp_path / "record.json").write_text(json.dumps({**record, "only": [name], "figures": figures}))
    child = run("--against", tmp_path / "record.json", "--rounding")
    assert child.returncode == 1, child.stderr
    lines = [line.split(": ")[0] for line in child.stdout.splitlines()[1:]]
    assert lines == [
        f"lost     {name}/log_prior",
        f"new      {name}/sample",
        f"changed  {name}/prior log_prob",
        f"3 of {len(figures)} figures differ",
    ]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (WHOLE, {**WHOLE, "values": [1.0, -4.0 - 1e-15]}, "differs by 8.88e-16, relatively 2.22e-16"),
        (WHOLE, {**WHOLE, "values": [float("nan"), -4.0]}, "differs by inf, relatively inf"),
        (WHOLE, {**WHOLE, "dtype": "float32"}, "float64 [2] became float32 [2]"),
        (WHOLE, {"refused": "ShapeError"}, "float64 [2] became ShapeError"),
        (LARGE, {**LARGE, "sha256": "b"}, "differs in numbers not shown"),
        (LARGE, {**LARGE, "sum": 92.0}, "differs by 12, relatively 0.01"),
    ],
)
def test_what_is_said_of_a_difference(comparing, old, new, words):
    assert comparing.difference(old, old) == comparing.difference(new, new) == ""
    assert comparing.difference(old, new) == words


def test_rounding_allows_for_little(comparing):
    near, far = ({**WHOLE, "values": [1.0 + apart, -4.0]} for apart in (3e-6, 5e-6))
    assert comparing.difference(WHOLE, near, comparing.ROUNDING["float64"]) == ""
    assert comparing.difference(WHOLE, far, comparing.ROUNDING["float64"]) == "differs by 5e-06, relatively 1.25e-06"
    assert comparing.difference(LARGE, {**LARGE, "sha256": "b"}, comparing.ROUNDING["float64"]) == ""
    figures = {"float32/elbo_terms": WHOLE, "exposed/elbo_terms": WHOLE}
    found = comparing.changes({"figures": figures}, dict.fromkeys(figures, far), rounding=True)
    assert found == ["changed  exposed/elbo_terms: differs by 5e-06, relatively 1.25e-06"]


@pytest.mark.parametrize("kind", ["float64", "float32", "int64", "bool"])
@pytest.mark.parametrize("shape", [[], [0], [2], [2, 1]])
def test_a_record_comes_back_from_its_file(comparing, tmp_path, kind, shape):
    number = {"float64": 0.1, "float32": 0.5, "int64": 3, "bool": True}[kind]
    count = 1 if shape == [] else 0 if shape == [0] else 2
    figures = {
        "a": {"dtype": kind, "shape": shape, "values": [number] * count},
        "b": LARGE,
        "c": {"refused": "ShapeError"},
    }
    comparing.write(tmp_path / "record.json", {"only": ["*"]}, figures)
    assert comparing.load(tmp_path / "record.json") == {"only": ["*"], "figures": figures}
