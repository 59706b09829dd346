"""The first word, exit codes, and how errors are told."""

import io
import subprocess
import sys

import pytest

from bayes_vae import __version__
from bayes_vae.cli import entry, experiment, main
from bayes_vae.cli.entry import COMMANDS
from bayes_vae.errors import SettingsError


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_lists_every_command(command, words):
    outcome = command(*words)
    assert outcome.code == 0
    for name, summary in COMMANDS.items():
        assert f"{name}  " in outcome.out
        assert summary in outcome.out


def test_version(command):
    assert command("--version")[:2] == (0, f"bayes_vae {__version__}\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_the_common_flags(command, name):
    words = ["svi_by_hand"] if name == "experiment" else []
    outcome = command(name, *words, "--help")
    assert outcome.code == 0
    for flag in ("--help", "--seed", "--device", "--json"):
        assert flag in outcome.out
    assert "_" not in "".join(word for word in outcome.out.split() if word.startswith("--"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["retrain"], "there is no command 'retrain'; did you mean train? the commands are demo, train, evaluate"),
        (["nothing"], "there is no command 'nothing'; the commands are demo, train, evaluate"),
        (["--json", "demo"], "flags come after the command; the commands are demo, train, evaluate"),
        (["train", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["evaluate"], "the following arguments are required: RUN"),
        (["evaluate", ""], "RUN: expected text, got nothing"),
        (["evaluate", "a", "b"], "unrecognized arguments: b"),
        (["compare", "--rungs", "1", "5", "RUN"], "--rungs: expected a whole number, got RUN"),
        (["experiment", "svi_by_hand", "--config", "x"], "unrecognized arguments: --config x"),
        (["experiment", "svi_by_hand", "--epochs", "x"], "--epochs: expected a whole number, got x"),
        ([""], "there is no command ''; the commands are demo, train, evaluate"),
        (["rep"], "there is no command 'rep'; did you mean report? the commands are demo, train, evaluate"),
    ],
)
def test_wrong_words_show_the_usage(command, words, message):
    outcome = command(*words)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("usage: bayes-vae")
    assert message in outcome.err


def raising(error):
    def run(arguments):
        raise error

    return run


@pytest.mark.parametrize("error", [SettingsError("epochs must be at least 1, got 0."), PermissionError("no entry")])
def test_errors_are_one_line_and_no_traceback(command, monkeypatch, error):
    monkeypatch.setattr(experiment, "run", raising(error))
    assert command("experiment") == (2, "", f"bayes-vae: {error}\n")


def test_debug_shows_the_traceback(monkeypatch):
    monkeypatch.setattr(experiment, "run", raising(SettingsError("wrong")))
    with pytest.raises(SettingsError, match="wrong"):
        main(["experiment", "--debug"])


def test_ctrl_c_is_one_line(command, monkeypatch):
    monkeypatch.setattr(experiment, "run", raising(KeyboardInterrupt()))
    assert command("experiment") == (130, "", "bayes-vae: interrupted.\n")


def test_a_reader_that_goes_away_is_no_error(monkeypatch, capsys):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    assert main(["experiment"]) == entry.BROKEN_PIPE
    assert capsys.readouterr().err == ""


def test_help_loads_nothing_heavy_as_a_module():
    source = """
import runpy, sys
sys.argv = ["bayes-vae", "--help"]
try:
    runpy.run_module("bayes_vae", run_name="__main__")
except SystemExit as ending:
    assert ending.code == 0
heavy = {"torch", "pyro", "numpy", "matplotlib", "arviz"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    child = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False)
    assert child.returncode == 0, child.stderr
    assert child.stdout.startswith("usage: bayes-vae COMMAND")


def test_an_output_without_greek_letters_gets_question_marks():
    child = subprocess.run(
        [sys.executable, "-m", "bayes_vae"],
        env={"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (child.returncode, child.stderr) == (0, "")
    assert "the ladder ELBO ? L_5" in child.stdout
