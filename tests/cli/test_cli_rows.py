"""``bayes-vae score``, ``encode`` and ``sample``: rows of a file in, files out."""

import csv
import json

import numpy as np
import pytest

import bayes_vae as bv
from bayes_vae.cli import main

pytestmark = pytest.mark.libraries

QUICK = ["--num-particles", "30", "--num-reference", "20"]


def rows_of(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.fixture(scope="session")
def of_a_table(tmp_path_factory, isolated_globals):
    """A run on a standardized table, and the file of new rows of it."""
    folder = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    values = rng.normal([10, -3, 200], [1, 0.1, 50], (240, 3))
    for name, rows in (("train", values[:200]), ("new", values[200:])):
        text = ["a,b,c", *(",".join(f"{value:.6f}" for value in row) for row in rows)]
        (folder / f"{name}.csv").write_text("\n".join(text))
    with isolated_globals():
        words = ["--data", str(folder / "train.csv"), "--standardize", "--likelihood", "normal", "--latent-dim", "2"]
        assert main(["train", *words, "--hidden-dims", "8", "--epochs", "2", "--out", str(folder / "run")]) == 0
    return folder


def test_every_row_of_a_file_is_scored_in_its_order(command, of_a_table, tmp_path):
    out = tmp_path / "scores.csv"
    command_words = [of_a_table / "run", "--data", of_a_table / "new.csv", *QUICK, "--out", out, "--json"]
    result = command("score", *command_words).json
    rows = rows_of(out)
    assert [int(row["index"]) for row in rows] == list(range(40))
    assert (result["num_observations"], result["num_reference"]) == (40, 20)
    for row in rows:
        value, elbo, gap = (float(row[name]) for name in ("log_evidence", "elbo", "inference_gap"))
        assert gap == pytest.approx(value - elbo, abs=1e-9)
        likelihood, kl = float(row["expected_log_likelihood"]), float(row["kl_to_prior"])
        assert elbo == pytest.approx(likelihood - kl, abs=1e-9)
        assert 0 <= float(row["log_evidence_percentile"]) <= 100
    mean = sum(float(row["log_evidence"]) for row in rows) / 40
    assert result["terms"]["log_evidence"]["value"] == pytest.approx(mean)


def test_the_scores_are_those_of_the_library(command, trained, tmp_path):
    result = command("score", trained, *QUICK, "--seed", "2", "--out", tmp_path / "scores.csv", "--json").json
    rows = rows_of(tmp_path / "scores.csv")
    data = bv.load_data("digits", policy="stochastic")
    test = data.test.seeded(2)
    found = bv.score(*bv.load(trained), test, 30, seed=2, reference=data.test[:20].seeded(2))
    assert [float(row["log_evidence"]) for row in rows] == pytest.approx(found.log_evidence.tolist(), rel=1e-9)
    assert [float(row["label"]) for row in rows] == data.test.labels.tolist()
    percentiles = [float(row["log_evidence_percentile"]) for row in rows]
    assert percentiles == pytest.approx(found.ranks["log_evidence"].tolist())
    assert result["lowest"][0]["log_evidence"] == min(found.log_evidence.tolist())


def test_a_person_is_warned_that_likelihood_is_no_outlier_test(command, trained, tmp_path):
    outcome = command("score", trained, *QUICK, "--out", tmp_path / "scores.csv")
    assert "A high log p(x) does not mean that a row belongs to the data" in outcome.out
    assert "Percentiles are among 20 test observations of the run." in outcome.out


def test_without_the_run_s_own_data_there_are_scores_but_no_percentiles(command, of_a_table, tmp_path, monkeypatch):
    hidden = of_a_table / "train.csv"
    moved = hidden.rename(of_a_table / "moved.csv")
    try:
        words = [of_a_table / "run", "--data", of_a_table / "new.csv", *QUICK, "--out", tmp_path / "scores.csv"]
        outcome = command("score", *words)
    finally:
        moved.rename(hidden)
    assert outcome.code == 0
    assert "no percentiles, because the run's own test set is not there" in outcome.err
    assert "log_evidence_percentile" not in rows_of(tmp_path / "scores.csv")[0]


@pytest.mark.parametrize(("rows", "count"), [(None, 300), ("train", 1297), ("all", 1797)])
def test_codes_of_any_split(command, trained, tmp_path, rows, count):
    chosen = [] if rows is None else ["--rows", rows]
    result = command("encode", trained, *chosen, "--out", tmp_path / "codes.npz", "--json").json
    with np.load(tmp_path / "codes.npz", allow_pickle=False) as found:
        assert found["z_mean"].shape == found["z_deviation"].shape == (count, 2)
        assert len(found["label"]) == len(set(found["index"].tolist())) == count
        if rows == "all":
            assert found["index"].tolist() == list(range(count))
            test = bv.load_data("digits").test
            codes = bv.encode(*bv.load(trained), test)
            np.testing.assert_allclose(found["z_mean"][test.index], codes.means["z"], atol=1e-5)
    assert result["arrays"]["z_mean"] == [count, 2]


def test_codes_as_a_table(command, of_a_table, tmp_path):
    assert command("encode", of_a_table / "run", "--out", tmp_path / "codes.csv").code == 0
    assert set(rows_of(tmp_path / "codes.csv")[0]) == {
        *("index", "z_mean_0", "z_mean_1", "z_deviation_0", "z_deviation_1")
    }


def test_draws_of_a_table_are_in_its_units(command, of_a_table, tmp_path):
    command("sample", of_a_table / "run", "--num", "500", "--out", tmp_path / "samples.csv")
    rows = rows_of(tmp_path / "samples.csv")
    assert len(rows) == 500
    means = {name: np.mean([float(row[name]) for row in rows]) for name in "abc"}
    assert abs(means["a"] - 10) < 1
    assert abs(means["b"] + 3) < 0.1
    assert abs(means["c"] - 200) < 50


def test_whole_numbers_are_written_as_such(command, trained, of_a_table, tmp_path):
    command("sample", trained, "--num", "3", "--out", tmp_path / "pixels.csv")
    assert {cell for row in rows_of(tmp_path / "pixels.csv") for cell in row.values()} == {"0", "1"}
    command("sample", of_a_table / "run", "--num", "3", "--out", tmp_path / "reals.csv")
    assert all("." in row["a"] for row in rows_of(tmp_path / "reals.csv"))


@pytest.mark.parametrize("what", ["prior", "reconstructions", "interpolations"])
def test_pictures_and_arrays(command, trained, tmp_path, what):
    words = ["sample", trained, "--what", what, "--num", "3", "--num-steps", "4"]
    for name in ("drawn.png", "drawn.npy"):
        assert command(*words, "--out", tmp_path / name).code == 0
    assert (tmp_path / "drawn.png").read_bytes().startswith(b"\x89PNG")
    array = np.load(tmp_path / "drawn.npy", allow_pickle=False)
    assert array.shape == ((3, 4, 8, 8) if what == "interpolations" else (3, 8, 8))
    if what != "interpolations":
        assert set(np.unique(array)) <= {0.0, 1.0}, "an array holds draws of x"


def test_the_mean_where_it_is_asked_for(command, trained, tmp_path):
    result = command("sample", trained, "--num", "3", "--mean", "--out", tmp_path / "a.npy", "--json").json
    assert result["kind"] == "mean of p(x|z)"
    assert 0 < np.load(tmp_path / "a.npy").min() < np.load(tmp_path / "a.npy").max() < 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["score", "--out", "scores.txt"], "expected a file that ends in .csv"),
        (["encode", "--out", "codes"], "expected a file that ends in .npz or .csv"),
        (["sample", "--out", "a.jpg"], "expected a file that ends in .png or .npy or .csv"),
        (["sample", "--out", "a.png", "--num", "1000"], "a picture shows at most 144 prior"),
        (["sample", "--out", "a.npy", "--what", "reconstructions", "--num", "301"], "has 300: lower --num"),
        (["sample", "--out", "a.npy", "--label", "3"], "this model knows no classes"),
        (
            ["sample", "--out", "a.npy", "--what", "reconstructions", "--label", "3"],
            "label is for draws from the prior",
        ),
        (["score", "--rows", "some", "--out", "a.csv"], "invalid choice: 'some'"),
        (["score", "--num-particles", "1", "--out", "a.csv"], "num_particles must be at least 2"),
        (["score"], "the following arguments are required: --out"),
        (["encode", "--out", "folder.npz"], "is a folder: name a file with --out"),
        (["encode", "--out", "there.npz"], "exists already: choose another --out, or give --overwrite"),
    ],
)
def test_what_cannot_work_is_said_before_the_work(command, trained, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "there.npz").write_bytes(b"mine")
    outcome = command(words[0], trained, *words[1:])
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert (tmp_path / "there.npz").read_bytes() == b"mine"


def test_a_file_is_replaced_where_that_is_asked_for(command, trained, tmp_path):
    out = tmp_path / "codes.csv"
    out.write_text("mine")
    assert command("encode", trained, "--out", out, "--overwrite").code == 0
    assert len(rows_of(out)) == 300


def test_the_report_of_several_runs_is_their_comparison(command, trained, of_a_table, tmp_path):
    with_other_seed = tmp_path / "other"
    words = ["train", "--latent-dim", "2", "--hidden-dims", "4", "--epochs", "1", "--out", with_other_seed]
    assert command(*words).code == 0
    out, few = tmp_path / "comparison.html", ["--num-observations", "8", "--num-particles", "30"]
    result = command("report", trained, with_other_seed, *few, "--num-temperatures", "0", "--out", out, "--json").json
    page = out.read_text(encoding="utf-8")
    assert {row["name"] for row in result["models"]} == {"run", "other"}
    for words in (
        "Differences to the best",
        "pair.hidden_dims",
        "training.epochs",
        "Model probabilities are not shown",
    ):
        assert words in page
    for sentence in result["sentences"][:1]:
        assert sentence.split("±")[0].strip() in page.replace("\N{NO-BREAK SPACE}", " ")
    assert json.dumps([8]) in page
    refused = command("report", trained, with_other_seed, *few)
    assert (refused.code, refused.out) == (2, "")
    assert "name a file with --out FILE.html" in refused.err
    alone = command("report", trained, "--out", out)
    assert "the report of one run goes into its folder" in alone.err
