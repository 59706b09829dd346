"""Sweeps: the grid, its folders, what is skipped and resumed, interruptions, and the comparison at the end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bayes_vae.cli import train
from bayes_vae.cli.grid import cells_of, varied_settings
from bayes_vae.errors import NumericalError, SettingsError, Terminated
from bayes_vae.runs import RunDirectory

SHORT = ["--hidden-dims", "4", "--epochs", "1", "--batch-size", "500"]
FEW = ["--num-observations", "3"]
GRID = ["--vary", "latent_dim=2,3", "--vary", "seed=0,1", "--out", "runs/d{latent_dim}-s{seed}"]
FOLDERS = ["runs/d2-s0", "runs/d2-s1", "runs/d3-s0", "runs/d3-s1"]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def calls(monkeypatch):
    """The words of each training; nothing is trained."""
    found = []
    monkeypatch.setattr(train, "run", lambda words: found.append(list(words)))
    return found


def test_a_grid_is_trained_compared_and_skipped(command):
    words = ["sweep", *GRID, *SHORT, *FEW]
    first = command(*words, "--json")
    assert first.code == 0
    assert [(each["run"], each["state"]) for each in first.json["runs"]] == [(each, "trained") for each in FOLDERS]
    assert {row["name"] for row in first.json["comparison"]["models"]} == {"d2", "d3"}
    settings = RunDirectory("runs/d3-s1").settings
    assert (settings["pair"]["latent_dim"], settings["pair"]["hidden_dims"]) == (3, [4])
    assert settings["training"]["seed"] == 1
    assert RunDirectory("runs/d3-s1").config["command"].startswith("bayes-vae train --hidden-dims 4")
    again = command(*words)
    assert again.code == 0
    assert again.out.count("skipped") == 4
    assert "4 trainings, 4 of them done already" in again.err
    assert "Next: bayes-vae compare runs/d2-s0 runs/d2-s1" in again.out


def test_each_training_is_called_as_train_would_be(command, calls):
    words = ["--no-compare", "--learning-rate=1e-3", "--hidden-dims", "64", "64"]
    assert command("sweep", *GRID, *words).code == 0
    shared = ["--learning-rate=1e-3", "--hidden-dims", "64", "64"]
    assert calls[1] == [*shared, "--latent-dim=2", "--seed=1", "--out", "runs/d2-s1"]
    assert len(calls) == 4


def test_a_file_of_lists_gives_the_grid_too(command, calls, tmp_path):
    file = tmp_path / "grid.yaml"
    file.write_text("latent_dim: [2, 4]\nhidden_dims: [[20, 10], [5]]\nstandardize: [true]\n")
    outcome = command("sweep", "--grid", file, "--out", "runs/{latent_dim}-{hidden-dims}", "--no-compare")
    assert outcome.code == 0
    assert calls[0] == ["--latent-dim=2", "--hidden-dims=20,10", "--standardize", "--out", "runs/2-20-10"]
    assert calls[3][1:3] == ["--hidden-dims=5", "--standardize"]


def test_an_unfinished_run_is_resumed(command):
    """A training that was interrupted in its first epochs ends as one that was not."""
    words = ["--hidden-dims", "4", "--batch-size", "500", "--epochs", "3"]
    seen = []

    def stop(state):
        seen.append(state.epoch)
        if len(seen) == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "_callbacks", lambda *_: [stop])
        grid = ["--vary", "latent_dim=2,3", "--out", "runs/d{latent_dim}", *words, "--no-compare"]
        first = command("sweep", *grid)
    assert first.code == 128 + signal.SIGTERM
    assert "interrupted after 0 of 2 trainings. The same command continues from there" in first.err
    assert RunDirectory("runs/d2").unfinished
    second = command("sweep", *grid, "--json")
    assert [each["state"] for each in second.json["runs"]] == ["resumed", "trained"]
    assert len(RunDirectory("runs/d2").history) == 3


def test_a_training_that_fails_does_not_end_the_sweep(command, monkeypatch):
    own = train.run

    def run(words):
        if "--latent-dim=2" in words:
            raise NumericalError("training diverged in epoch 1.")
        return own(words)

    monkeypatch.setattr(train, "run", run)
    outcome = command("sweep", "--vary", "latent_dim=2,3", "--out", "runs/d{latent_dim}", *SHORT)
    assert outcome.code == 2
    assert "runs/d2 failed: training diverged in epoch 1." in outcome.out
    assert "Not compared: a comparison needs at least two runs" in outcome.out
    assert not RunDirectory("runs/d3").unfinished


def test_runs_that_differ_in_their_seed_alone_are_not_compared_with_each_other(command):
    outcome = command("sweep", "--vary", "seed=0,1", "--out", "runs/s{seed}", *SHORT)
    assert outcome.code == 0
    assert "Not compared: these 2 runs differ only in their seed" in outcome.out


def test_two_at_once_are_as_one_after_the_other(command):
    assert command("train", *SHORT, "--latent-dim", "3", "--out", "alone").code == 0
    grid = ["--vary", "latent_dim=2,3", *SHORT, "--no-compare"]
    outcome = command("sweep", *grid, "--out", "two/d{latent_dim}", "--jobs", "2")
    assert outcome.code == 0
    assert "two/d2: epoch 1/1" in outcome.err
    alone, beside = (RunDirectory(path).history[0]["validation_elbo"] for path in ("alone", "two/d3"))
    assert alone == pytest.approx(beside, rel=1e-5)


def test_ctrl_c_ends_all_trainings_with_their_checkpoints(tmp_path):
    words = [sys.executable, "-m", "bayes_vae", "sweep", "--vary", "latent_dim=2,3", "--out", "runs/d{latent_dim}"]
    words += ["--hidden-dims", "4", "--epochs", "100000", "--jobs", "2"]
    folders = [tmp_path / "runs" / name for name in ("d2", "d3")]
    with subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 120
        while not all((folder / "manifest.json").exists() for folder in folders) and time.monotonic() < end:
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "The same command continues from there." in err
    assert "Traceback" not in err
    for folder in folders:
        assert RunDirectory(folder).unfinished
        assert f"Resume with: bayes-vae train --resume runs/{folder.name}" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "a"], "nothing varies: say --vary NAME=VALUE,VALUE"),
        (["--vary", "latent_dim=2,4"], "say where the runs go: --out TEMPLATE"),
        (["--vary", "latent_dim", "--out", "a"], "--vary: expected NAME=VALUE,VALUE, such as latent_dim=2,4,8"),
        (["--vary", "latent_dim=", "--out", "a"], "latent_dim varies over nothing"),
        (["--vary", "latent_dim=2,,4", "--out", "a"], "latent_dim varies over nothing"),
        (["--vary", "latent_dim=2,2", "--out", "a"], "latent_dim has the value 2 twice: name each once"),
        (["--vary", "seed=1", "--vary", "training.seed=2", "--out", "a"], "seed varies twice: give all its values"),
        (["--vary", "latent_dims=2,4", "--out", "a"], "'latent_dims' is not a training setting"),
        (["--vary", "data.seed=2,4", "--out", "a"], "'data.seed' is not a training setting"),
        (["--vary", "latent_dim=2,4", "--out", "a"], "two trainings would be written to a: latent_dim=2, and latent"),
        (["--vary", "latent_dim=2,4", "--out", "a"], "Put {latent_dim} into --out"),
        (["--vary", "latent_dim=2,4", "--out", "a{seed}"], "--out a{seed}: expected {NAME} of settings that vary"),
        (["--vary", "latent_dim=2,4", "--out", "a{latent_dim:d}"], "expected {NAME} of settings that vary"),
        (["--vary", "latent_dim=2,4", "--out", "a{"], "expected {NAME} of settings that vary"),
        (["--vary", "seed=1,2", "--seed", "3", "--out", "a{seed}"], "seed varies, and --seed is given too"),
        (["--vary", "latent_dim=2,x", "--out", "a{latent_dim}"], "--latent-dim: expected a whole number, got x"),
        (["--vary", "prior=flow,nothing", "--out", "a{prior}"], "argument --prior: invalid choice: 'nothing'"),
        (["--vary", "standardize=yes", "--out", "a"], "standardize: expected true or false, got yes"),
        (["--vary", "prior=vamp,flow", "--guide", "local", "--out", "a{prior}"], "vamp"),
        (["--vary", "seed=1,2", "--out", "a{seed}", "--jobs", "0"], "--jobs: expected a whole number of at least 1"),
        (["--vary", "seed=1,2", "--out", "a{seed}", "--resume", "b"], "unrecognized arguments: --resume b"),
        (["--grid", "none.yaml", "--out", "a"], "the settings file none.yaml cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_training(command, calls, words, message):
    outcome = command("sweep", *words)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.out == ""
    assert not calls


def test_a_file_whose_entries_are_no_lists_is_refused(tmp_path):
    file = tmp_path / "grid.yaml"
    file.write_text("latent_dim: 2\n")
    with pytest.raises(SettingsError, match="latent_dim: expected a list of values, such as \\[2, 4, 8\\], got 2"):
        varied_settings([], str(file))


def test_too_large_a_grid_is_refused():
    many = {name: [str(value) for value in range(200)] for name in ("seed", "epochs")}
    with pytest.raises(SettingsError, match="this grid has 40,000 trainings: at most 1,000 are allowed"):
        cells_of(many, "a{seed}-{epochs}", [])


def test_a_run_of_other_settings_is_not_taken_for_done(command, calls, trained):
    words = ["--vary", "latent_dim=2", "--out", str(trained), "--hidden-dims", "8", "--no-compare"]
    same = command("sweep", *words, "--epochs", "2", "--json")
    assert same.json["runs"][0]["state"] == "skipped"
    other = command("sweep", *words, "--epochs", "5")
    assert other.code == 2
    assert "holds a run whose settings are not those of latent_dim=2 in this sweep" in other.err
    assert "this sweep: epochs is 2 there and 5 here" in other.err
    assert not calls


def test_a_folder_that_holds_something_else_is_refused_before_any_training(command, calls, tmp_path):
    (tmp_path / "a3").mkdir()
    (tmp_path / "a3" / "notes.txt").write_text("mine")
    outcome = command("sweep", "--vary", "latent_dim=2,3", "--out", "a{latent_dim}")
    assert outcome.code == 2
    assert "is not empty and not a run directory" in outcome.err
    assert not calls


def test_sigterm_between_two_trainings_keeps_its_number(command, monkeypatch):
    def run(words):
        raise Terminated(signal.SIGTERM)

    monkeypatch.setattr(train, "run", run)
    outcome = command("sweep", "--vary", "latent_dim=2,3", "--out", "a{latent_dim}", "--no-compare")
    assert outcome.code == 128 + signal.SIGTERM
    assert "interrupted after 0 of 2 trainings" in outcome.err


def children(number):
    """The processes that this one started."""
    return [int(word) for word in Path(f"/proc/{number}/task/{number}/children").read_text().split()]


def runs_still(number):
    """Whether a process works; one that nobody waited for does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are looked for in /proc")
def test_a_sweep_that_is_killed_takes_its_trainings_along(tmp_path):
    words = [sys.executable, "-m", "bayes_vae", "sweep", "--vary", "latent_dim=2,3", "--out", "runs/d{latent_dim}"]
    words += ["--hidden-dims", "4", "--epochs", "100000", "--jobs", "2"]
    folders = [tmp_path / "runs" / name for name in ("d2", "d3")]
    with subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 120
        while not all((folder / "manifest.json").exists() for folder in folders) and time.monotonic() < end:
            time.sleep(0.2)
        trainings = children(process.pid)
        process.kill()
    assert len(trainings) == 2
    end = time.monotonic() + 60
    while any(map(runs_still, trainings)) and time.monotonic() < end:
        time.sleep(0.2)
    assert not any(map(runs_still, trainings))
    for folder in folders:
        assert RunDirectory(folder).unfinished
