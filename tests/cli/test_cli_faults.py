"""Commands by faults: whatever goes wrong is told in one or two lines, with exit code 2 or 130 and no traceback."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from bayes_vae.cli import main
from bayes_vae.cli.entry import BROKEN_PIPE, COMMANDS, SHARED
from bayes_vae.errors import RunError
from bayes_vae.runs import RunDirectory

SMALL = ["--num-observations", "3"]
WORDS = {
    "train": ["--latent-dim", "2", "--hidden-dims", "4", "--epochs", "1", "--out", "NEW"],
    "demo": ["--latent-dim", "2", "--epochs", "1", "--out", "NEW"],
    "evaluate": ["RUN", "--num-particles", "2", "--num-temperatures", "0", *SMALL],
    "compare": ["RUN", "--rungs", "1,2", "--num-temperatures", "0", *SMALL],
    "experiment": ["svi_by_hand"],
    "refit-prior": ["RUN", "--out", "NEW", "--num-particles", "2", "--num-temperatures", "0", "--epochs", "9", *SMALL],
    "rate-distortion": ["RUN", "--num-temperatures", "2", "--num-particles", "2", *SMALL],
    "sweep": ["--vary", "latent_dim=2", "--hidden-dims", "4", "--epochs", "1", "--out", "NEW"],
    "score": ["RUN", "--num-particles", "2", "--num-reference", "3", "--out", "scores.csv"],
    "encode": ["RUN", "--out", "codes.npz"],
    "sample": ["RUN", "--num", "2", "--out", "samples.png"],
}
FEW = {
    "explain": ["--num-particles", "2", "--num-temperatures", "0"],
    "diagnose": ["--num-observations", "20"],
    "explore": ["--num-images", "2", "--num-codes", "2", "--num-particles", "2", "--num-points", "9"],
    "report": [
        *("--num-observations", "4", "--num-particles", "4", "--num-temperatures", "0", "--num-gap-observations", "0"),
        *("--num-encoded", "20", "--num-simulated", "0", "--num-diagnosed", "0"),
    ],
}
"""What makes a command quick."""

OF_A_RUN = [name for name in COMMANDS if name not in ("train", "demo", "experiment", "sweep")]
"""Commands whose first word is a run; a command that the table lacks is called with nothing else."""


@pytest.fixture
def words(trained, tmp_path, monkeypatch):
    """``words("evaluate", run)``: a call of a command that works, but for the fault."""
    monkeypatch.chdir(tmp_path)

    def build(name, run=None):
        places = {"RUN": str(run or trained), "NEW": str(tmp_path / "new")}
        return [name, *(places.get(word, word) for word in WORDS.get(name, ["RUN"]))]

    return build


@pytest.fixture
def fails(command):
    """Call a command, and check that it ends as every error should; its message comes back."""

    def call(words, code=2, lines=1):
        outcome = command(*words)
        assert outcome.code == code
        assert outcome.out == "" or words[0] == "experiment", "an experiment prints its answer first"
        found = outcome.err.splitlines()
        assert len(found) == lines, outcome.err
        assert "Traceback" not in outcome.err
        assert found[-1].startswith("bayes-vae")
        return found[-1]

    return call


def data_that_raise(monkeypatch, error):
    """Every command comes to load data."""

    def load_data(*args, **kwargs):
        raise error

    for place in ("bayes_vae.data.load_data", "bayes_vae.runs.run_data.load_data"):
        monkeypatch.setattr(place, load_data)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_flag_that_does_not_exist(fails, words, name):
    assert "unrecognized arguments: --nonsense" in fails([*words(name), "--nonsense", "3"], lines=2)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "experiment"])
@pytest.mark.parametrize(
    ("flags", "lines", "message"),
    [
        (["--seed", "many"], 2, "--seed: expected a whole number, got many"),
        (["--config", "gone.yaml"], 1, "the settings file gone.yaml cannot be read (No such file or directory)"),
        (["--device", "abacus"], 1, "unknown device 'abacus'"),
    ],
)
def test_flags_that_cannot_work(fails, words, name, flags, lines, message):
    assert message in fails([*words(name), *flags, "--json"], lines=lines)


def broken_copy(trained, folder, name, change):
    shutil.copytree(trained, folder)
    path = folder / name
    content = change(path.read_bytes())
    path.unlink() if content is None else path.write_bytes(content)
    return folder


DAMAGE = {
    "no manifest": ("manifest.json", lambda whole: None, "has no manifest.json that can be read"),
    "manifest cut short": ("manifest.json", lambda whole: whole[:40], "is damaged: it is not JSON"),
    "manifest of another version": (
        "manifest.json",
        lambda whole: whole.replace(b'"format_version": 1', b'"format_version": 9'),
        "was written in version 9 of the run format",
    ),
    "configuration changed": ("config.json", lambda whole: whole + b" ", "is not the file that was written"),
    "no configuration": ("config.json", lambda whole: None, "is listed in the manifest but cannot be read"),
    "weights cut short": ("model.safetensors", lambda whole: whole[:-7], "is not the file that was written"),
    "no weights": ("checkpoints/last.safetensors", lambda whole: None, "is listed in the manifest but cannot be read"),
    "history changed": ("metrics.csv", lambda whole: whole[:-3], "is not the file that was written"),
}


@pytest.mark.parametrize("name", OF_A_RUN)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run(fails, words, trained, tmp_path, name, damage):
    file, change, message = DAMAGE[damage]
    run = broken_copy(trained, tmp_path / "broken", file, change)
    assert message in fails(words(name, run))


@pytest.mark.parametrize("name", OF_A_RUN)
@pytest.mark.parametrize("what", ["nothing", "a file", "an empty folder"])
def test_a_run_that_is_none(fails, words, tmp_path, name, what):
    path = tmp_path / "place"
    if what == "a file":
        path.write_text("not a run")
    elif what == "an empty folder":
        path.mkdir()
    assert "place is not a run directory" in fails(words(name, path))


@pytest.mark.parametrize("name", ["train", "demo"])
@pytest.mark.parametrize("what", ["a file", "below a file", "a folder in use", "not writable"])
def test_a_place_that_no_run_can_go_to(fails, words, tmp_path, monkeypatch, name, what):
    place = tmp_path / "new"
    if what == "a file":
        place.write_text("in the way")
    elif what == "below a file":
        (tmp_path / "file").write_text("in the way")
        place = tmp_path / "file" / "new"
    elif what == "a folder in use":
        place.mkdir()
        (place / "notes.txt").write_text("mine")
    else:  # tests may run as root, whom no permission stops
        monkeypatch.setattr("os.access", lambda *args, **kwargs: False)
    messages = {"a folder in use": "is not empty", "not writable": "cannot be written to"}
    command = [str(place) if word == str(tmp_path / "new") else word for word in words(name)]
    message = fails([*command, "--json"])
    assert messages.get(what, "is a file") in message
    assert "Choose another --out" in message


ERRORS = {
    "permission": (
        PermissionError(errno.EACCES, "Permission denied", "/data/x.npy"),
        "/data/x.npy: Permission denied.",
    ),
    "disk": (OSError(errno.EIO, "Input/output error"), "[Errno 5] Input/output error"),
    "unforeseen": (RuntimeError("first\nsecond " + "x" * 900), "unexpected RuntimeError: first second xxx"),
    "memory": (
        MemoryError("Unable to allocate 5 TiB"),
        "unexpected MemoryError: Unable to allocate 5 TiB (--debug shows",
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("case", ERRORS)
def test_any_error_is_one_line_and_debug_shows_the_traceback(clean_globals, fails, words, monkeypatch, name, case):
    error, message = ERRORS[case]
    data_that_raise(monkeypatch, error)
    json_too = [] if name == "experiment" else ["--json"]
    told = fails([*words(name), *json_too])
    assert told.startswith(f"bayes-vae: {message}")
    assert len(told) < 600
    with pytest.raises(type(error)):
        main([*words(name), "--debug"])


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c(clean_globals, fails, words, monkeypatch, name):
    data_that_raise(monkeypatch, KeyboardInterrupt())
    json_too = [] if name == "experiment" else ["--json"]
    assert "interrupted" in fails([*words(name), *json_too], code=130)


@pytest.mark.parametrize("name", ["train", *(name for name in OF_A_RUN if name != "refit-prior")])
def test_a_full_disk_leaves_everything_as_it_was_but_figures_are_printed(
    command, words, trained, tmp_path, monkeypatch, name
):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bayes_vae.runs.files.os.fsync", full)
    outcome = command(*words(name, run), *FEW.get(name, []), "--json")
    assert outcome.code == 2
    if name != "train":
        result = json.loads(outcome.out)
        assert result.get("run", result.get("runs")) in (str(run), [str(run)])
    last = outcome.err.splitlines()[-1]
    assert "could not be written" in last
    assert "No space left on device" in last
    assert "Make room on that disk" in last
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "new").exists()


def test_figures_of_a_training_that_cannot_be_drawn_do_not_take_its_result_away(command, words, monkeypatch):
    def full(self, name, content):
        raise RunError("the disk is full")

    monkeypatch.setattr(RunDirectory, "add_file", full)
    outcome = command(*words("train"))
    assert outcome.code == 2
    assert "Trained on digits" in outcome.out
    assert outcome.err.splitlines()[-1] == "bayes-vae: the disk is full"


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in SHARED])
def test_of_several_processes_only_that_of_rank_0_works(command, words, monkeypatch, tmp_path, name):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    message = f"bayes-vae: `{name}` runs in one process: that of rank 0 does the work, this one has none.\n"
    assert command(*words(name)) == (0, "", message)
    assert list(tmp_path.iterdir()) == []


class Terminal:
    """Standard output as a process of its own has it: bytes in an encoding."""

    def __init__(self, monkeypatch, encoding):
        self.raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(self.raw, encoding=encoding))

    def run(self, monkeypatch, words):
        monkeypatch.setattr(sys, "argv", ["bayes-vae", *words])
        code = main()
        sys.stdout.flush()
        return code, self.raw.getvalue()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize("name", ["evaluate", "compare"])
def test_tables_on_a_terminal_without_greek_letters(words, monkeypatch, name, encoding):
    code, printed = Terminal(monkeypatch, encoding).run(monkeypatch, words(name))
    assert code == 0
    text = printed.decode(encoding)
    assert "Nats per observation ? K = " in text.replace("\xb7", "?")
    assert "?" in text


def test_json_is_utf_8_on_every_terminal(words, monkeypatch):
    code, printed = Terminal(monkeypatch, "ascii").run(monkeypatch, [*words("evaluate"), "--json"])
    assert code == 0
    assert json.loads(printed.decode("utf-8"))["terms"]["kl_to_prior"]["symbol"] == "KL(q(z|x) ‖ p(z))"


class Closed(io.StringIO):
    """What a command writes to when its reader went away."""

    def write(self, text):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "experiment"])
def test_a_reader_that_went_away(monkeypatch, words, capsys, name):
    monkeypatch.setattr(sys, "stdout", Closed())
    assert main([*words(name), "--print-config"]) == BROKEN_PIPE
    assert capsys.readouterr().err == ""


def test_errors_that_nobody_can_be_told(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Closed())
    assert main(["evaluate", "gone"]) == 2


def test_an_experiment_that_ends_with_a_message(monkeypatch, command):
    from bayes_vae.cli import experiment

    def run(arguments):
        raise SystemExit("enough")

    monkeypatch.setattr(experiment, "run", run)
    assert command("experiment") == (2, "", "bayes-vae: enough\n")


def test_a_run_of_another_release(fails, words, trained, tmp_path):
    import hashlib

    def later(whole):
        config = json.loads(whole)
        config["settings"]["data"]["warp"] = 9
        return json.dumps(config).encode()

    run = broken_copy(trained, tmp_path / "later", "config.json", later)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["files"]["config.json"] = hashlib.sha256((run / "config.json").read_bytes()).hexdigest()
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert "the settings of the data of" in fails(words("evaluate", run))
    assert RunDirectory(run).settings["data"]["warp"] == 9


# With a process of its own, where pipes and devices are real.


def child(*words, **options):
    command = [sys.executable, "-m", "bayes_vae", *words]
    environment = {**os.environ, **options.pop("environment", {})}
    return subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, text=True, **options)


def test_a_pipe_that_is_closed_before_anything_is_written():
    reader, writer = os.pipe()
    process = child("experiment", stdout=writer)
    os.close(reader)
    os.close(writer)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (BROKEN_PIPE, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("flush", [True, False])
def test_an_output_on_a_full_disk(flush):
    """Also where what was printed waits in a buffer, which Python writes once more at its end."""
    source = f"""
import sys
from bayes_vae.cli import experiment, main
experiment.run = lambda arguments: print("x", flush={flush}) or 0
sys.argv = ["bayes-vae", "experiment"]
sys.exit(main())
"""
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-c", source]
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=buffered)
    assert (run.returncode, run.stderr) == (2, "bayes-vae: [Errno 28] No space left on device\n")


def test_an_error_on_a_terminal_without_greek_letters():
    environment = {"PYTHONIOENCODING": "ascii", "LANG": "C", "LC_ALL": "C"}
    process = child("train", "--config", "τ.yaml", stdout=subprocess.DEVNULL, environment=environment)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.startswith("bayes-vae: the settings file ")
    assert len(errors.splitlines()) == 1


def test_a_process_that_is_asked_to_end_says_how_to_resume(tmp_path):
    folder = tmp_path / "run"
    process = child("train", "--latent-dim", "2", "--hidden-dims", "4", "--epochs", "9999", "--out", str(folder))
    while not (folder / "manifest.json").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    last = errors.splitlines()[-1]
    assert last.startswith("bayes-vae: interrupted after ")
    assert last.endswith(f"Resume with: bayes-vae train --resume {folder}")
    assert RunDirectory(folder).unfinished
