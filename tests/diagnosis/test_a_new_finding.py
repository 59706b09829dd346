"""A finding is a function and a row of one table: a toy goes through diagnose, the command's JSON and the report.

And the page of the documentation has every row of that table.
"""

import json
import re
from pathlib import Path

import pytest

import bayes_vae as bv
from bayes_vae.cli import main
from bayes_vae.diagnosis.findings import table
from bayes_vae.diagnosis.findings.kind import Case, warning
from bayes_vae.diagnosis.measure import groups
from bayes_vae.diagnosis.measure.groups import GROUPS, Group
from bayes_vae.diagnosis.measure.measurement import Measurement
from bayes_vae.runs import RunDirectory
from bayes_vae.settings import PairSettings
from bayes_vae.training import build_pair

PAGE = Path(__file__).resolve().parents[2] / "docs" / "diagnosis.md"

FEW = ["--num-observations", "6", "--num-particles", "20", "--num-temperatures", "0", "--num-encoded", "12"]
FEW += ["--num-gap-observations", "0", "--num-simulated", "0", "--num-diagnosed", "40"]


def measure_parameters(subject):
    """How many parameters there are."""
    return {"num_parameters": Measurement(sum(weight.numel() for weight in subject.weights.values()), unit="")}


@warning(
    "many-parameters",
    needs=("num_parameters",),
    why="A toy has few of them.",
    advice="Take fewer hidden units.",
    explains=("undertraining",),
)
def many_parameters(seen):
    yield Case(
        f"There are {seen.value('num_parameters'):,.0f} parameters.",
        [seen.above("num_parameters", 100)],
        ("train_elbo",),
    )


@pytest.fixture
def with_toy(monkeypatch):
    """The toy in its two tables, and nothing measured that takes long."""
    measured = [group for group in GROUPS if {"train_kl_to_prior", "gain_of_training"} & set(group.gives)]
    monkeypatch.setattr(groups, "GROUPS", (*measured, Group("size", ("num_parameters",), measure_parameters)))
    monkeypatch.setattr(table, "KINDS", (many_parameters, *table.KINDS))


@pytest.mark.usefixtures("with_toy")
def test_a_toy_goes_all_the_way(isolated_globals, tmp_path, capsys):
    data, path = bv.load_data("digits"), tmp_path / "run"
    with isolated_globals(seed=0):
        run = bv.fit(*build_pair(PairSettings(2, (8,)), data), data, epochs=1, out=path, progress="none")
    diagnosis = bv.diagnose(run.model, run.guide, data, num_observations=40, seconds=float("inf"))
    first, second = diagnosis.findings[:2]
    assert str(first) == "many-parameters (warning, clear): There are 1,156 parameters."
    assert [number.name for number in first.measurements] == ["num_parameters", "train_elbo"]
    assert first.measurements[0].threshold == 100
    assert (second.name, second.because) == ("undertraining", "many-parameters")
    assert "overfitting" in dict(diagnosis.not_checked)

    assert main(["diagnose", str(path), "--num-observations", "40", "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["findings"] == diagnosis.to_json()["findings"]
    assert content["measurements"]["num_parameters"] == {"value": 1156, "error": 0.0, "unit": ""}

    with isolated_globals():
        assert main(["report", str(path), *FEW]) == 0
    page = RunDirectory(path).read_file("report.html").decode()
    for words in ("many-parameters", first.summary, "num parameters 1.16e+03 (threshold 100)", first.why, first.advice):
        assert words in page


def test_the_page_has_every_finding_with_its_severity():
    rows = re.findall(r"^\| (`.*?) \| (\w+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    on_page = {(name, severity) for names, severity in rows for name in re.findall(r"`([\w-]+)`", names)}
    assert on_page == {(kind.name, kind.severity) for kind in table.KINDS}
