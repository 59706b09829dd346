"""What is read from a run is looked at whatever its digest says: files, types, ranges and sizes."""

import hashlib
import json
import os

import pytest

from bayes_vae.errors import RunError
from bayes_vae.plain_files import read_plain_file
from bayes_vae.runs import RunDirectory, load, read_config
from bayes_vae.runs.boundary import documented


def sign(folder, name, content):
    """Change a file, and its digest with it."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def alter(folder, place, value):
    """Give one entry of the configuration another value, signed."""
    config = json.loads((folder / "config.json").read_text())
    *owners, key = place.split(".")
    owner = config
    for name in owners:
        owner = owner[name]
    owner[key] = value
    sign(folder, "config.json", json.dumps(config).encode())


NONE_HAS = {
    "created": (5, "created: expected text, got 5"),
    "versions": ([], r"versions: expected a mapping, got \[\]"),
    "machine.threads": (10**6, "machine.threads: expected a number of threads, got 1000000"),
    "data.name": ({}, r"data.name: expected text, got \{\}"),
    "data.data_shape": ([3, -3], r"data.data_shape\[1\]: expected a whole number of at least 1, got -3"),
    "data.policy": (True, "data.policy: expected text or null, got True"),
    "settings.training": ("fast", "settings.training: expected a mapping, got 'fast'"),
    "outcome.interrupted": (0, "outcome.interrupted: expected true or false, got 0"),
    "outcome.epochs": (2**70, "outcome.epochs: expected a whole number of at least 0, got 11805"),
    "extended_at": ([1.5], r"extended_at\[0\]: expected a whole number of at least 0, got 1.5"),
    "parameters.names": ("all", "parameters.names: expected a list, got 'all'"),
    "model.settings": ([1], r"model.settings: expected a mapping, got \[1\]"),
    "guide.settings.seed": (2**64, "guide.settings.seed: expected a number of 64 bits, got 18446744073709551616"),
    "model.settings.deep": ([[[[[[[[[[1]]]]]]]]]], "expected at most 8 levels"),
    "model.settings.long": ([0] * 100_001, "expected at most 100,000 entries, got 100,001"),
}


@pytest.mark.parametrize("place", NONE_HAS)
def test_a_value_that_no_configuration_has_is_refused_whatever_the_digest_says(saved, place):
    value, fault = NONE_HAS[place]
    alter(saved, place, value)
    with pytest.raises(RunError, match=f"config.json holds what no configuration has: .*{fault}.*Restore it"):
        read_config(saved)


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("latent_dim", 10**8, "latent_dim of 100,000,000"),
        ("hidden_dims", [10**3, 10**3], r"hidden_dims \(1000, 1000\) of 1,000,000"),
        ("data_shape", [10**3, 10**3], r"data_shape \[1000, 1000\] of 1,000,000"),
    ],
)
@pytest.mark.parametrize("role", ["model", "guide"])
def test_networks_larger_than_their_weights_are_not_built(saved, role, setting, value, words):
    alter(saved, f"{role}.settings.{setting}", value)
    with pytest.raises(RunError, match=f"the {role} of this run has {words} in config.json, and its weights have"):
        load(saved)


@pytest.mark.parametrize("name", ["manifest.json", "config.json"])
def test_json_that_is_deeper_than_any_is_refused(saved, name):
    content = b"[" * 200_000
    if name == "manifest.json":
        (saved / name).write_bytes(content)
    else:
        sign(saved, name, content)
    with pytest.raises(RunError, match="is damaged: it is not JSON|is not a configuration of version 1"):
        load(saved)


@pytest.mark.parametrize("error", [RecursionError(), MemoryError("5 TiB"), KeyError("x"), OverflowError("too large")])
def test_what_a_parser_raises_is_one_documented_error(error):
    message = rf"RUN cannot be used \({type(error).__name__}.*It was changed or damaged"
    with pytest.raises(RunError, match=message), documented("RUN"):
        raise error


@pytest.mark.parametrize("kind", ["pipe", "device", "sparse", "circle", "folder"])
def test_what_is_no_plain_file_is_not_opened(saved, kind):
    path = saved / "metrics.csv"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "circle":
        path.symlink_to(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(2**40)
    with pytest.raises(RunError, match=r"cannot be read \(|is no file name within the run directory"):
        RunDirectory(saved)
    with pytest.raises(OSError, match=r"it is not a plain file|1,099,511,627,776 bytes, and at most|symbolic links"):
        read_plain_file(path, 2**36)


def test_a_link_to_a_plain_file_is_followed(saved, tmp_path):
    (saved / "metrics.csv").rename(saved / "elsewhere.csv")
    (saved / "metrics.csv").symlink_to("elsewhere.csv")
    load(saved)


@pytest.mark.parametrize("value", [-1, 1.5, "2", None, 10**12, True])
def test_a_position_of_another_type_or_range_is_refused(saved, value):
    from bayes_vae.runs.checkpoint_files import read_position

    position = {"format_version": 1, "epochs_done": 1, "steps_done": value, "best_epoch": 1, "seconds": 0.5}
    with pytest.raises(RunError, match="is not the position of a training .*steps_done is "):
        read_position(json.dumps(position).encode(), "training.json")
