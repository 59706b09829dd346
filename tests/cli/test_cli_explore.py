"""``bayes-vae explore``."""

import json
import re

import pytest

FEW = ["--num-images", "4", "--num-codes", "6", "--num-particles", "40", "--num-points", "41"]


def content_of(path):
    page = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="content">(.*?)</script>', page)[1])


def test_the_page_is_written_into_the_run(command, trained):
    outcome = command("explore", trained, *FEW)
    assert outcome.code == 0
    assert f"Written to {trained / 'explore.html'}" in outcome.out
    run = content_of(trained / "explore.html")["runs"][0]
    assert run["name"] == trained.name
    assert run["latent_dim"] == 2
    assert len(run["images"]["index"]) == 4
    assert run["notes"] == []


def test_the_page_of_two_runs_goes_to_a_file(command, trained, tmp_path):
    heavier = ["--latent-dim", "2", "--hidden-dims", "8", "--epochs", "1", "--kl-weight", "4"]
    assert command("train", *heavier, "--out", tmp_path / "heavier").code == 0
    file = tmp_path / "both.html"
    result = command("explore", trained, tmp_path / "heavier", *FEW, "--out", file, "--json").json
    assert file.stat().st_size == result["bytes"]
    varied = {each["name"]: each["values"] for each in content_of(file)["varied"]}
    assert varied["training.kl_weight"] == ["1.0", "4.0"]


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("there.html", "exists: choose another name, or add --overwrite"),
        ("folder", "is a folder; expected the name of a file"),
        ("no/such/page.html", "there is no folder"),
    ],
)
def test_an_output_that_cannot_be_is_refused(command, trained, tmp_path, out, words):
    (tmp_path / "folder").mkdir()
    (tmp_path / "there.html").write_text("mine")
    outcome = command("explore", trained, *FEW, "--out", tmp_path / out)
    assert (outcome.code, outcome.out) == (2, "")
    assert words in outcome.err
    assert (tmp_path / "there.html").read_text() == "mine"
    assert command("explore", trained, *FEW, "--out", tmp_path / "there.html", "--overwrite").code == 0


def test_what_the_page_cannot_show_is_named(command, tmp_path):
    run = tmp_path / "run"
    command("train", "--latent-dim", "1", "--hidden-dims", "4", "--epochs", "1", "--out", run)
    outcome = command("explore", run, *FEW)
    assert (outcome.code, outcome.out) == (2, "")
    assert "run cannot be shown: the page shows planes, and z of this run has one number" in outcome.err
    outcome = command("explore", tmp_path / "nothing")
    assert outcome.code == 2
    assert "is not a run directory" in outcome.err
