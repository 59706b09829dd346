"""Files and folders of people's own: what is trained on, what is asked, and what a file given for evaluation is."""

import numpy as np
import pytest
from PIL import Image

import bayes_vae as bv
from bayes_vae.cli import main
from bayes_vae.runs import RunDirectory

TINY = ["--latent-dim", "2", "--hidden-dims", "4", "--epochs", "1", "--likelihood", "normal"]
QUICK = ["--num-particles", "4", "--num-temperatures", "0", "--num-draws", "0", "--json"]
RANDOM = np.random.default_rng(0)
TABLE = RANDOM.normal(size=(120, 3)) * [300.0, 1.0, 0.1] + [750.0, 0.0, 1.0]


def write(path, rows):
    np.savetxt(path, rows, delimiter=",", header="proline,hue,ash", comments="")
    return path


@pytest.fixture(scope="module")
def wines(tmp_path_factory, isolated_globals):
    """A run on a standardized table, beside its file."""
    folder = tmp_path_factory.mktemp("wines")
    write(folder / "wines.csv", TABLE)
    with isolated_globals():
        words = ["train", "--data", str(folder / "wines.csv"), "--standardize", *TINY, "--out", str(folder / "run")]
        assert main(words) == 0
    return folder


@pytest.mark.usefixtures("isolated_globals")
def test_a_scaled_table_is_asked_about_with_both_commands(command, tmp_path):
    np.save(tmp_path / "scaled.npy", RANDOM.random((60, 5)))
    outcome = command("train", "--data", tmp_path / "scaled.npy", "--out", tmp_path / "run")
    assert (outcome.code, outcome.out) == (2, "")
    assert "--kind real --likelihood normal" in outcome.err
    assert "--kind gray" in outcome.err
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "run").exists()


def test_a_density_settles_what_the_numbers_are(command, tmp_path):
    np.save(tmp_path / "scaled.npy", RANDOM.random((60, 5)))
    outcome = command("train", "--data", tmp_path / "scaled.npy", *TINY, "--out", tmp_path / "run", "--json")
    assert outcome.code == 0
    assert outcome.json["data"]["policy"] == "none"


def test_columns_far_from_deviation_1_are_named_before_training(command, tmp_path):
    outcome = command("train", "--data", write(tmp_path / "w.csv", TABLE), *TINY, "--out", tmp_path / "run")
    assert outcome.code == 0
    assert "note: columns far from mean 0 and deviation 1: proline (mean " in outcome.err
    assert "--standardize" in outcome.err


def test_a_standardized_table_is_stored_with_its_scales(wines):
    data = RunDirectory(wines / "run").config["data"]
    assert data["columns"] == ["proline", "hue", "ash"]
    rows = TABLE[bv.load_data(TABLE).train.index]
    assert data["standardization"]["mean"] == pytest.approx(rows.mean(0), rel=1e-5)
    assert data["standardization"]["scale"] == pytest.approx(rows.std(0), rel=1e-5)


def test_the_runs_own_table_is_split_and_scaled_as_in_training(command, wines, tmp_path):
    """Also where its file has moved."""
    moved = write(tmp_path / "moved.csv", TABLE)
    for words in ([], ["--data", moved]):
        outcome = command("evaluate", wines / "run", *QUICK, *words)
        assert outcome.code == 0
        assert outcome.err.startswith("note: x is standardized: add -")
        assert outcome.err.count("note:") == 1
        assert outcome.json["terms"]["elbo"]["num_observations"] == 20


def test_a_file_given_for_evaluation_is_not_split(command, wines, tmp_path):
    new = write(tmp_path / "new.csv", TABLE[:40] + 1e-3)
    whole = command("evaluate", wines / "run", "--data", new, *QUICK)
    assert whole.code == 0
    assert whole.json["terms"]["elbo"]["num_observations"] == 40
    shares = command("evaluate", wines / "run", "--data", new, "--split", "0.5", "0.25", "0.25", *QUICK)
    assert shares.json["terms"]["elbo"]["num_observations"] == 10
    one = write(tmp_path / "one.csv", TABLE[:1])
    assert command("evaluate", wines / "run", "--data", one, *QUICK).json["terms"]["elbo"]["num_observations"] == 1


def test_new_rows_are_scaled_by_the_trainings_scales(command, wines, tmp_path):
    """Rows a deviation away from the training's have a lower evidence; by their own scales it would be the same."""
    figures = [
        command(
            "evaluate",
            wines / "run",
            "--data",
            write(tmp_path / f"{by}.csv", TABLE[:40] + np.array([by, 0, 0])),
            *QUICK,
        )
        for by in (1e-3, 3000.0)
    ]
    near, far = (figure.json["terms"]["elbo"]["value"] for figure in figures)
    assert far < near - 100


def test_what_cannot_be_split_or_has_other_columns(command, wines, tmp_path):
    outcome = command("evaluate", wines / "run", "--split", "0.5", "0.25", "0.25")
    assert (outcome.code, outcome.out) == (2, "")
    assert "--split goes with --data FILE" in outcome.err
    np.savetxt(tmp_path / "other.csv", TABLE[:40], delimiter=",", header="hue,proline,ash", comments="")
    outcome = command("evaluate", wines / "run", "--data", tmp_path / "other.csv")
    assert outcome.code == 2
    np.save(tmp_path / "wide.npy", np.zeros((40, 5)))
    wide = command("evaluate", wines / "run", "--data", tmp_path / "wide.npy")
    assert wide.code == 2
    assert (
        "observations have the shape (5,), but mean and deviation were taken of observations of shape (3,)" in wide.err
    )
    assert "the columns of other.csv are hue, proline, ash, but the run was trained on proline, hue, ash" in outcome.err


def test_files_for_training_and_for_the_test_are_an_own_split(command, tmp_path):
    first, second = write(tmp_path / "a.csv", TABLE[:80]), write(tmp_path / "b.csv", TABLE[80:])
    words = ["--data", first, "--test-data", second, "--standardize", *TINY, "--out", tmp_path / "run", "--json"]
    data = command("train", *words).json["data"]
    assert (data["sizes"], data["split_by"]) == ({"train": 72, "validation": 8, "test": 40}, "caller")
    result = command("diagnose", tmp_path / "run", "--json").json
    assert result["split_by"] == "caller"
    assert command("evaluate", tmp_path / "run", *QUICK).json["terms"]["elbo"]["num_observations"] == 40


def test_a_folder_keeps_its_colours_or_asks(command, tmp_path):
    (tmp_path / "pictures").mkdir()
    for number in range(12):
        Image.fromarray(RANDOM.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(
            tmp_path / "pictures" / f"{number}.png"
        )
    outcome = command("train", "--data", tmp_path / "pictures", "--out", tmp_path / "asked")
    assert outcome.code == 2
    assert "colour images of shape (3, 4, 4)" in outcome.err
    assert "--policy none --likelihood" in outcome.err
    outcome = command("train", "--data", tmp_path / "pictures", *TINY, "--out", tmp_path / "run", "--json")
    assert outcome.code == 0
    assert (outcome.json["data"]["data_shape"], outcome.json["data"]["policy"]) == ([3, 4, 4], "none")
