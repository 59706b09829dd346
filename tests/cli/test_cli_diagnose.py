"""``bayes-vae diagnose``."""

import json

from bayes_vae.runs import RunDirectory


def test_a_run_of_two_epochs_is_undertrained(command, trained):
    outcome = command("diagnose", trained)
    assert outcome.code == 1
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
    assert result["healthy"] is False
    assert result["file"].endswith("diagnosis.json")
    assert set(result) >= {"sentence", "healthy", "findings", "measurements", "not_checked", "data", "run"}


def test_checks_are_repeated_and_what_was_left_out_is_said(command, trained):
    outcome = command("diagnose", trained, "--checks", "elbo", "codes", "--json")
    assert outcome.code == 3
    assert outcome.json["checks"] == ["elbo", "codes"]
    assert outcome.json["healthy"] is None
    assert "checks could be made on this pair" in outcome.json["sentence"]
    assert "the check balance was not asked for." in {check["reason"] for check in outcome.json["not_checked"]}
    wrong = command("diagnose", trained, "--checks", "speed")
    assert wrong.code == 2
    assert "there is no check 'speed': choose among splits, elbo" in wrong.err
    assert command("diagnose", trained, "--seconds", "0").code == 2


def test_against_another_run(command, trained):
    outcome = command("diagnose", trained, "--against", trained, "--checks", "elbo", "training", "--json")
    assert outcome.code == 1
    assert outcome.json["against"]["stayed"] == ["undertraining"]
    assert outcome.json["against"]["gone"] == outcome.json["against"]["came"] == []
    before, after = outcome.json["against"]["numbers"]["gain_of_training"]
    assert before == after > 0.6


def test_no_such_run_is_one_line(command, tmp_path):
    outcome = command("diagnose", tmp_path / "nothing")
    assert (outcome.code, outcome.out) == (2, "")
    assert "is not a run directory" in outcome.err
