"""Every command where nobody knows the user's home: HOME unset, no entry for the user, a ~ that means nobody."""

import json
import os
import subprocess
import sys

import pytest

from bayes_vae.cli.entry import COMMANDS

SMALL = ["--num-observations", "3"]
TINY = ["--hidden-dims", "4", "--epochs", "1", "--batch-size", "500"]
WORDS = {
    "train": [*TINY, "--latent-dim", "2", "--out", "new"],
    "demo": ["--latent-dim", "2", "--epochs", "1", "--out", "shown"],
    "evaluate": ["RUN", "--num-particles", "2", "--num-temperatures", "0", *SMALL],
    "compare": ["RUN", "--rungs", "1,2", "--num-temperatures", "0", *SMALL],
    "explain": ["RUN", "--num-particles", "2", "--num-temperatures", "0"],
    "explore": ["RUN", "--num-images", "2", "--num-codes", "2", "--num-particles", "2", "--num-points", "9"],
    "diagnose": ["RUN", "--num-observations", "20", "--seconds", "1"],
    "report": [
        *("RUN", "--num-observations", "4", "--num-particles", "4", "--num-temperatures", "0"),
        *("--num-gap-observations", "0", "--num-encoded", "20", "--num-simulated", "0", "--num-diagnosed", "0"),
    ],
    "refit-prior": [
        "RUN",
        "--out",
        "refitted",
        "--num-particles",
        "2",
        "--num-temperatures",
        "0",
        "--epochs",
        "1",
        *SMALL,
    ],
    "rate-distortion": ["RUN", "--num-temperatures", "2", "--num-particles", "2", *SMALL],
    "sweep": ["--vary", "latent_dim=2", *TINY, "--out", "swept"],
    "score": ["RUN", "--num-particles", "2", "--num-reference", "3", "--out", "scores.csv"],
    "encode": ["RUN", "--out", "codes.npz"],
    "sample": ["RUN", "--num", "2", "--out", "samples.png"],
    "experiment": [],
}
OF_A_RUN = [name for name, words in WORDS.items() if "RUN" in words]

NOBODY = """
import json, os, pwd, sys

def nobody(*_):
    raise KeyError("no such user")

pwd.getpwuid = pwd.getpwnam = nobody
from bayes_vae.cli import main
from pathlib import Path
try:
    Path.home()
except RuntimeError:
    pass
else:
    sys.exit("there is a home")
print(json.dumps({words[0]: main(words) for words in json.loads(sys.argv[1])}), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "names", [("train", "evaluate", "experiment"), pytest.param(tuple(COMMANDS), marks=pytest.mark.statistical)]
)
def test_commands_work_without_a_home(trained, tmp_path, names):
    """In one process of their own, where no library found a home before; all commands take some minutes."""
    run = tmp_path / "run"
    run.mkdir()
    for path in trained.rglob("*"):
        if path.is_file():
            (run / path.relative_to(trained)).parent.mkdir(parents=True, exist_ok=True)
            (run / path.relative_to(trained)).write_bytes(path.read_bytes())
    places = {"RUN": str(run)}
    calls = [[name, *(places.get(word, word) for word in WORDS[name])] for name in names]
    homes = ("HOME", "MPLCONFIGDIR", "USERPROFILE")
    environment = {key: value for key, value in os.environ.items() if key not in homes and not key.startswith("XDG")}
    command = [sys.executable, "-c", NOBODY, json.dumps(calls)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    codes = json.loads(done.stderr.splitlines()[-1])
    answers = {name: codes[name] for name in ("diagnose", "refit-prior") if name in names}  # of what was found
    assert codes == dict.fromkeys(names, 0) | answers, done.stderr[-3000:]
    assert set(answers.values()) <= {0, 1, 3}


@pytest.mark.parametrize("name", OF_A_RUN)
def test_a_run_of_nobody(command, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    code, out, err = command(name, "~nouser/run", *(word for word in WORDS[name] if word != "RUN"))
    assert (code, out) == (2, "")
    assert "~nouser/run is not a run directory" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["train", "demo", "sweep", *OF_A_RUN])
@pytest.mark.parametrize("flag", ["--config", "--data", "--data-root"])
def test_files_of_nobody(command, trained, tmp_path, monkeypatch, name, flag):
    monkeypatch.chdir(tmp_path)
    words = [str(trained) if word == "RUN" else word for word in WORDS[name]]
    more = ["--data", "mnist"] if flag == "--data-root" else []
    code, out, err = command(name, *words, flag, "~nouser/x.csv", *more)
    assert (code, out) == (2, "")
    assert "~nouser/x.csv" in err or f"unrecognized arguments: {flag}" in err, err
    assert len(err) < 3000
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_the_words_are_of_every_command():
    assert WORDS.keys() == COMMANDS.keys()
