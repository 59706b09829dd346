"""One seed gives the same bytes: weights, pictures and netCDF as they are, tables and JSON but for the clock."""

import csv
import io
import json
import re

import pytest

from bayes_vae.cli import main

PAGE = ["--num-images", "2", "--num-codes", "2", "--num-particles", "2", "--num-points", "9"]
PATHS = ("run", "new_run", "figure")
CLOCK = re.compile(r"(train_)?seconds|created")


def without_clock(value):
    """JSON without what was read off a clock, and without the paths of the run."""
    if isinstance(value, dict):
        return {
            key: without_clock(entry)
            for key, entry in value.items()
            if not CLOCK.fullmatch(key) and key not in ("command", *PATHS)
        }
    return [without_clock(entry) for entry in value] if isinstance(value, list) else value


def compared(path):
    """The bytes of a file as they are compared."""
    content = path.read_bytes()
    if path.suffix == ".json":
        return json.dumps(without_clock(json.loads(content)))
    if path.suffix == ".csv":
        rows = csv.DictReader(io.StringIO(content.decode()))
        return [without_clock(row) for row in rows]
    return content


@pytest.fixture(scope="module")
def twice(tmp_path_factory, isolated_globals):
    """Two runs of one seed, and what each command that writes made of them."""
    words = ["--latent-dim", "2", "--hidden-dims", "4", "--epochs", "2", "--seed", "5"]
    few = ["--num-observations", "4", "--num-temperatures", "2"]
    folders = [tmp_path_factory.mktemp("same") / "run" for _ in range(2)]
    for folder in folders:
        with isolated_globals():
            assert main(["train", *words, "--out", str(folder)]) == 0
            assert main(["evaluate", str(folder), "--num-particles", "4", *few]) == 0
            assert main(["compare", str(folder), "--rungs", "1,2,4", *few]) == 0
            assert main(["rate-distortion", str(folder), "--num-particles", "4", *few]) == 0
            assert main(["score", str(folder), "--num-particles", "4", "--out", str(folder / "scores.csv")]) == 0
            assert main(["encode", str(folder), "--out", str(folder / "codes.npz")]) == 0
            assert main(["sample", str(folder), "--num", "4", "--out", str(folder / "samples.png")]) == 0
            assert main(["explore", str(folder), *PAGE]) == 0
            new = ["--out", str(folder / "refitted"), "--num-particles", "4", "--epochs", "2"]
            assert main(["refit-prior", str(folder), *new, *few]) == 0
    return folders


def test_one_seed_gives_the_same_bytes(twice):
    names = [sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()) for folder in twice]
    assert names[0] == names[1]
    own = [name for name in names[0] if name.name not in ("manifest.json", "MODEL_CARD.md")]
    assert {name.suffix for name in own} == {".safetensors", ".json", ".csv", ".png", ".nc", ".npz", ".html"}
    different = [str(name) for name in own if compared(twice[0] / name) != compared(twice[1] / name)]
    assert different == []
