"""``bayes-vae diagnose``."""

import json

from bayes_vae.runs import RunDirectory


def test_a_run_of_two_epochs_is_undertrained(command, trained):
    outcome = command("diagnose", trained)
    assert outcome.code == 0
    assert "undertraining" in outcome.out
    assert "what to do" in outcome.out
    assert "N = 800 training and 300 test observations of digits, policy stochastic, seed 0." in outcome.out
    file = trained / "diagnosis.json"
    content = json.loads(file.read_text())
    assert "undertraining" in [finding["name"] for finding in content["findings"]]
    assert RunDirectory(trained).path == trained  # the manifest knows the file


def test_the_diagnosis_for_a_program(command, trained):
    result = command("diagnose", trained, "--json", "--seed", "3").json
    assert result["seed"] == 3
    assert result["file"].endswith("diagnosis.json")
    assert set(result) >= {"sentence", "healthy", "findings", "measurements", "not_checked", "data", "run"}


def test_no_such_run_is_one_line(command, tmp_path):
    outcome = command("diagnose", tmp_path / "nothing")
    assert (outcome.code, outcome.out) == (2, "")
    assert "is not a run directory" in outcome.err
