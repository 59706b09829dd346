"""A table with empty cells from the command line: trained, evaluated, diagnosed, reported, by groups of columns too."""

import numpy as np
import pytest

from bayes_vae.cli import main

RANDOM = np.random.default_rng(0)
TINY = ["--latent-dim", "2", "--hidden-dims", "4", "--epochs", "1", "--batch-size", "50"]
GROUPS = ["body=normal:height+weight", "smoker=bernoulli:smoker", "visits=poisson:*"]
SAID = "% of the numbers missing (at random, assumed)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, isolated_globals):
    """A table with a fifth of its cells empty, and a run on it."""
    folder = tmp_path_factory.mktemp("people")
    z = RANDOM.normal(size=120)
    columns = (170 + 9 * z, 70 + 8 * z, RANDOM.random(120) < 0.4, RANDOM.poisson(2.0, 120))
    rows = np.stack([np.asarray(column, float) for column in columns], 1)
    gaps = RANDOM.random(rows.shape) < 0.2
    gaps[:, 0] &= ~gaps.all(1)
    cells = [
        ["" if gap else f"{cell:g}" for cell, gap in zip(*one, strict=True)] for one in zip(rows, gaps, strict=True)
    ]
    lines = [",".join(row) for row in cells]
    (folder / "people.csv").write_text("height,weight,smoker,visits\n" + "\n".join(lines))
    scaled = ["--kind", "real", "--standardize-columns", "height", "weight"]
    chosen = ["--likelihood", "columns", "--groups", *GROUPS, "--noise", "shared", "--noise-scale", "0.5"]
    words = ["train", "--data", str(folder / "people.csv"), *scaled, *chosen, *TINY, "--out", str(folder / "run")]
    with isolated_globals():
        assert main(words) == 0
    return folder


def test_evaluate_says_what_is_missing_and_gives_nats_by_group(command, folder):
    quick = ["--num-particles", "4", "--num-temperatures", "0", "--num-draws", "0"]
    outcome = command("evaluate", folder / "run", *quick)
    assert outcome.code == 0
    assert SAID in outcome.out
    assert "E_q log p(smoker|z)" in outcome.out
    assert "the mean over test rows by what was observed" in outcome.err
    found = command("evaluate", folder / "run", *quick, "--json").json
    assert set(found["groups"]) == {"body", "smoker", "visits"}
    total = sum(group["value"] for group in found["groups"].values())
    assert total == pytest.approx(found["terms"]["expected_log_likelihood"]["value"], abs=1e-4)
    assert 0.1 < found["terms"]["elbo"]["missing_share"] < 0.3
    assert found["bits_per_dimension"] is None


def test_diagnose_says_what_is_missing(command, folder):
    outcome = command("diagnose", folder / "run", "--seconds", "1")
    assert outcome.code in (0, 1, 3)  # nothing wrong, something, not all looked at
    assert SAID in outcome.out
    assert "Traceback" not in outcome.err


def test_groups_that_cannot_be_are_one_line(command, folder):
    words = ["train", "--data", folder / "people.csv", "--kind", "real", "--likelihood", "columns", *TINY]
    outcome = command(*words, "--groups", "a=normal:age", "--out", folder / "other")
    assert (outcome.code, outcome.out) == (2, "")
    assert "there is no column 'age': the columns are height, weight, smoker, visits" in outcome.err
    assert not (folder / "other").exists()
