"""A run directory is believed only where it matches its digests, and names in it lead nowhere else."""

import hashlib
import json
from functools import partial

import pytest
import safetensors.torch
import torch

import bayes_vae.models
from bayes_vae.errors import RunError
from bayes_vae.runs import RunDirectory, load, read_config, save
from bayes_vae.runs.saving import CORE_FILES, OWN_FILES


def forge(folder, name, content):
    """Change a file and its digest too."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def edit_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    forge(folder, "config.json", json.dumps(config | changes).encode())


def test_the_manifest_has_the_digest_of_every_file(saved):
    manifest = json.loads((saved / "manifest.json").read_text())
    assert manifest["format_version"] == 1
    names = [*CORE_FILES, "MODEL_CARD.md"]
    assert manifest["files"] == {name: hashlib.sha256((saved / name).read_bytes()).hexdigest() for name in names}


@pytest.mark.parametrize("name", CORE_FILES)
@pytest.mark.parametrize("position", [0, 0.5, -1])
def test_a_flipped_bit_is_noticed(saved, name, position):
    content = bytearray((saved / name).read_bytes())
    content[int(position * len(content)) if position >= 0 else -1] ^= 1
    (saved / name).write_bytes(content)
    with pytest.raises(RunError, match=rf"{name} is not the file that was written.*Restore it from a copy"):
        load(saved)


@pytest.mark.parametrize("name", CORE_FILES)
def test_a_truncated_file_is_noticed(saved, name):
    (saved / name).write_bytes((saved / name).read_bytes()[:-1])
    with pytest.raises(RunError, match=rf"{name} is not the file .*its \d+ bytes do not match.*cut short"):
        load(saved)


@pytest.mark.parametrize("name", CORE_FILES)
def test_a_missing_file_is_noticed(saved, name):
    (saved / name).unlink()
    with pytest.raises(RunError, match=rf"{name} is listed in the manifest but cannot be read .*Restore it"):
        load(saved)


@pytest.mark.parametrize("name", CORE_FILES)
def test_a_manifest_that_lacks_a_file_is_noticed(saved, name):
    manifest = json.loads((saved / "manifest.json").read_text())
    del manifest["files"][name]
    (saved / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match=f"has no file {name}: its manifest lists "):
        load(saved)


@pytest.mark.parametrize("name", ["", "nothing", "file"])
def test_what_is_no_run_directory_is_named(tmp_path, name):
    (tmp_path / "file").write_text("a file")
    with pytest.raises(RunError, match=r"is not a run directory: it has no manifest.json .*bayes-vae train --out"):
        RunDirectory(tmp_path / name)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format_version": 1}', '{"format_version": 1, "files": {"a": 1}}']
)
def test_a_damaged_manifest_is_refused(saved, text):
    (saved / "manifest.json").write_text(text)
    with pytest.raises(RunError, match="the manifest.json of .* is damaged: .*Restore the folder from a copy"):
        load(saved)


def test_another_version_of_the_format_is_refused(saved):
    manifest = json.loads((saved / "manifest.json").read_text())
    (saved / "manifest.json").write_text(json.dumps(manifest | {"format_version": 2}))
    with pytest.raises(RunError, match="was written in version 2 .* reads version 1. Install the release"):
        load(saved)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"format_version": 2}', b'{"format_version": 1}', b'{"format_version": 1, "model": 3}'],
)
def test_another_configuration_is_refused(saved, content):
    forge(saved, "config.json", content)
    with pytest.raises(RunError, match=r"config.json is not a configuration of version 1: expected format_version"):
        read_config(saved)


BAD_NAMES = ["../x", "a/../../x", "a/../config.json", "/etc/x", "a\\b", "c:x", "", ".", "./x", "a//b", "a/", "a\0b"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_never_leads_out_of_the_folder(saved, tmp_path, name):
    directory = RunDirectory(saved)
    acts = (lambda: directory.add_file(name, b"x"), directory.read_file, directory.remove_file)
    for act in (acts[0], *(partial(act, name) for act in acts[1:])):
        with pytest.raises(RunError, match="is no file name within the run directory .*figures/ladder.png"):
            act()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_manifest_with_such_a_name_is_refused(saved, name):
    manifest = json.loads((saved / "manifest.json").read_text())
    manifest["files"][name] = "0" * 64
    (saved / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="is no file name within the run directory"):
        load(saved)


def test_an_absolute_name_is_refused_within_the_folder_too(saved):
    with pytest.raises(RunError, match="is no file name within the run directory"):
        RunDirectory(saved).add_file(str(saved.resolve() / "x"), b"x")


def test_a_link_out_of_the_folder_is_not_followed(saved, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (saved / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="is no file name within the run directory"):
        RunDirectory(saved).add_file("out/x", b"x")


@pytest.mark.parametrize("name", OWN_FILES)
def test_the_files_of_the_training_are_never_replaced(saved, name):
    with pytest.raises(RunError, match=f"{name} of .* belongs to the training and is never replaced"):
        RunDirectory(saved).add_file(name, b"x")


def test_a_folder_cannot_be_where_a_file_is(saved):
    with pytest.raises(RunError, match=r"the folder .*metrics.csv cannot be made .*Choose another name"):
        RunDirectory(saved).add_file("metrics.csv/x", b"x")


def test_added_files_are_listed_and_checked(saved):
    directory = RunDirectory(saved)
    assert directory.add_file("figures/deep/a.png", b"one") == saved / "figures" / "deep" / "a.png"
    directory.add_file("evaluation.json", b"{}")
    directory.add_file("figures/deep/a.png", b"two")
    assert RunDirectory(saved).read_file("figures/deep/a.png") == b"two"
    (saved / "figures" / "deep" / "a.png").write_bytes(b"tow")
    with pytest.raises(RunError, match=r"a.png is not the file that was written.*or make it again"):
        directory.read_file("figures/deep/a.png")
    load(saved)


def test_a_class_is_looked_up_among_our_own_never_imported(saved, monkeypatch):
    monkeypatch.setattr(bayes_vae.models, "NotPublic", bayes_vae.models.VAE, raising=False)
    for name in ("NotPublic", "os.system", "Model", "base", "__builtins__", "NoSuchVAE", 3):
        edit_config(saved, model={"class": name, "settings": {}})
        with pytest.raises(RunError, match=f"the model of this run is of class {name!r}, which bayes_vae.models lacks"):
            load(saved)


@pytest.mark.parametrize(
    "settings",
    [{"latent": 2}, {"latent_dim": 0, "data_shape": [3, 3]}, {"latent_dim": -1, "data_shape": [3]}],
)
def test_settings_that_the_class_does_not_take(saved, settings):
    edit_config(saved, model={"class": "VAE", "settings": settings})
    with pytest.raises(RunError, match=r"the model of this run, VAE, does not take the settings in config.json \("):
        load(saved)


def test_a_class_without_settings(saved):
    edit_config(saved, model={"class": "VAE"})
    with pytest.raises(RunError, match="does not take the settings in config.json .'settings'"):
        load(saved)


def test_weights_that_do_not_fit_the_settings(saved):
    networks = json.loads((saved / "config.json").read_text())["model"]["settings"]
    edit_config(saved, model={"class": "VAE", "settings": networks | {"latent_dim": 4}})
    message = r"do not fit the model: decoder.0.weight is \(5, 2\) torch.float32 in the run and \(5, 4\) "
    with pytest.raises(RunError, match=message):
        load(saved)


@pytest.mark.parametrize("content", [b"", b"12345678", (2).to_bytes(8, "little") + b"{}", b"\xff" * 100])
def test_bytes_that_are_no_weights_are_refused(saved, content):
    forge(saved, "model.safetensors", content)
    with pytest.raises(RunError, match=r"model.safetensors does not hold weights of this library .*Restore it"):
        load(saved)


def test_weights_of_others_are_refused(saved):
    forge(saved, "model.safetensors", safetensors.torch.save({"a": torch.zeros(1)}))
    with pytest.raises(RunError, match="does not hold weights of this library"):
        load(saved)


def test_an_alias_of_nothing_is_refused(saved):
    content = safetensors.torch.save({"a": torch.zeros(1)}, {"aliases": '{"b": "c"}'})
    forge(saved, "model.safetensors", content)
    with pytest.raises(RunError, match="does not hold weights of this library"):
        load(saved)


def test_a_table_that_is_none_is_refused(saved):
    for content in (b"elbo\nhigh\n", b"elbo\n1,2\n", b"\xff\xff"):
        forge(saved, "metrics.csv", content)
        with pytest.raises(RunError, match="metrics.csv is not a table of numbers"):
            _ = RunDirectory(saved).history


@pytest.mark.parametrize("value", [float("nan"), object(), torch.zeros(1)])
def test_settings_that_json_lacks_are_refused(make_run, tmp_path, value):
    with pytest.raises(RunError, match="the settings of the run cannot be stored as JSON .*Use only numbers"):
        save(make_run(settings={"training": {"rate": value}}), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_no_tensors_are_refused(make_run, tmp_path):
    with pytest.raises(RunError, match="the weights hold 'model._extra_state' of type dict, but .* tensors only"):
        save(make_run(best_state={"model._extra_state": {}}, last_state={}), tmp_path / "run")


def test_weights_of_a_dtype_that_the_format_lacks_are_refused(make_run, tmp_path):
    state = {"model.a": torch.zeros(2, dtype=torch.complex128)}
    with pytest.raises(RunError, match="cannot be stored in the safetensors format"):
        save(make_run(best_state=state, last_state=state), tmp_path / "run")
