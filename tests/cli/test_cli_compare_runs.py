"""``bayes-vae compare`` with several runs: the table, its files, and what is refused."""

import csv
import json
import shutil
from functools import partial

import pytest
from matplotlib.image import imread

import bayes_vae as bv
from bayes_vae.cli import comparing_runs, main

pytestmark = pytest.mark.libraries

FEW = ["--num-observations", "12", "--num-particles", "30", "--num-temperatures", "0", "--num-curve-observations", "0"]


@pytest.fixture(scope="session")
def several(tmp_path_factory, isolated_globals):
    """Runs on the digits: of one hidden unit with seeds 0 and 1, and of eight with seed 0."""
    folder = tmp_path_factory.mktemp("several")
    found = {}
    with isolated_globals():
        for name, width, seed in (("w1-s0", 1, 0), ("w1-s1", 1, 1), ("w8-s0", 8, 0)):
            words = ["--latent-dim", "2", "--hidden-dims", str(width), "--epochs", "3", "--seed", str(seed)]
            found[name] = folder / name
            assert main(["train", *words, "--out", str(found[name])]) == 0
    return found


def test_the_table_is_that_of_the_library_with_the_seeds_as_one_row(command, several):
    result = command("compare", *several.values(), *FEW, "--seed", "3", "--json").json
    found = bv.compare_runs(
        list(several.values()), num_observations=12, num_particles=30, num_temperatures=0, seed=3
    ).as_json()
    assert [row["name"] for row in result["models"]] == [row["name"] for row in found["models"]]
    for mine, its in zip(result["models"], found["models"], strict=True):
        assert mine["log_evidence"] == pytest.approx(its["log_evidence"], rel=1e-6)
        assert mine["difference"] == pytest.approx(its["difference"], rel=1e-6)
    assert {row["name"]: len(row["seeds"]) for row in result["models"]} == {"w8-s0": 0, "w1": 2}
    assert (result["num_observations"], result["data_policy"], result["seed"]) == (12, "stochastic", 3)


def test_a_person_reads_two_tables_and_sentences(command, several):
    outcome = command("compare", *several.values(), *FEW)
    assert outcome.code == 0
    for words in (
        "spread between seeds",
        "difference to ",
        "Model probabilities are not shown",
        "w8-s0 has one seed",
        "N = 12 test observations of digits · data policy: stochastic · KL weight 1 · seed 0.",
        "Nothing was written: --out FOLDER",
    ):
        assert words in outcome.out


def test_one_seed_each_is_of_these_trainings(command, several):
    outcome = command("compare", several["w1-s0"], several["w8-s0"], *FEW)
    assert "The comparison is of these trainings, not of their designs" in outcome.out
    assert "spread between seeds" not in outcome.out


def test_flags_may_stand_between_the_runs(command, several):
    outcome = command("compare", several["w1-s0"], *FEW, several["w8-s0"], "--json")
    assert {row["name"] for row in outcome.json["models"]} == {"w1-s0", "w8-s0"}


def test_the_files_hold_what_was_printed_and_are_not_replaced_unasked(command, several, tmp_path):
    words = ["compare", several["w1-s0"], several["w8-s0"], *FEW, "--out", tmp_path / "out"]
    result = command(*words, "--json").json
    assert json.loads((tmp_path / "out" / "comparison.json").read_text()) == result
    assert (tmp_path / "out" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    models = rows_of(tmp_path / "out" / "comparison.csv")
    assert [row["name"] for row in models] == [row["name"] for row in result["models"]]
    assert float(models[1]["difference"]) == result["models"][1]["difference"]
    rows = rows_of(tmp_path / "out" / "observations.csv")
    assert len(rows) == 12
    assert int(rows[0]["index"]) == int(bv.load_data("digits").test.index[0])
    best = result["models"][0]
    assert sum(float(row[best["name"]]) for row in rows) / 12 == pytest.approx(best["log_evidence"])
    refused = command(*words)
    assert (refused.code, refused.out) == (2, "")
    assert "exists already: choose another --out, or give --overwrite" in refused.err
    assert command(*words, "--overwrite").code == 0


def test_the_figure_and_the_json_have_the_rate_distortion_curves(command, several, tmp_path, monkeypatch):
    """Of the first seed of each design; the figure is higher by them."""
    short = partial(comparing_runs.RateDistortionSettings, num_temperatures=6)
    monkeypatch.setattr(comparing_runs, "RateDistortionSettings", short)
    words = ["compare", *several.values(), *FEW, "--num-curve-observations", "3", "--seed", "2"]
    found = command(*words, "--out", tmp_path / "with", "--json").json["rate_distortion"]
    assert {each["name"]: each["run"] for each in found["runs"]} == {
        "w1": str(several["w1-s0"]),
        "w8-s0": str(several["w8-s0"]),
    }
    assert found["num_observations"] == 3
    x = bv.load_data("digits", policy="stochastic").test[:3].seeded(2)
    alone = bv.rate_distortion(*bv.load(several["w8-s0"]), x, num_temperatures=6, seed=2).curve()[-1]
    curve = next(each["curve"] for each in found["runs"] if each["name"] == "w8-s0")
    assert curve[-1]["rate"]["value"] == pytest.approx(alone.rate.value, rel=1e-4)
    assert command(*words, "--num-curve-observations", "0", "--out", tmp_path / "without", "--json").code == 0
    heights = [imread(tmp_path / name / "comparison.png").shape[0] for name in ("with", "without")]
    assert heights[0] > heights[1] + 400


def rows_of(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--rungs", "1", "5"],
            "rungs is a setting of the ladder of one run, but the number of runs is 2",
        ),
        (["--tolerance", "0.1"], "tolerance is a setting of the ladder of one run"),
        (["--policy", "threshold"], "was trained with the data policy 'stochastic', and these observations have"),
        (["--out", "FILE"], "is a file, so no folder can be made below it"),
    ],
)
def test_what_cannot_work_is_one_line(command, several, tmp_path, words, message):
    (tmp_path / "file").write_text("mine")
    words = [str(tmp_path / "file" / "folder") if word == "FILE" else word for word in words]
    outcome = command("compare", several["w1-s0"], several["w8-s0"], *FEW[:2], *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err


def test_settings_of_several_runs_are_refused_for_one(command, several, tmp_path):
    for words in (["--num-particles", "30"], ["--num-curve-observations", "0"], ["--out", str(tmp_path)]):
        outcome = command("compare", several["w1-s0"], *words)
        assert outcome.code == 2
        assert "several runs" in outcome.err


def test_runs_that_cannot_be_compared_are_one_line(command, several, tmp_path):
    again = shutil.copytree(several["w1-s0"], tmp_path / "again")
    for runs, message in (
        ([several["w1-s0"], several["w1-s0"]], "is named twice"),
        ([several["w1-s0"], again], "have the same settings and the same seed"),
        ([several["w1-s0"], several["w1-s1"]], "differ only in their seed"),
        ([several["w1-s0"], tmp_path / "none"], "is not a run directory: there is no such folder"),
    ):
        outcome = command("compare", *runs, *FEW)
        assert (outcome.code, outcome.out) == (2, "")
        assert message in outcome.err
